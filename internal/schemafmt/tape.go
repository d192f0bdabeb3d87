package schemafmt

import (
	"unicode/utf16"
	"unicode/utf8"
)

// tape is a JSON document as a list of its values, in the order of the text. Values can be
// skipped and visited again without reading the text once more, and nothing is decoded before
// it is needed.
type tape struct {
	doc    []byte
	values []value
	open   []uint32 // positions of the arrays and objects around, while the document is read
}

// value is one on the tape. What is in an array follows it; what is in an object follows it
// as names and values in turn.
type value struct {
	start, end uint32 // in the document; of a string what is between its quotes
	next       uint32 // the position of what follows this value and all that is in it
	kind       kind
	escaped    bool // of a string: does it have escapes?
}

// kind is that of a JSON value.
type kind byte

const (
	jsonNull kind = iota
	jsonTrue
	jsonFalse
	jsonNumber
	jsonText
	jsonArray
	jsonObject
)

const notJSON = "must be one JSON document, in UTF-8"

// read makes t the tape of doc. It returns what is wrong with doc, in fixed words, or "".
func (t *tape) read(doc []byte, maxDepth int) (wrong string) {
	t.doc, t.values, t.open = doc, t.values[:0], t.open[:0]
	if uint64(len(doc)) >= 1<<32-1 {
		return "must be less than 4 GiB"
	}
	i := skipSpace(doc, 0)
	for {
		// A value is due at i.
		if i >= len(doc) {
			return notJSON
		}
		v := value{start: uint32(i), next: uint32(len(t.values) + 1)}
		switch c := doc[i]; c {
		case '{', '[':
			if len(t.open) >= maxDepth {
				return "is nested too deeply"
			}
			v.kind = jsonArray
			if c == '{' {
				v.kind = jsonObject
			}
			t.open = append(t.open, uint32(len(t.values)))
			t.values = append(t.values, v)
			i = skipSpace(doc, i+1)
			if i < len(doc) && doc[i] == c+2 { // '}' and ']' are two after '{' and '['
				break // it ends below
			}
			if c == '[' {
				continue
			}
			if i = t.name(i); i < 0 {
				return notJSON
			}
			continue
		case '"':
			if i = t.string(i); i < 0 {
				return notJSON
			}
		case 't':
			v.kind = jsonTrue
			i = t.literal(v, i, "true")
		case 'f':
			v.kind = jsonFalse
			i = t.literal(v, i, "false")
		case 'n':
			v.kind = jsonNull
			i = t.literal(v, i, "null")
		default:
			n := numberLength(doc[i:])
			if n == 0 {
				return notJSON
			}
			i += n
			v.kind, v.end = jsonNumber, uint32(i)
			t.values = append(t.values, v)
		}
		if i < 0 {
			return notJSON
		}
		// A value has ended, or an array or object without members is about to.
		for {
			i = skipSpace(doc, i)
			if len(t.open) == 0 {
				if i != len(doc) {
					return notJSON
				}
				return ""
			}
			if i >= len(doc) {
				return notJSON
			}
			around := &t.values[t.open[len(t.open)-1]]
			switch c := doc[i]; {
			case c == ',':
				i = skipSpace(doc, i+1)
				if around.kind == jsonObject {
					if i = t.name(i); i < 0 {
						return notJSON
					}
				}
			case c == ']' && around.kind == jsonArray, c == '}' && around.kind == jsonObject:
				i++
				around.end, around.next = uint32(i), uint32(len(t.values))
				t.open = t.open[:len(t.open)-1]
				continue
			default:
				return notJSON
			}
			break
		}
	}
}

// The methods that read return the position after what they read, or -1.

// name reads a member's name and its colon.
func (t *tape) name(i int) int {
	if i = t.string(i); i < 0 {
		return -1
	}
	if i = skipSpace(t.doc, i); i >= len(t.doc) || t.doc[i] != ':' {
		return -1
	}
	return skipSpace(t.doc, i+1)
}

func (t *tape) string(i int) int {
	doc := t.doc
	if i >= len(doc) || doc[i] != '"' {
		return -1
	}
	i++
	v := value{kind: jsonText, start: uint32(i), next: uint32(len(t.values) + 1)}
	var high byte
	for ; i < len(doc); i++ {
		c := doc[i]
		switch {
		case c == '"':
			if high >= utf8.RuneSelf && !utf8.Valid(doc[v.start:i]) {
				return -1
			}
			v.end = uint32(i)
			t.values = append(t.values, v)
			return i + 1
		case c < ' ':
			return -1
		case c == '\\':
			v.escaped = true
			if i++; i >= len(doc) {
				return -1
			}
			switch doc[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if _, ok := hex4(doc[i+1:]); !ok {
					return -1
				}
				i += 4
			default:
				return -1
			}
		default:
			high |= c
		}
	}
	return -1
}

func (t *tape) literal(v value, i int, word string) int {
	end := i + len(word)
	if end > len(t.doc) || string(t.doc[i:end]) != word {
		return -1
	}
	v.end = uint32(end)
	t.values = append(t.values, v)
	return end
}

func skipSpace(s []byte, i int) int {
	for i < len(s) && s[i] <= ' ' && (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
		i++
	}
	return i
}

// numberLength returns the length of the number that s begins with, or 0.
func numberLength(s []byte) int {
	i := 0
	digits := func() bool {
		from := i
		for i < len(s) && s[i]-'0' <= 9 {
			i++
		}
		return i > from
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		if i++; !digits() {
			return 0
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return 0
		}
	}
	return i
}

// raw returns the text of a value: of a string what is between its quotes.
func (t *tape) raw(v *value) []byte { return t.doc[v.start:v.end] }

// appendString appends the characters of a string. Half of a surrogate pair becomes U+FFFD.
func (t *tape) appendString(dst []byte, v *value) []byte {
	s := t.raw(v)
	if !v.escaped {
		return append(dst, s...)
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			dst = append(dst, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(s[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if i+2 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
					low, ok = hex4(s[i+3:])
				}
				if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, s[i])
		}
	}
	return dst
}

// is reports whether a string has these characters.
func (t *tape) is(v *value, s string) bool {
	if !v.escaped {
		return string(t.raw(v)) == s
	}
	return string(t.appendString(nil, v)) == s
}

// hex4 returns the character that s begins with in four hexadecimal digits.
func hex4(s []byte) (r rune, ok bool) {
	if len(s) < 4 {
		return 0, false
	}
	for _, c := range s[:4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
