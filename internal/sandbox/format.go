package sandbox

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// stringFormat is string.format.
func stringFormat(l *glua.LState) int {
	format := stringArg(l, 1)
	var out []byte
	charged := 0
	arg := 1
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			out = append(out, format[i])
			continue
		}
		if i++; i < len(format) && format[i] == '%' {
			out = append(out, '%')
			continue
		}
		var d directive
		i = d.parse(l, format, i)
		arg++
		out = d.append(l, out, arg)
		chargeText(l, len(out)-charged, int64(2*(len(out)-charged)))
		charged = len(out)
	}
	chargeText(l, len(out)-charged, int64(2*(len(out)-charged)))
	l.Push(glua.LString(out))
	return 1
}

// directive is one %… of a format.
type directive struct {
	flags     string
	width     int
	precision int // -1: none
	verb      byte
}

// parse reads a directive from format[i:], and returns the offset of its verb. Widths and
// precisions have at most two digits, as in Lua.
func (d *directive) parse(l *glua.LState, format string, i int) int {
	first := i
	for i < len(format) && strings.IndexByte("-+ #0", format[i]) >= 0 {
		i++
	}
	if d.flags = format[first:i]; len(d.flags) > 5 {
		l.RaiseError("invalid format (repeated flags)")
	}
	number := func() (n int) {
		from := i
		for i < len(format) && isDigit(format[i]) {
			i++
		}
		if i-from > 2 {
			l.RaiseError("invalid format (width or precision too long)")
		}
		n, _ = strconv.Atoi(format[from:i])
		return n
	}
	d.width, d.precision = number(), -1
	if i < len(format) && format[i] == '.' {
		i++
		d.precision = number()
	}
	if i == len(format) {
		l.RaiseError("invalid option '%%' to 'format'")
	}
	d.verb = format[i]
	return i
}

func (d *directive) append(l *glua.LState, out []byte, arg int) []byte {
	switch d.verb {
	case 'c':
		return d.pad(out, string([]byte{byte(intArg(l, arg))}))
	case 'd', 'i':
		return d.integer(out, 'd', toInt64(numberArg(l, arg)))
	case 'u':
		return d.integer(out, 'd', uint64(toInt64(numberArg(l, arg))))
	case 'o', 'x', 'X':
		return d.integer(out, d.verb, uint64(toInt64(numberArg(l, arg))))
	case 'e', 'E', 'f', 'F', 'g', 'G', 'a', 'A':
		return d.float(out, numberArg(l, arg))
	case 'q':
		return appendQuoted(out, stringArg(l, arg))
	case 's':
		s := string(toString(l, anyArg(l, arg)))
		if d.precision >= 0 && d.precision < len(s) {
			s = s[:d.precision]
		}
		return d.pad(out, s)
	}
	l.RaiseError("invalid option '%%%c' to 'format'", d.verb)
	return nil
}

func toInt64(f float64) int64 {
	switch {
	case math.IsNaN(f):
		return math.MinInt64
	case f >= 1<<63:
		if f < 1<<64 {
			return int64(uint64(f))
		}
		return math.MinInt64
	case f < -1<<63:
		return math.MinInt64
	}
	return int64(f)
}

func (d *directive) has(flag byte) bool { return strings.IndexByte(d.flags, flag) >= 0 }

// pad appends s, filled with spaces to the width.
func (d *directive) pad(out []byte, s string) []byte {
	if n := d.width - len(s); n > 0 {
		if d.has('-') {
			return append(append(out, s...), strings.Repeat(" ", n)...)
		}
		out = append(out, strings.Repeat(" ", n)...)
	}
	return append(out, s...)
}

// verbs makes a format of Go's, which for numbers means the same as C's.
func (d *directive) verbs(verb byte) string {
	f := "%" + d.flags
	if d.width > 0 {
		f += strconv.Itoa(d.width)
	}
	if d.precision >= 0 {
		f += "." + strconv.Itoa(d.precision)
	}
	return f + string(verb)
}

func (d *directive) integer(out []byte, verb byte, v any) []byte {
	if d.flags == "" && d.width == 0 && d.precision < 0 && verb == 'd' {
		if n, ok := v.(int64); ok {
			return strconv.AppendInt(out, n, 10)
		}
	}
	return fmt.Appendf(out, d.verbs(verb), v)
}

func (d *directive) float(out []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		s := formatSpecial(f, nil)
		if d.has('+') && s[0] != '-' {
			s = "+" + s
		} else if d.has(' ') && s[0] != '-' {
			s = " " + s
		}
		if d.verb < 'a' {
			s = strings.ToUpper(s)
		}
		return d.pad(out, s)
	}
	verb := d.verb
	switch verb {
	case 'a', 'A':
		verb += 'x' - 'a'
	case 'g', 'G':
		if d.precision < 0 {
			d.precision = 6
		} else if d.precision == 0 {
			d.precision = 1
		}
	}
	text := fmt.Sprintf(d.verbs(verb), f)
	if d.verb|0x20 == 'a' { // C writes the exponent with as few digits as it has
		if i := strings.LastIndexAny(text, "pP"); i >= 0 && len(text) > i+3 && text[i+2] == '0' {
			text = text[:i+2] + text[i+3:]
		}
	}
	return append(out, text...)
}

// appendQuoted writes s as LuaJIT's %q does.
func appendQuoted(out []byte, s string) []byte {
	out = append(out, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\' || c == '\n':
			out = append(out, '\\', c)
		case c < 32 || c == 127:
			if i+1 < len(s) && isDigit(s[i+1]) {
				out = fmt.Appendf(out, "\\%03d", c)
			} else {
				out = fmt.Appendf(out, "\\%d", c)
			}
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}
