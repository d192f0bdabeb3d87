package media

import (
	"bytes"
	"slices"
)

// MaxPairs is how many pairs of a query or form, and how many parts of a multipart body, are
// read: Kong's own limit (lua_max_req_args).
const MaxPairs = 1000

// CutPair cuts the first pair off a query or a form. Pairs are split at "&" alone and at
// their first "="; ok is whether there is one. Name and value are still encoded.
func CutPair(form []byte) (name, value []byte, ok bool, rest []byte) {
	pair, rest, _ := bytes.Cut(form, ampersand)
	name, value, ok = bytes.Cut(pair, equals)
	return name, value, ok, rest
}

var (
	ampersand = []byte{'&'}
	equals    = []byte{'='}
)

// Encoded reports whether AppendDecoded would change s.
func Encoded(s []byte) bool { return bytes.IndexByte(s, '%') >= 0 || bytes.IndexByte(s, '+') >= 0 }

// AppendDecoded appends s to dst with "+" as a space and %XX as the byte it names; a "%" that
// two hex digits do not follow is itself.
func AppendDecoded(dst, s []byte) []byte {
	dst = slices.Grow(dst, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s):
			if high, low := Unhex[s[i+1]], Unhex[s[i+2]]; high|low < 16 {
				c = high<<4 | low
				i += 2
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// Unhex holds the value of each hex digit, and 255 for all other bytes.
var Unhex = func() (table [256]byte) {
	for c := range table {
		table[c] = 255
	}
	for i := range byte(10) {
		table['0'+i] = i
	}
	for i := range byte(6) {
		table['a'+i], table['A'+i] = 10+i, 10+i
	}
	return table
}()
