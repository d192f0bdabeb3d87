package jsonmsg

import (
	"bytes"
	"encoding/binary"

	"kafka-upstream/internal/record/jsontext"
	"kafka-upstream/internal/record/media"
)

// checkJSON returns nil if s, which must be UTF-8, is one value of JSON by RFC 8259,
// with or without white space around it.
//
// It is what checked a body before one pass did that and all else, and says what
// that pass has to accept (FuzzBodyArgs) and what it may cost (BenchmarkBodyArgs).
func checkJSON(s []byte) error {
	var (
		outer    [(maxNesting + 63) / 64]uint64 // a bit for each level around: is it an object?
		depth    int
		inObject bool // is the innermost level an object?
		i        int
	)
	for {
		// A value is due.
		if i = skipSpace(s, i); i >= len(s) {
			return errJSON
		}
		switch c := s[i]; c {
		case '"':
			i = skipString(s, i+1)
		case '{', '[':
			if depth == maxNesting {
				return errJSONDeep
			}
			level, bit := depth/64, uint64(1)<<(depth%64)
			outer[level] &^= bit
			if inObject {
				outer[level] |= bit
			}
			depth++
			inObject = c == '{'
			if i = skipSpace(s, i+1); i >= len(s) {
				return errJSON
			}
			if s[i] == c+2 { // "{" and "}", "[" and "]" are two apart
				break
			}
			if inObject {
				if i = skipKey(s, i); i < 0 {
					return errJSON
				}
			}
			continue
		case 't':
			i = jsontext.SkipWord(s, i, "true")
		case 'f':
			i = jsontext.SkipWord(s, i, "false")
		case 'n':
			i = jsontext.SkipWord(s, i, "null")
		default:
			i = jsontext.SkipNumber(s, i)
		}
		if i < 0 {
			return errJSON
		}

		// A value is over: levels close until a comma makes another value due.
		for {
			i = skipSpace(s, i)
			if depth == 0 && i == len(s) {
				return nil
			}
			if depth == 0 || i >= len(s) {
				return errJSON
			}
			c := s[i]
			i++
			if c == ',' {
				if inObject {
					if i = skipKey(s, skipSpace(s, i)); i < 0 {
						return errJSON
					}
				}
				break
			}
			if c != '}' && c != ']' || (c == '}') != inObject {
				return errJSON
			}
			depth--
			inObject = outer[depth/64]>>(depth%64)&1 == 1
		}
	}
}

// The functions from skipSpace to skipEscape return the position after what they
// skip, which begins at i, or a negative number if it is not there.

func skipSpace(s []byte, i int) int {
	for i < len(s) && s[i] <= ' ' && (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
		i++
	}
	return i
}

// skipKey skips the name of a member and its colon.
func skipKey(s []byte, i int) int {
	if i == len(s) || s[i] != '"' {
		return -1
	}
	if i = skipString(s, i+1); i < 0 {
		return -1
	}
	if i = skipSpace(s, i); i == len(s) || s[i] != ':' {
		return -1
	}
	return i + 1
}

// skipString skips a string whose opening quote is before i.
func skipString(s []byte, i int) int {
	for i < len(s) {
		if i <= len(s)-8 {
			clean := escapable(binary.LittleEndian.Uint64(s[i:]))
			i += clean
			if clean == 8 {
				continue
			}
		}
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = skipEscape(s, i+1); i < 0 {
				return -1
			}
		case c < 0x20:
			return -1
		default:
			i++
		}
	}
	return -1
}

// skipEscape skips an escape whose backslash is before i.
func skipEscape(s []byte, i int) int {
	if i == len(s) {
		return -1
	}
	switch s[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if len(s)-i >= 5 && media.Unhex[s[i+1]]|media.Unhex[s[i+2]]|media.Unhex[s[i+3]]|media.Unhex[s[i+4]] <= 15 {
			return i + 5
		}
	}
	return -1
}

// trimJSONSpace trims the white space that JSON allows around a value.
func trimJSONSpace(s []byte) []byte { return bytes.Trim(s, " \t\r\n") }
