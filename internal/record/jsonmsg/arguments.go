package jsonmsg

import (
	"bytes"
	"slices"
)

// maxArguments is how many pairs of a query or form, and how many parts of a
// multipart body, become arguments: Kong's own limit (lua_max_req_args). Those
// beyond are only in uri and body.
const maxArguments = 1000

// appendArguments appends the object that a query or a form stands for. Pairs
// are split at "&" alone and at their first "="; a name without "=" has the
// value true; a pair without a name counts for the limit, and is dropped.
func appendArguments(dst, query []byte) []byte {
	if len(query) == 0 {
		return append(dst, "{}"...)
	}
	o := newObject()
	defer o.free()
	for n := 0; n < maxArguments && len(query) > 0; n++ {
		var pair []byte
		pair, query, _ = bytes.Cut(query, ampersand)
		name, value, hasValue := bytes.Cut(pair, equals)
		if len(name) == 0 {
			continue
		}
		kind := trueValue
		if hasValue {
			kind = formValue
		}
		o.add(o.utf8Name(o.decode(name)), value, kind)
	}
	return o.appendTo(dst)
}

var (
	ampersand = []byte{'&'}
	equals    = []byte{'='}
)

// decode returns s with "+" as a space and %XX as the byte it names; a "%" that
// two hex digits do not follow is itself. The result is s, or in o.text.
func (o *object) decode(s []byte) []byte {
	if bytes.IndexByte(s, '%') < 0 && bytes.IndexByte(s, '+') < 0 {
		return s
	}
	from := len(o.text)
	text := slices.Grow(o.text, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s):
			if high, low := unhex[s[i+1]], unhex[s[i+2]]; high|low < 16 {
				c = high<<4 | low
				i += 2
			}
		}
		text = append(text, c)
	}
	o.text = text
	return text[from:]
}

// unhex holds the value of each hex digit, and 255 for all other bytes.
var unhex = func() (table [256]byte) {
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
