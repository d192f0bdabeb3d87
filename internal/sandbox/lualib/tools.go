package lualib

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"io"
	"strings"
	"unicode/utf8"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

const (
	// gzipMemory is about what Go's compressor takes.
	gzipMemory = 1 << 20
	// gzipChunk is how much is inflated for each charge.
	gzipChunk = 32 << 10
)

// gzipFunctions are kong.tools.gzip.
var gzipFunctions = map[string]glua.LGFunction{
	"deflate_gzip": func(l *glua.LState) int {
		s := stringArg(l, 1, "deflate_gzip")
		sandbox.Charge(l, 3000+len(s)/4, gzipMemory+2*int64(len(s)))
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		io.WriteString(w, s) // to memory: cannot fail
		w.Close()
		return pushString(l, b.String())
	},
	"inflate_gzip": func(l *glua.LState) int {
		s := stringArg(l, 1, "inflate_gzip")
		sandbox.Charge(l, 300, 64<<10)
		r, err := gzip.NewReader(strings.NewReader(s))
		if err != nil {
			return pushError(l, "INFLATE: data error")
		}
		out := text{l: l}
		buf := make([]byte, gzipChunk)
		for {
			n, err := io.ReadFull(r, buf)
			sandbox.Charge(l, 1+n/16, 0)
			out.add(string(buf[:n]))
			if err == io.EOF || err == io.ErrUnexpectedEOF && n < len(buf) && r.Close() == nil && drained(r) {
				return out.push()
			}
			if err != nil {
				return pushError(l, "INFLATE: data error")
			}
		}
	},
}

// drained reports whether r ended as it should: io.ReadFull reports the end of a stream and
// a stream that was cut with the same error.
func drained(r io.Reader) bool {
	_, err := r.Read(make([]byte, 1))
	return err == io.EOF
}

// stringFunctions are what modules/kong.tools.string.lua needs.
var stringFunctions = map[string]glua.LGFunction{
	"strip": func(l *glua.LState) int {
		s := ""
		if v := l.Get(1); v != glua.LNil {
			s = sandbox.ToString(l, v)
		}
		charge(l, 2*len(s), 0)
		return pushString(l, strings.Trim(s, " \t\n\v\f\r"))
	},
	"validate_utf8": func(l *glua.LState) int {
		s := sandbox.ToString(l, l.Get(1))
		charge(l, 4*len(s), 0)
		for i := 0; i < len(s); {
			r, width := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && width == 1 {
				l.Push(glua.LFalse)
				l.Push(glua.LNumber(i + 1))
				return 2
			}
			i += width
		}
		l.Push(glua.LTrue)
		return 1
	},
	"replace_dashes": func(l *glua.LState) int {
		s := stringArg(l, 1, "replace_dashes")
		charge(l, 2*len(s), 2*len(s))
		b := []byte(s)
		for i, c := range b {
			if c == '-' {
				b[i] = '_'
			}
		}
		return pushString(l, string(b))
	},
}

// uriFunctions are kong.tools.uri.
var uriFunctions = map[string]glua.LGFunction{
	"escape": func(l *glua.LState) int {
		s := stringArg(l, 1, "escape")
		charge(l, 16*len(s), 3*len(s))
		var b strings.Builder
		b.Grow(len(s))
		for i := 0; i < len(s); i++ {
			if c := s[i]; wordByte(c) || strings.IndexByte("!#$&'()*+,/:;=?@[]-.~%", c) >= 0 {
				b.WriteByte(c)
			} else {
				b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
			}
		}
		return pushString(l, b.String())
	},
	"normalize": func(l *glua.LState) int {
		s := stringArg(l, 1, "normalize")
		charge(l, 32*len(s), 10*len(s))
		return pushString(l, normalizeURI(s, glua.LVAsBool(l.Get(2))))
	},
}

// normalizeURI decodes what need not be escaped, resolves . and .. (RFC 3986, sections 6.2.2
// and 5.2.4), and makes one slash of several if merge is set.
func normalizeURI(uri string, merge bool) string {
	var b strings.Builder
	for i := 0; i < len(uri); i++ {
		c := uri[i]
		if c == '%' && i+2 < len(uri) {
			high, low := strings.IndexByte(upperHex, upper(uri[i+1])), strings.IndexByte(upperHex, upper(uri[i+2]))
			if high >= 0 && low >= 0 {
				if d := byte(high<<4 | low); strings.IndexByte("!*'();:@&=+$,/?%#[]", d) >= 0 {
					b.WriteString(strings.ToUpper(uri[i : i+3]))
				} else {
					b.WriteByte(d)
				}
				i += 2
				continue
			}
		}
		b.WriteByte(c)
	}
	rest := b.String()
	var out []string // segments, each with the slash before it
	pop := func() {
		if len(out) > 0 {
			out = out[:len(out)-1]
		}
	}
	for rest != "" {
		switch {
		case rest == "." || rest == "..":
			rest = ""
		case strings.HasPrefix(rest, "../"):
			rest = rest[3:]
		case strings.HasPrefix(rest, "./"):
			rest = rest[2:]
		case rest == "/." || strings.HasPrefix(rest, "/./"):
			rest = cmp.Or(rest[2:], "/")
		case rest == "/.." || strings.HasPrefix(rest, "/../"):
			rest = cmp.Or(rest[3:], "/")
			pop()
		case merge && strings.HasPrefix(rest, "//"):
			rest = rest[1:]
		default:
			n := strings.IndexByte(rest[1:], '/') + 1
			if n == 0 {
				n = len(rest)
			}
			out = append(out, rest[:n])
			rest = rest[n:]
		}
	}
	return strings.Join(out, "")
}

// mimeFunctions are what modules/kong.tools.mime_type.lua needs.
var mimeFunctions = map[string]glua.LGFunction{"parse_mime_type": func(l *glua.LState) int {
	s := stringArg(l, 1, "parse_mime_type")
	sandbox.Charge(l, 2+len(s)/16, 1024+int64(len(s)))
	main, sub, params, ok := parseMIME(s)
	if !ok {
		l.Push(glua.LNil)
		l.Push(glua.LNil)
		l.Push(glua.LNil)
		return 3
	}
	t := l.CreateTable(0, len(params)/2)
	for i := 0; i < len(params); i += 2 {
		sandbox.Charge(l, 2, 128)
		t.RawSetString(params[i], glua.LString(params[i+1]))
	}
	l.Push(glua.LString(main))
	l.Push(glua.LString(sub))
	l.Push(t)
	return 3
}}

// parseMIME reads a media type: type, subtype, and names and values of parameters.
func parseMIME(s string) (main, sub string, params []string, ok bool) {
	rest := s
	if strings.HasPrefix(s, "*") && !strings.HasPrefix(s, "*/") {
		main, sub, rest = "*", "*", s[1:]
	} else {
		main, rest = token(s)
		if main == "" || !strings.HasPrefix(rest, "/") {
			return "", "", nil, false
		}
		if sub, rest = token(rest[1:]); sub == "" {
			return "", "", nil, false
		}
	}
	for rest != "" {
		rest = strings.TrimLeft(rest, " \t")
		if !strings.HasPrefix(rest, ";") {
			return "", "", nil, false
		}
		var name, value string
		name, rest = token(strings.TrimLeft(rest[1:], " \t"))
		if name == "" || !strings.HasPrefix(rest, "=") {
			return "", "", nil, false
		}
		rest = rest[1:]
		if strings.HasPrefix(rest, `"`) {
			n := 1
			for n < len(rest) && rest[n] != '"' {
				if rest[n] == '\\' {
					n++
				}
				n++
			}
			if n >= len(rest) {
				return "", "", nil, false
			}
			value, rest = rest[1:n], rest[n+1:]
		} else if value, rest = token(rest); value == "" {
			return "", "", nil, false
		}
		params = append(params, strings.ToLower(name), value)
	}
	return strings.ToLower(main), strings.ToLower(sub), params, true
}

// token splits a token (RFC 2045, section 5.1) from the begin of s.
func token(s string) (string, string) {
	n := 0
	for n < len(s) && s[n] > ' ' && s[n] < 0x7f && strings.IndexByte("()<>@,;:\\\"/[]?={}", s[n]) < 0 {
		n++
	}
	return s[:n], s[n:]
}
