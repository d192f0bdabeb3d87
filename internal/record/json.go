package record

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"kafka-upstream/internal/record/jsontext"
)

// Errors of a body that claims to be JSON, by RFC 8259. They are made once: rejecting a
// hostile client's request costs no memory.
var (
	ErrJSON     error = &BadRequest{Reason: "invalid json body"}
	ErrJSONText error = &BadRequest{Reason: "json body is not utf-8"}
	ErrJSONDeep error = &BadRequest{Reason: "json body is nested too deep"}
)

// MaxNesting is how deep the JSON of a body may nest. The message is one level deeper, and
// 1000 levels are what Kong's JSON library and other common ones write and read.
const MaxNesting = 999

// The skip functions return the position after what they skip, which begins at i. They
// return more than len(s) if s has something else there, from where nothing can be read:
// see jsonError.

// jsonError returns the error of a skip function that returned i.
func jsonError(s []byte, i int) error {
	switch {
	case i <= len(s):
		return nil
	case i == len(s)+2:
		return ErrJSONDeep
	}
	return ErrJSON
}

func skipSpace(s []byte, i int) int {
	for i < len(s) && s[i] <= ' ' && (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
		i++
	}
	return i
}

// skipValue skips a value, which begins at i without white space.
func skipValue(s []byte, i int) int { return skipNested(s, i, MaxNesting) }

// skipNested is skipValue of a value that may nest that deep.
func skipNested(s []byte, i, nesting int) int {
	if i >= len(s) {
		return len(s) + 1
	}
	if s[i] != '{' && s[i] != '[' {
		return skipScalar(s, i)
	}
	var (
		around   [MaxNesting/64 + 1]uint64 // a bit for each level around: is it an object?
		depth    int
		inObject bool // is the innermost level one?
	)
	for {
		// A value is due.
		if i >= len(s) {
			return len(s) + 1
		}
		if c := s[i]; c == '{' || c == '[' {
			if depth == nesting {
				return len(s) + 2
			}
			word, bit := depth/64, uint64(1)<<(depth%64)
			around[word] &^= bit
			if inObject {
				around[word] |= bit
			}
			depth++
			inObject = c == '{'
			if i = skipSpace(s, i+1); i >= len(s) {
				return len(s) + 1
			}
			if s[i] != c+2 { // "{" and "}", "[" and "]" are two apart
				if inObject {
					i = skipName(s, i)
				}
				continue
			}
		} else {
			i = skipScalar(s, i)
		}

		// A value has ended: levels close until a comma makes another value due.
		for {
			if i = skipSpace(s, i); i >= len(s) {
				return len(s) + 1
			}
			c := s[i]
			i++
			if c == ',' {
				i = skipSpace(s, i)
				if inObject {
					i = skipName(s, i)
				}
				break
			}
			if c != '}' && c != ']' || (c == '}') != inObject {
				return len(s) + 1
			}
			depth--
			inObject = around[depth/64]>>(depth%64)&1 == 1
			if depth == 0 {
				return i
			}
		}
	}
}

// skipName skips the name of a member and its colon, with white space around that.
func skipName(s []byte, i int) int {
	if i >= len(s) || s[i] != '"' {
		return len(s) + 1
	}
	i = skipSpace(s, skipString(s, i+1))
	if i >= len(s) || s[i] != ':' {
		return len(s) + 1
	}
	return skipSpace(s, i+1)
}

func skipScalar(s []byte, i int) int {
	switch s[i] {
	case '"':
		return skipString(s, i+1)
	case 't':
		return jsontext.SkipWord(s, i, "true")
	case 'f':
		return jsontext.SkipWord(s, i, "false")
	case 'n':
		return jsontext.SkipWord(s, i, "null")
	}
	return jsontext.SkipNumber(s, i)
}

// skipPlain returns the position of the next byte that ends a string or needs a closer look,
// or one of the last of s, where fewer than eight are left.
func skipPlain(s []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for i <= len(s)-8 {
		w := binary.LittleEndian.Uint64(s[i:])
		quote, backslash := w^ones*'"', w^ones*'\\'
		// The lowest mark is right; borrows may set those above it wrongly.
		marks := ((quote-ones)&^quote | (backslash-ones)&^backslash | (w-ones*' ')&^w) & tops
		if marks != 0 {
			return i + bits.TrailingZeros64(marks)/8
		}
		i += 8
	}
	return i
}

// skipString skips a string whose opening quote is before i.
func skipString(s []byte, i int) int {
	for i < len(s) {
		if i = skipPlain(s, i); i == len(s) {
			break
		}
		c := s[i]
		i++
		switch {
		case c == '"':
			return i
		case c == '\\':
			if i >= len(s) {
				return len(s) + 1
			}
			switch s[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i++
			case 'u':
				if jsontext.CodeUnit(s[i+1:]) < 0 {
					return len(s) + 1
				}
				i += 5
			default:
				return len(s) + 1
			}
		case c < ' ':
			return len(s) + 1
		}
	}
	return len(s) + 1
}

// appendUnescaped appends the text of a valid string, given without its quotes, with U+FFFD
// for half of a surrogate pair.
func appendUnescaped(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '\\' {
			dst = append(dst, c)
			continue
		}
		i++
		switch c = s[i]; c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, n := jsontext.Rune(s[i+1:])
			i += n
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// appendQuoted appends s, which must be UTF-8, as a JSON string.
func appendQuoted(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i, c := range s {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(dst, s[from:]...), '"')
}

// cursor goes through the members of an object, or the elements of an array.
type cursor struct {
	s       []byte
	i       int // where s is still to be read; after the last element, that is after the closing bracket
	object  bool
	nesting int // how deep elements may nest
	started bool
}

// newCursor returns a cursor in the object or array that begins at s[i], whose elements may
// nest that deep.
func newCursor(s []byte, i, nesting int) cursor {
	return cursor{s: s, i: i + 1, object: s[i] == '{', nesting: nesting}
}

// next returns the next element: its value without white space around, and, in an object,
// its name, without quotes but with its escapes. It is not ok after the last one, and if s
// is not JSON: jsonError(c.s, c.i) tells.
func (c *cursor) next() (name, value []byte, ok bool) {
	s, i := c.s, skipSpace(c.s, c.i)
	switch {
	case i >= len(s):
		i = max(i, len(s)+1)
	case s[i] == '}' && c.object || s[i] == ']' && !c.object:
		c.i = i + 1
		return nil, nil, false
	case !c.started:
		c.started = true
		ok = true
	case s[i] == ',':
		i = skipSpace(s, i+1)
		ok = true
	default:
		i = len(s) + 1
	}
	if !ok {
		c.i = i
		return nil, nil, false
	}
	if c.object {
		from := i + 1
		if i = skipName(s, i); i > len(s) {
			c.i = i
			return nil, nil, false
		}
		name = s[from : skipString(s, from)-1]
	}
	end := skipNested(s, i, c.nesting)
	c.i = end
	if end > len(s) {
		return nil, nil, false
	}
	return name, s[i:end], true
}
