package jsonmsg

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// A JSON string needs an escape for `"`, `\` and what is below 0x20 (RFC 8259,
// section 7), and only for those: "/", "<", U+2028 and DEL stay as they are.

// escapes holds for each byte what becomes of it, in the low bytes as they lie
// in memory, and how many bytes that is, in the highest.
var escapes = func() (table [256]uint64) {
	word := func(s string) uint64 {
		var b [8]byte
		copy(b[:], s)
		b[7] = byte(len(s))
		return binary.LittleEndian.Uint64(b[:])
	}
	for c := range table {
		table[c] = word(string([]byte{byte(c)}))
	}
	for c := range 0x20 {
		const hex = "0123456789abcdef"
		table[c] = word(`\u00` + hex[c>>4:c>>4+1] + hex[c&15:c&15+1])
	}
	table['\b'], table['\f'] = word(`\b`), word(`\f`)
	table['\n'], table['\r'], table['\t'] = word(`\n`), word(`\r`), word(`\t`)
	table['"'], table['\\'] = word(`\"`), word(`\\`)
	return table
}()

// tops are the top bits of eight bytes, none of which ASCII has.
const tops = 0x8080808080808080

// marks has the top bit of those bytes of an eight-byte little-endian word set
// that need an escape. The lowest mark is true; those above one may be wrong.
//
// A byte below n, for an n up to 0x80, shows by the borrow of byte-n if the byte
// has no top bit. With bit 1 turned, `"` falls in place of the space, so that one
// such test finds it and what is below 0x20; another finds `\`. Borrows can mark
// bytes wrongly only above one that is marked rightly.
func marks(w uint64) uint64 {
	const ones = 0x0101010101010101
	quoteOrControl := (w ^ ones*2) - ones*0x21
	backslash := (w ^ ones*'\\') - ones
	return (quoteOrControl | backslash) & ^w & tops
}

// escapable returns the place of the first byte of the word that needs an escape,
// 8 if none does.
func escapable(w uint64) int { return bits.TrailingZeros64(marks(w)) / 8 }

// appendEscaped appends s as the inside of a JSON string. s is not looked at but
// for what must be escaped: valid UTF-8 stays it, and nothing becomes it.
//
// JSON inside JSON has a quote every few bytes, where finding and copying the
// runs between them costs a call or two each, and branches that no processor
// foresees. So words go over whole if they may; a word with one byte to escape is
// written three times, as it is, from the escape on, and from what follows that
// on; any other goes byte by byte, each as what the table has for it.
func appendEscaped(dst, s []byte) []byte {
	const room = 6*8 + 8 // what eight bytes can become, and what a write may go beyond
	n := len(dst)
	dst = grow(dst, len(s)+room)
	for len(s) >= 8 {
		w := binary.LittleEndian.Uint64(s)
		out := dst[n:]
		binary.LittleEndian.PutUint64(out, w)
		m := marks(w)
		if m == 0 {
			n += 8
			s = s[8:]
			continue
		}
		if m&(m-1) == 0 {
			before := uint(bits.TrailingZeros64(m)) / 8
			e := escapes[byte(w>>(before*8))]
			binary.LittleEndian.PutUint64(out[before:], e)
			after := before + uint(e>>56)
			binary.LittleEndian.PutUint64(out[after:], w>>(before*8)>>8)
			n += int(after + 7 - before)
		} else {
			for _, c := range s[:8] {
				e := escapes[c]
				binary.LittleEndian.PutUint64(dst[n:], e)
				n += int(e >> 56)
			}
		}
		if s = s[8:]; len(dst)-n < len(s)+room {
			dst = grow(dst[:n], len(s)+room)
		}
	}
	for _, c := range s {
		e := escapes[c]
		binary.LittleEndian.PutUint64(dst[n:], e)
		n += int(e >> 56)
	}
	return dst[:n]
}

// grow returns dst with its whole capacity, at least n bytes more than it held.
func grow(dst []byte, n int) []byte {
	dst = slices.Grow(dst, n)
	return dst[:cap(dst)]
}
