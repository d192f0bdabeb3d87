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
	out := text{l: l}
	arg := 1
	for i := 0; i < len(format); i++ {
		if n := literal(format[i:]); n > 0 {
			out.string(format[i : i+n])
			i += n - 1
			continue
		}
		Charge(l, 1, 0)
		if i++; i < len(format) && format[i] == '%' {
			out.byte('%')
			continue
		}
		var d directive
		i = d.parse(l, format, i)
		arg++
		Charge(l, 2, 0)
		d.append(l, &out, arg)
	}
	return out.push()
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
		l.RaiseError("%s", "invalid option '%' to 'format'")
	}
	d.verb = format[i]
	return i
}

func (d *directive) append(l *glua.LState, out *text, arg int) {
	switch d.verb {
	case 'c':
		d.pad(out, string([]byte{byte(intArg(l, arg))}))
	case 'd', 'i':
		d.integer(out, 'd', toInt64(numberArg(l, arg)))
	case 'u':
		d.integer(out, 'd', uint64(toInt64(numberArg(l, arg))))
	case 'o', 'x', 'X':
		d.integer(out, d.verb, uint64(toInt64(numberArg(l, arg))))
	case 'e', 'E', 'f', 'F', 'g', 'G', 'a', 'A':
		f := numberArg(l, arg)
		Charge(l, 3, 0)
		if digits := d.digits(f); digits > 15 {
			Charge(l, 150, 0) // it cannot be done with numbers of 64 bits
		}
		d.float(out, f)
	case 'q':
		quote(out, stringArg(l, arg))
	case 's':
		s := string(toString(l, anyArg(l, arg)))
		if d.precision >= 0 && d.precision < len(s) {
			s = s[:d.precision]
		}
		d.pad(out, s)
	default:
		l.RaiseError("invalid option '%%%c' to 'format'", d.verb)
	}
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
func (d *directive) pad(out *text, s string) {
	fill := strings.Repeat(" ", max(d.width-len(s), 0))
	if d.has('-') {
		out.string(s)
		out.string(fill)
	} else {
		out.string(fill)
		out.string(s)
	}
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

func (d *directive) integer(out *text, verb byte, v any) {
	var b [128]byte
	if d.flags == "" && d.width == 0 && d.precision < 0 && verb == 'd' {
		if n, ok := v.(int64); ok {
			out.bytes(strconv.AppendInt(b[:0], n, 10))
			return
		}
	}
	out.bytes(fmt.Appendf(b[:0], d.verbs(verb), v))
}

// digits is how many digits of f are written.
func (d *directive) digits(f float64) int {
	n := max(d.precision, 6)
	if d.verb|0x20 == 'f' && math.Abs(f) > 1 {
		n += math.Ilogb(f) * 3 / 10
	}
	return n
}

func (d *directive) float(out *text, f float64) {
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
		d.pad(out, s)
		return
	}
	verb := d.verb
	switch verb {
	case 'a', 'A':
		verb += 'x' - 'a'
	case 'e', 'E', 'f', 'F', 'g', 'G':
		if d.precision < 0 {
			d.precision = 6
		} else if verb|0x20 == 'g' && d.precision == 0 {
			d.precision = 1
		}
	}
	switch verb | 0x20 {
	case 'e', 'f':
		f = tieUp(f, verb|0x20, d.precision)
	case 'g':
		f = tieUp(f, 'e', d.precision-1)
	}
	s := fmt.Sprintf(d.verbs(verb), f)
	if d.verb|0x20 == 'a' { // C writes the exponent with as few digits as it has
		if i := strings.LastIndexAny(s, "pP"); i >= 0 && len(s) > i+3 && s[i+2] == '0' {
			s = s[:i+2] + s[i+3:]
		}
	}
	out.string(s)
}

// quote writes s as LuaJIT's %q does.
func quote(out *text, s string) {
	Charge(out.l, 1+len(s)/8, 0)
	out.byte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\' || c == '\n':
			out.byte('\\')
			out.byte(c)
		case c < 32 || c == 127:
			out.byte('\\')
			code := strconv.Itoa(int(c))
			if i+1 < len(s) && isDigit(s[i+1]) {
				code = ("00" + code)[len(code)-1:]
			}
			out.string(code)
		default:
			out.byte(c)
		}
	}
	out.byte('"')
}
