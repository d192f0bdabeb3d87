package sandbox

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// plainSource writes the escapes and numbers that gopher-lua's scanner does not know, or
// takes for others, as those it does: \x41, \z and \u{41}, and every number in decimal. Lines
// keep their numbers. It panics with a *SyntaxError for what LuaJIT does not take.
func plainSource(source string) string {
	x := lexer{src: source, line: 1}
	x.out.Grow(len(source))
	if strings.HasPrefix(source, "\uFEFF") { // an editor's mark of UTF-8
		x.pos = len("\uFEFF")
	}
	if strings.HasPrefix(source[x.pos:], "#") { // as the first line of a script
		for x.pos < len(source) && source[x.pos] != '\n' {
			x.pos++
		}
	}
	for x.pos < len(x.src) {
		x.next()
	}
	return x.out.String()
}

type lexer struct {
	src  string
	pos  int
	line int
	out  strings.Builder
}

func (x *lexer) fail(format string, args ...any) {
	panic(&SyntaxError{x.line, fmt.Sprintf(format, args...)})
}

// at is the byte n after the current one, or 0.
func (x *lexer) at(n int) byte {
	if x.pos+n < len(x.src) {
		return x.src[x.pos+n]
	}
	return 0
}

// copy writes n bytes as they are.
func (x *lexer) copy(n int) {
	n = min(n, len(x.src)-x.pos)
	s := x.src[x.pos : x.pos+n]
	x.line += strings.Count(s, "\n")
	x.out.WriteString(s)
	x.pos += n
}

func (x *lexer) next() {
	switch c := x.at(0); {
	case c == '-' && x.at(1) == '-':
		if n := longBracket(x.src[x.pos+2:]); n > 0 {
			x.copy(2)
			x.long(n)
			return
		}
		n := strings.IndexByte(x.src[x.pos:], '\n')
		if n < 0 {
			n = len(x.src) - x.pos
		}
		x.pos += n // the scanner reads --[==  as the beginning of a long comment
	case c == '[':
		if n := longBracket(x.src[x.pos:]); n > 0 {
			x.long(n)
			return
		}
		x.copy(1)
	case c == '"' || c == '\'':
		x.quoted(c)
	case isDigit(c) || c == '.' && isDigit(x.at(1)):
		x.number()
	case isName(c):
		n := 1
		for isName(x.at(n)) {
			n++
		}
		x.copy(n)
	default:
		x.copy(1)
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isName(c byte) bool  { return c == '_' || digit(c) < 36 }

// longBracket is the length of the [==[ that s begins with, or 0.
func longBracket(s string) int {
	if s == "" || s[0] != '[' {
		return 0
	}
	n := 1
	for n < len(s) && s[n] == '=' {
		n++
	}
	if n < len(s) && s[n] == '[' {
		return n + 1
	}
	return 0
}

// long copies a long string or comment that begins with n bytes of bracket.
func (x *lexer) long(n int) {
	end := "]" + strings.Repeat("=", n-2) + "]"
	i := strings.Index(x.src[x.pos+n:], end)
	if i < 0 {
		x.fail("unfinished long string or comment")
	}
	x.copy(n + i + len(end))
}

func (x *lexer) quoted(quote byte) {
	lines := 0 // left out by \z
	x.copy(1)
	for {
		switch c := x.at(0); {
		case x.pos >= len(x.src) || c == '\n' || c == '\r':
			x.fail("unfinished string")
		case c == quote:
			x.copy(1)
			x.out.WriteString(strings.Repeat("\n", lines))
			return
		case c == '\\':
			lines += x.escape()
		default:
			x.copy(1)
		}
	}
}

// escape writes an escape, and returns how many lines it left out.
func (x *lexer) escape() (lines int) {
	c := x.at(1)
	switch {
	case c == 'x':
		v := digit(x.at(2))*16 + digit(x.at(3))
		if digit(x.at(2)) > 15 || digit(x.at(3)) > 15 {
			x.fail("invalid escape sequence '\\x'")
		}
		fmt.Fprintf(&x.out, "\\%03d", v)
		x.pos += 4
	case c == 'z':
		x.pos += 2
		for x.pos < len(x.src) && strings.IndexByte(spaces, x.src[x.pos]) >= 0 {
			if x.src[x.pos] == '\n' {
				lines++
				x.line++
			}
			x.pos++
		}
	case c == 'u':
		x.unicode()
	case isDigit(c):
		n := 1
		for n < 3 && isDigit(x.at(1+n)) {
			n++
		}
		v, _ := strconv.Atoi(x.src[x.pos+1 : x.pos+1+n])
		if v > 255 {
			x.fail("invalid escape sequence '\\%d'", v)
		}
		fmt.Fprintf(&x.out, "\\%03d", v)
		x.pos += 1 + n
	case c == '\r' && x.at(2) == '\n':
		x.copy(3)
	case strings.IndexByte("abfnrtv\\\"'\n\r", c) >= 0 && c != 0:
		x.copy(2)
	default:
		x.fail("invalid escape sequence in a string")
	}
	return lines
}

// unicode writes \u{41} as the bytes of UTF-8.
func (x *lexer) unicode() {
	end := strings.IndexByte(x.src[x.pos:min(x.pos+16, len(x.src))], '}')
	if x.at(2) != '{' || end < 0 {
		x.fail("invalid escape sequence '\\u'")
	}
	v, err := strconv.ParseUint(x.src[x.pos+3:x.pos+end], 16, 32)
	if err != nil || v > utf8.MaxRune || strings.Contains(x.src[x.pos+3:x.pos+end], "_") {
		x.fail("invalid escape sequence '\\u'")
	}
	var b [4]byte
	r := []byte{byte(0xe0 | v>>12), byte(0x80 | v>>6&0x3f), byte(0x80 | v&0x3f)} // a surrogate
	if utf8.ValidRune(rune(v)) {
		r = b[:utf8.EncodeRune(b[:], rune(v))]
	}
	for _, c := range r {
		fmt.Fprintf(&x.out, "\\%03d", c)
	}
	x.pos += end + 1
}

// number writes a number in decimal.
func (x *lexer) number() {
	n := 1
	exp := byte('e')
	if x.at(0) == '0' && x.at(1)|0x20 == 'x' {
		exp = 'p'
	}
	for isName(x.at(n)) || x.at(n) == '.' || (x.at(n) == '+' || x.at(n) == '-') && x.at(n-1)|0x20 == exp {
		n++
	}
	s := x.src[x.pos : x.pos+n]
	// 1..2 is malformed, as in Lua.
	f, ok := parseNumber(s)
	if !ok {
		lower := strings.ToLower(s)
		if strings.HasSuffix(lower, "ll") || strings.HasSuffix(lower, "i") && exp == 'e' {
			x.fail("numbers of 64 bits and complex numbers, such as %s, are not available in message functions", cut(s))
		}
		x.fail("malformed number near '%s'", cut(s))
	}
	x.pos += n
	if math.IsInf(f, 0) {
		x.out.WriteString("(1/0)")
		return
	}
	x.out.WriteString(strconv.FormatFloat(f, 'g', -1, 64))
}

func cut(s string) string { return s[:min(len(s), 64)] }
