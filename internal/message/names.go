package message

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"slices"
	"unicode/utf8"
)

// nameStack finds the members of JSON objects whose name a later member of the
// same object has again.
//
// The time it takes is proportional to the length of the JSON, whatever the names
// and however deep they nest: names are hashed as they come, with a secret key, and
// compared only where hashes are equal; what is to be removed is marked in the
// text, and all of it is removed at the end. The memory is that of the members of
// the open objects: 8 bytes for each, and up to 16 more while a large object closes.
type nameStack struct {
	// stack has one entry for each open level, which describes the level around it,
	// followed, if the level is an object, by an entry for each member so far.
	stack []nameEntry
	level int // where in stack the members of the innermost level begin

	index  []uint32  // hash table with open addressing: the number of a member in its level, plus one
	names  [2][]byte // decoded names
	marked bool      // is anything marked?
}

// nameEntry is, for a member, the hash of its name in the upper 32 bits, and in the
// lower ones the offset of the member in the text. For a level, the lowest bit says
// whether the level around it is an object, the others where its members begin.
type nameEntry uint64

func (e nameEntry) hash() uint32 { return uint32(e >> 32) }
func (e nameEntry) offset() int  { return int(uint32(e)) }

// keepNames is how many entries and how many slots are kept for reuse.
const keepNames = 8192

func (n *nameStack) reset() {
	n.stack, n.level, n.marked = n.stack[:0], 0, false
	if cap(n.stack) > keepNames {
		n.stack = nil
	}
	if cap(n.index) > keepNames {
		n.index = nil
	}
	if cap(n.names[0])+cap(n.names[1]) > keepNames {
		n.names = [2][]byte{}
	}
}

// open begins a level inside of one that is an object or is not.
func (n *nameStack) open(inObject bool) {
	around := nameEntry(n.level) << 1
	if inObject {
		around |= 1
	}
	n.stack = append(n.stack, around)
	n.level = len(n.stack)
}

// close ends the innermost level, and reports whether the one around it is an object.
func (n *nameStack) close() (inObject bool) {
	around := n.stack[n.level-1]
	n.stack = n.stack[:n.level-1]
	n.level = int(around >> 1)
	return around&1 == 1
}

// add records a member of the innermost level. offset is that of its name's
// opening quote.
func (n *nameStack) add(hash uint32, offset int) {
	n.stack = append(n.stack, nameEntry(hash)<<32|nameEntry(offset))
}

// distinct reports whether the names of the innermost level are known to differ.
// For the few names of a typical object, six bits of the hashes usually suffice.
func (n *nameStack) distinct() bool {
	var seen uint64
	for _, e := range n.stack[n.level:] {
		bit := uint64(1) << (e >> 58)
		if seen&bit != 0 {
			return false
		}
		seen |= bit
	}
	return true
}

// fewNames is up to how many hashes are compared pairwise; beyond, a hash table is
// faster.
const fewNames = 16

// distinctHashes is distinct by all bits of the hashes, for at most fewNames.
func (n *nameStack) distinctHashes() bool {
	level := n.stack[n.level:]
	if len(level) > fewNames {
		return false
	}
	for i, e := range level {
		for _, earlier := range level[:i] {
			if e.hash() == earlier.hash() {
				return false
			}
		}
	}
	return true
}

// markRepeated marks in text each member of the innermost level whose name a later
// member has. text holds that level up to its end.
func (n *nameStack) markRepeated(text []byte) {
	level := n.stack[n.level:]
	size := 1 << bits.Len(uint(2*len(level)))
	n.index = slices.Grow(n.index[:0], size)[:size]
	clear(n.index)
	for i, e := range level {
		slot := int(e.hash()) & (size - 1)
		for ; n.index[slot] != 0; slot = (slot + 1) & (size - 1) {
			earlier := n.index[slot] - 1
			if level[earlier].hash() == e.hash() && n.sameName(text, level[earlier], e) {
				mark(text, level[earlier].offset(), level[earlier+1].offset())
				n.marked = true
				break
			}
		}
		n.index[slot] = uint32(i) + 1
	}
}

func (n *nameStack) sameName(text []byte, a, b nameEntry) bool {
	for i, e := range [...]nameEntry{a, b} {
		n.names[i] = decodeString(n.names[i][:0], text[e.offset()+1:])
	}
	return bytes.Equal(n.names[0], n.names[1])
}

// decode returns the name whose opening quote is before s. It is good until the
// next call.
func (n *nameStack) decode(s []byte) []byte {
	n.names[0] = decodeString(n.names[0][:0], s)
	return n.names[0]
}

// mark marks text[from:to], a member and the comma after it, for removal. A zero
// byte, which no JSON has, and the length in four bytes take the place of its
// beginning: the shortest member, `"":0,`, has just that room. Marks within are
// overwritten or skipped.
func mark(text []byte, from, to int) {
	text[from] = 0
	binary.LittleEndian.PutUint32(text[from+1:], uint32(to-from))
}

// removeMarked removes from text what is marked, and returns the shorter text.
func removeMarked(text []byte) []byte {
	kept := 0
	for rest := text; ; {
		next := bytes.IndexByte(rest, 0)
		if next < 0 {
			return text[:kept+copy(text[kept:], rest)]
		}
		kept += copy(text[kept:], rest[:next])
		length := binary.LittleEndian.Uint32(rest[next+1:])
		rest = rest[next+int(length):]
	}
}

// decodeString appends the text of a JSON string whose opening quote is before s,
// with U+FFFD for half of a surrogate pair.
func decodeString(dst, s []byte) []byte {
	for i := 0; ; i++ {
		b := s[i]
		if b == '"' {
			return dst
		}
		if b == '\\' {
			i++
			switch b = s[i]; b {
			case 'u':
				r, n := escapedRune(s[i+1:])
				dst = utf8.AppendRune(dst, r)
				i += n
				continue
			case 'b':
				b = '\b'
			case 'f':
				b = '\f'
			case 'n':
				b = '\n'
			case 'r':
				b = '\r'
			case 't':
				b = '\t'
			}
		}
		dst = append(dst, b)
	}
}

// The keys are random and secret, so that clients cannot choose names whose hashes
// collide.
var (
	seed       = maphash.MakeSeed()
	key0, key1 = rand.Uint64(), rand.Uint64()
)

// hashName returns the hash of a name. Up to 16 bytes, which is nearly all names,
// it takes less time than maphash: two words that overlap hold all of the name.
func hashName(name []byte) uint32 {
	var a, b uint64
	switch n := len(name); {
	case n > 16:
		return uint32(maphash.Bytes(seed, name))
	case n >= 8:
		a, b = binary.LittleEndian.Uint64(name), binary.LittleEndian.Uint64(name[n-8:])
	case n >= 4:
		a, b = uint64(binary.LittleEndian.Uint32(name)), uint64(binary.LittleEndian.Uint32(name[n-4:]))
	case n > 0:
		a = uint64(name[0])<<16 | uint64(name[n/2])<<8 | uint64(name[n-1])
	}
	high, low := bits.Mul64(a^key0, b^key1^uint64(len(name))<<56)
	return uint32(high ^ low)
}
