package lualib

import (
	"encoding/base64"
	"strings"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

func ngxEncodeBase64(l *glua.LState) int {
	s, e := anyString(l, 1), base64.StdEncoding
	if v := l.Get(2); glua.LVAsBool(v) {
		if v != glua.LTrue {
			l.RaiseError("bad no_padding: boolean expected, got %s", typeName(l, 2))
		}
		e = base64.RawStdEncoding
	}
	charge(l, 2*len(s), 2*e.EncodedLen(len(s)))
	return pushString(l, e.EncodeToString([]byte(s)))
}

func ngxDecodeBase64(l *glua.LState) int {
	if l.Get(1).Type() != glua.LTString {
		l.RaiseError("string argument only")
	}
	s := string(l.Get(1).(glua.LString))
	charge(l, 2*len(s), 3*len(s))
	return pushDecoded(l, base64.RawStdEncoding, s)
}

// pushDecoded pushes s decoded, or nil. As nginx it ignores padding, and what the bits
// after the last byte are.
func pushDecoded(l *glua.LState, e *base64.Encoding, s string) int {
	if strings.ContainsAny(s, "\r\n") { // Go's skips them
		l.Push(glua.LNil)
		return 1
	}
	b, err := e.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		l.Push(glua.LNil)
		return 1
	}
	return pushString(l, string(b))
}

// base64Functions are ngx.base64.
var base64Functions = map[string]glua.LGFunction{
	"encode_base64url": func(l *glua.LState) int {
		if l.Get(1).Type() != glua.LTString {
			return pushError(l, "must provide a string")
		}
		s := string(l.Get(1).(glua.LString))
		charge(l, 2*len(s), 3*len(s))
		return pushString(l, base64.RawURLEncoding.EncodeToString([]byte(s)))
	},
	"decode_base64url": func(l *glua.LState) int {
		if l.Get(1).Type() != glua.LTString {
			return pushError(l, "must provide a string")
		}
		s := string(l.Get(1).(glua.LString))
		charge(l, 2*len(s), 3*len(s))
		if pushDecoded(l, base64.RawURLEncoding, s); l.Get(-1) == glua.LNil {
			return 1 + pushString(l, "invalid input")
		}
		return 1
	},
	"decode_base64mime": func(l *glua.LState) int {
		if l.Get(1).Type() != glua.LTString {
			return pushError(l, "must provide a string")
		}
		s := string(l.Get(1).(glua.LString))
		charge(l, 8*len(s), 4*len(s))
		s = strings.Map(func(r rune) rune {
			if r < 0x80 && (r == '+' || r == '/' || '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z') {
				return r
			}
			return -1
		}, s)
		if pushDecoded(l, base64.RawStdEncoding, s); l.Get(-1) == glua.LNil {
			return 1 + pushString(l, "invalid input")
		}
		return 1
	},
}

// The kinds of ngx.escape_uri.
const escapeURI, escapeComponent = 0, 2

const upperHex = "0123456789ABCDEF"

// escaped reports whether lua-nginx-module escapes c. It leaves !'()* alone.
func escaped(c byte, kind int) bool {
	if kind == escapeURI {
		return c <= ' ' || c >= 0x7f || c == '#' || c == '%' || c == '?'
	}
	switch c {
	case '-', '.', '_', '~', '!', '\'', '(', ')', '*':
		return false
	}
	return !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z')
}

func escape(l *glua.LState, s string, kind int) string {
	n := 0
	for i := 0; i < len(s); i++ {
		if escaped(s[i], kind) {
			n++
		}
	}
	sandbox.Charge(l, 1+len(s)/32, 0)
	if n == 0 {
		return s
	}
	charge(l, 4*len(s), len(s)+2*n)
	b := make([]byte, 0, len(s)+2*n)
	for i := 0; i < len(s); i++ {
		if c := s[i]; escaped(c, kind) {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func unescape(l *glua.LState, s string) string {
	sandbox.Charge(l, 1+len(s)/64, 0)
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	charge(l, len(s), len(s))
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s):
			high, low := strings.IndexByte(upperHex, upper(s[i+1])), strings.IndexByte(upperHex, upper(s[i+2]))
			if high >= 0 && low >= 0 {
				c = byte(high<<4 | low)
				i += 2
			}
		}
		b = append(b, c)
	}
	return string(b)
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		c -= 0x20
	}
	return c
}

func ngxEscapeURI(l *glua.LState) int {
	kind := escapeComponent
	switch v := l.Get(2).(type) {
	case *glua.LNilType:
	case glua.LNumber:
		if v != escapeURI && v != escapeComponent {
			l.RaiseError("ngx.escape_uri: the types 0 and 2 are available in message functions")
		}
		kind = int(v)
	default:
		l.RaiseError("\"esc_type\" is not number")
	}
	return pushString(l, escape(l, anyString(l, 1), kind))
}

func ngxUnescapeURI(l *glua.LState) int { return pushString(l, unescape(l, anyString(l, 1))) }

func ngxEncodeArgs(l *glua.LState) int {
	t, ok := l.Get(1).(*glua.LTable)
	if !ok {
		badArgument(l, 1, "encode_args", "table")
	}
	out := text{l: l}
	add := func(key string, v glua.LValue) {
		switch v := v.(type) {
		case *glua.LNilType:
			return
		case glua.LBool:
			if !v {
				return
			}
		}
		if out.b.Len() > 0 {
			out.add("&")
		}
		out.add(key)
		switch v.(type) {
		case glua.LString, glua.LNumber:
			out.add("=")
			out.add(escape(l, sandbox.ToString(l, v), escapeComponent))
		case glua.LBool:
		default:
			l.RaiseError("attempt to use %s as query arg value", v.Type())
		}
	}
	for k, v := t.Next(glua.LNil); k != glua.LNil; k, v = t.Next(k) {
		sandbox.Charge(l, 2, 0)
		key, ok := k.(glua.LString)
		if !ok {
			l.RaiseError("attempt to use a non-string key in the \"args\" option table")
		}
		name := escape(l, string(key), escapeComponent)
		values, ok := v.(*glua.LTable)
		if !ok {
			add(name, v)
			continue
		}
		for i := 1; ; i++ {
			sandbox.Charge(l, 2, 0)
			v := values.RawGetInt(i)
			if v == glua.LNil {
				break
			}
			add(name, v)
		}
	}
	return out.push()
}

// defaultArgs is how many arguments decode_args reads unless it is told.
const defaultArgs = 100

func ngxDecodeArgs(l *glua.LState) int {
	v, ok := l.Get(1).(glua.LString)
	if !ok {
		badArgument(l, 1, "decode_args", "string")
	}
	s, most := string(v), defaultArgs
	if l.Get(2) != glua.LNil {
		most = toInt(numberArg(l, 2, "decode_args"))
	}
	sandbox.Charge(l, 4+strings.Count(s, "&")/8, 512)
	t := l.CreateTable(0, 8)
	for n := 0; s != ""; {
		if n == most && most > 0 {
			l.Push(t)
			l.Push(glua.LString("truncated"))
			return 2
		}
		var pair string
		pair, s, _ = strings.Cut(s, "&")
		key, value, has := strings.Cut(pair, "=")
		if pair == "" {
			continue
		}
		n++
		if key == "" {
			continue
		}
		sandbox.Charge(l, 4, 256)
		var v glua.LValue = glua.LTrue
		if has {
			v = glua.LString(unescape(l, value))
		}
		addValue(l, t, unescape(l, key), v)
	}
	l.Push(t)
	return 1
}

// addValue sets t[key], or makes an array of its values.
func addValue(l *glua.LState, t *glua.LTable, key string, v glua.LValue) {
	switch old := t.RawGetString(key).(type) {
	case *glua.LNilType:
		t.RawSetString(key, v)
	case *glua.LTable:
		old.Append(v)
	default:
		both := l.CreateTable(2, 0)
		both.Append(old)
		both.Append(v)
		t.RawSetString(key, both)
	}
}

var sqlEscapes = strings.NewReplacer("\x00", `\0`, "\b", `\b`, "\n", `\n`, "\r", `\r`, "\t", `\t`,
	"\x1a", `\Z`, `\`, `\\`, `'`, `\'`, `"`, `\"`)

// ngxQuoteSQL quotes as MySQL does.
func ngxQuoteSQL(l *glua.LState) int {
	oneArgument(l)
	s := stringArg(l, 1, "quote_sql_str")
	charge(l, 8*len(s), 4*len(s))
	return pushString(l, "'"+sqlEscapes.Replace(s)+"'")
}

// restyStringFunctions are resty.string.
var restyStringFunctions = map[string]glua.LGFunction{
	"to_hex": func(l *glua.LState) int {
		s := stringArg(l, 1, "to_hex")
		charge(l, 3*len(s), 4*len(s))
		return pushString(l, hexOf(s))
	},
	"atoi": func(l *glua.LState) int {
		s := stringArg(l, 1, "atoi")
		charge(l, len(s), 0)
		s = strings.TrimLeft(s, " \t\n\v\f\r")
		n, sign := 0.0, 1.0
		if s != "" && (s[0] == '-' || s[0] == '+') {
			if s[0] == '-' {
				sign = -1
			}
			s = s[1:]
		}
		for i := 0; i < min(len(s), 20) && '0' <= s[i] && s[i] <= '9'; i++ {
			n = n*10 + float64(s[i]-'0')
		}
		l.Push(glua.LNumber(sign * n))
		return 1
	},
}
