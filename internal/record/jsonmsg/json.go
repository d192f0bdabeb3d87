package jsonmsg

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
	"unicode/utf16"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsontext"
)

const maxNesting = record.MaxNesting

// appendCompactJSON appends s if it is one value of JSON by RFC 8259, with or
// without white space around it. s must be UTF-8 and shorter than 4 GiB. What is
// appended means the same as s and is never longer, but any strict reader takes it:
//
//   - White space outside of strings is left out, so the value is on one line.
//   - An escape that is half of a surrogate pair becomes \ufffd. It stands for no
//     character, and readers disagree about it (RFC 8259, section 8.2).
//   - Of the members of an object that have the same name only the last one is
//     kept, at its own position (RFC 7493, section 2.3). Names are the same if
//     they are once their escapes are decoded: "a" and "\u0061" are.
//
// Everything else stays as written: digits, escapes, the order of members.
//
// If s is not JSON, the error says so and dst comes back as it was.
//
// One pass over s does all of this. For a body that is compact already it takes
// about as long as to check it and to copy it, and an eighth of what json.Valid and
// json.Compact take (BenchmarkBodyArgs).
func appendCompactJSON(dst, s []byte) ([]byte, error) {
	c := compactors.Get().(*compactor)
	c.dst, c.start, c.from, c.shift, c.size = slices.Grow(dst, len(s)), len(dst), 0, 0, len(s)
	err := c.run(s)
	if err == nil {
		dst = c.dst
		if c.marked {
			dst = dst[:c.start+len(removeMarked(dst[c.start:]))]
		}
	}
	c.dst = nil
	c.nameStack.reset()
	compactors.Put(c)
	return dst, err
}

var compactors = sync.Pool{New: func() any { return new(compactor) }}

// compactor is the state of one appendCompactJSON.
//
// Input is copied late: at any time dst lacks s[from:i], where i is how far s was
// read. That run is copied when something after it is left out, so a body that is
// compact already is copied in one piece.
type compactor struct {
	dst   []byte
	start int // where the value begins in dst
	from  int // s[:from] was copied or left out
	shift int // s[i], once it is copied, is dst[start+i+shift]

	escaped bool // set when an escape is read

	nameStack
}

// run reads s and appends it to c.dst, with the members that it has marked for
// removal.
func (c *compactor) run(s []byte) error {
	var (
		depth    int
		inObject bool // is the innermost level an object?
		i        int
	)
	for {
		// A value is due.
		if i >= len(s) {
			return errJSON
		}
		switch b := s[i]; b {
		case ' ', '\n', '\r', '\t':
			i = c.dropSpace(s, i)
			continue
		case '"':
			if i = skipPlain(s, i+1); i < len(s) && s[i] == '"' {
				i++
			} else {
				i = c.skipString(s, i)
			}
		case '{', '[':
			if depth == maxNesting {
				return errJSONDeep
			}
			depth++
			c.open(inObject)
			inObject = b == '{'
			i++
			if i < len(s) && s[i] <= ' ' {
				i = c.dropSpace(s, i)
			}
			if i >= len(s) {
				return errJSON
			}
			if s[i] == b+2 { // "{" and "}", "[" and "]" are two apart
				break
			}
			if inObject {
				i = c.skipName(s, i)
			}
			continue
		case 't':
			i = jsontext.SkipWord(s, i, "true")
		case 'f':
			i = jsontext.SkipWord(s, i, "false")
		case 'n':
			i = jsontext.SkipWord(s, i, "null")
		case '1', '2', '3', '4', '5', '6', '7', '8', '9':
			for i++; i < len(s) && s[i]-'0' <= 9; i++ {
			}
			if i < len(s) && (s[i] == '.' || s[i]|0x20 == 'e') {
				i = jsontext.SkipFraction(s, i)
			}
		default:
			i = jsontext.SkipNumber(s, i)
		}

		// A value has ended: levels close until a comma makes another value due.
		for {
			if depth == 0 {
				return c.end(s, i)
			}
			if i >= len(s) {
				return errJSON
			}
			b := s[i]
			if b <= ' ' {
				if i = c.dropSpace(s, i); i >= len(s) {
					return errJSON
				}
				b = s[i]
			}
			i++
			if b == ',' {
				if inObject {
					i = c.skipName(s, i)
				}
				break
			}
			if b != '}' && b != ']' || (b == '}') != inObject {
				return errJSON
			}
			if inObject && !c.distinctWord() {
				c.dropRepeated(s, i)
			}
			depth--
			inObject = c.close()
		}
	}
}

// end checks what follows the value: only white space may.
func (c *compactor) end(s []byte, i int) error {
	if i > len(s) || c.dropSpace(s, i) < len(s) {
		return errJSON
	}
	return nil
}

// dropRepeated marks for removal each member of the object that ends at i whose
// name a later one has.
func (c *compactor) dropRepeated(s []byte, i int) {
	if c.distinctSlots() {
		return
	}
	c.flush(s, i)
	c.markRepeated(c.dst[c.start:])
}

// flush copies what is not yet copied of s[:i].
func (c *compactor) flush(s []byte, i int) {
	c.dst = append(c.dst, s[c.from:i]...)
	c.from = i
}

// leaveOut copies s up to i, and leaves out s[i:next].
func (c *compactor) leaveOut(s []byte, i, next int) {
	c.flush(s, i)
	c.from = next
	c.shift = len(c.dst) - c.start - next
}

// dropSpace leaves out the white space that begins at i, if any, and returns the
// position after it. i is at most len(s).
func (c *compactor) dropSpace(s []byte, i int) int {
	end := i
	for end < len(s) && (s[end] == ' ' || s[end] == '\n' || s[end] == '\r' || s[end] == '\t') {
		end++
	}
	c.leaveOut(s, i, end)
	return end
}

// The skip functions return the position after what they skip, which begins at i.
// If s has something else there, they return len(s)+1, from where nothing can be
// read.

// skipName skips the name of a member and its colon, with white space around
// both, and records the member.
func (c *compactor) skipName(s []byte, i int) int {
	if i >= len(s) || s[i] != '"' {
		if i = c.dropSpace(s, i); i >= len(s) || s[i] != '"' {
			return len(s) + 1
		}
	}
	offset := i + c.shift
	if len(c.stack) == cap(c.stack) {
		c.grow(offset)
	}
	i++
	if i <= len(s)-8 {
		// The one word that holds most names, with their closing quote.
		w := binary.LittleEndian.Uint64(s[i:])
		if m := marks(w); m != 0 {
			n := bits.TrailingZeros64(m) / 8
			if w>>(8*n)&0xff != '"' {
				return c.skipOddName(s, i, offset)
			}
			c.add(hashWord(w&((m&-m)>>7-1)), offset) // the bytes below the lowest mark
			if i += n + 1; i < len(s) && s[i] == ':' {
				return i + 1
			}
			return c.skipColon(s, i)
		}
		if i+8 <= len(s)-8 {
			w2 := binary.LittleEndian.Uint64(s[i+8:])
			if m := marks(w2); m != 0 {
				n := bits.TrailingZeros64(m) / 8
				if w2>>(8*n)&0xff != '"' {
					return c.skipOddName(s, i, offset)
				}
				c.add(hashWords(w, w2&((m&-m)>>7-1)), offset)
				if i += 8 + n + 1; i < len(s) && s[i] == ':' {
					return i + 1
				}
				return c.skipColon(s, i)
			}
		}
	}
	return c.skipOddName(s, i, offset)
}

// skipOddName is skipName from after the opening quote on, for a name that has
// escapes or is at the end of s.
func (c *compactor) skipOddName(s []byte, i, offset int) int {
	c.escaped = false
	end := c.skipString(s, i)
	if end > len(s) {
		return end
	}
	name := s[i : end-1]
	if c.escaped {
		name = c.decode(s[i:])
	}
	c.add(hashName(name), offset)
	return c.skipColon(s, end)
}

func (c *compactor) skipColon(s []byte, i int) int {
	if i >= len(s) || s[i] != ':' {
		if i = c.dropSpace(s, i); i >= len(s) || s[i] != ':' {
			return len(s) + 1
		}
	}
	return i + 1
}

// skipPlain returns the position of the next byte that ends a string or needs a
// closer look: a quote, a backslash or a control character. It does not look at
// the last bytes of s, where fewer than eight are left.
func skipPlain(s []byte, i int) int {
	for i <= len(s)-8 {
		if m := marks(binary.LittleEndian.Uint64(s[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
		i += 8
	}
	return i
}

// skipString skips a string whose opening quote is before i.
func (c *compactor) skipString(s []byte, i int) int {
	for {
		if i = skipPlain(s, i); i >= len(s) {
			return len(s) + 1
		}
		switch b := s[i]; {
		case b == '"':
			return i + 1
		case b == '\\':
			i = c.skipEscape(s, i+1)
		case b < 0x20:
			return len(s) + 1
		default:
			i++
		}
	}
}

// skipEscape skips an escape whose backslash is before i, or two if they are a
// surrogate pair. Half of a pair is replaced.
func (c *compactor) skipEscape(s []byte, i int) int {
	c.escaped = true
	if i >= len(s) {
		return len(s) + 1
	}
	switch s[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		r, n := jsontext.Rune(s[i+1:])
		if n == 0 {
			break
		}
		end := i + 1 + n
		if utf16.IsSurrogate(r) {
			c.leaveOut(s, i-1, end)
			c.dst = append(c.dst, `\ufffd`...)
			c.shift += len(`\ufffd`)
		}
		return end
	}
	return len(s) + 1
}
