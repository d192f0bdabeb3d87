package kongsim

import (
	"fmt"
	"regexp"
	"strings"
)

// luaPattern translates a Lua pattern into a regular expression of bytes. It
// knows the classes, sets, quantifiers and anchors; captures and %b, %f and
// back-references it refuses.
func luaPattern(lua string) (*regexp.Regexp, error) {
	classes := map[byte]string{
		'a': "A-Za-z", 'd': "0-9", 'l': "a-z", 'u': "A-Z", 'w': "0-9A-Za-z", 'x': "0-9A-Fa-f",
		's': "\\t\\n\\v\\f\\r ", 'c': "\\x00-\\x1f\\x7f", 'p': "!-/:-@\\[-`{-~", 'g': "!-~",
	}
	bad := func(why string) (*regexp.Regexp, error) {
		return nil, fmt.Errorf("the Lua pattern %q %s", lua, why)
	}
	var out strings.Builder
	out.WriteString("(?s)")
	literal := func(c byte) string {
		if c < 0x80 {
			return regexp.QuoteMeta(string(rune(c)))
		}
		return fmt.Sprintf("\\x{%02x}", c)
	}
	inSet := func(c byte) string {
		if strings.IndexByte(`\]^[-`, c) >= 0 {
			return `\` + string(rune(c))
		}
		return literal(c)
	}
	for i := 0; i < len(lua); {
		c := lua[i]
		i++
		switch {
		case c == '^' && i == 1:
			out.WriteString("^")
			continue
		case c == '$' && i == len(lua):
			out.WriteString("$")
			continue
		case c == '(' || c == ')':
			return bad("has a capture, which is not supported here")
		case c == '.':
			out.WriteString(".")
		case c == '%':
			if i == len(lua) {
				return bad("ends with %")
			}
			c = lua[i]
			i++
			class, known := classes[c|0x20]
			switch {
			case known && c|0x20 == c:
				out.WriteString("[" + class + "]")
			case known && c >= 'A' && c <= 'Z':
				out.WriteString("[^" + class + "]")
			case c >= '0' && c <= '9' || c == 'b' || c == 'f':
				return bad("uses %" + string(rune(c)) + ", which is not supported here")
			default:
				out.WriteString(literal(c))
			}
		case c == '[':
			out.WriteString("[")
			if i < len(lua) && lua[i] == '^' {
				out.WriteString("^")
				i++
			}
			for first := true; ; first = false {
				if i >= len(lua) {
					return bad("has a set without an end")
				}
				c = lua[i]
				i++
				if c == ']' && !first {
					break
				}
				if c == '%' {
					if i >= len(lua) {
						return bad("ends with %")
					}
					c = lua[i]
					i++
					if class, known := classes[c|0x20]; known && c|0x20 == c {
						out.WriteString(class)
						continue
					} else if known && c >= 'A' && c <= 'Z' {
						return bad("has a negated class in a set, which is not supported here")
					}
					out.WriteString(inSet(c))
					continue
				}
				if i+1 < len(lua) && lua[i] == '-' && lua[i+1] != ']' {
					out.WriteString(inSet(c) + "-" + inSet(lua[i+1]))
					i += 2
					continue
				}
				out.WriteString(inSet(c))
			}
			out.WriteString("]")
		default:
			out.WriteString(literal(c))
		}
		if i < len(lua) {
			switch lua[i] {
			case '*', '+', '?':
				out.WriteByte(lua[i])
				i++
			case '-':
				out.WriteString("*?")
				i++
			}
		}
	}
	re, err := regexp.Compile(out.String())
	if err != nil {
		return bad("cannot be read")
	}
	return re, nil
}
