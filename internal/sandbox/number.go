package sandbox

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// formatNumber writes f as LuaJIT's tostring does: C's %.14g.
func formatNumber(f float64) string {
	if isShort(f) {
		return strconv.FormatInt(int64(f), 10)
	}
	return formatSpecial(f, func() string {
		return strconv.FormatFloat(tieUp(f, 'e', 13), 'g', 14, 64)
	})
}

// isShort reports whether f is a whole number that is written without an exponent.
func isShort(f float64) bool {
	i := int64(f)
	return float64(i) == f && i > -1e14 && i < 1e14 && (i != 0 || !math.Signbit(f))
}

// tieUp moves f away from 0 by the least there is if it lies exactly between two numbers of
// so many digits after the point, of which Go writes the even one and LuaJIT the larger.
func tieUp(f float64, format byte, precision int) float64 {
	var b [512]byte
	s := strconv.AppendFloat(b[:0], f, format, precision+1, 64)
	if i := bytes.IndexByte(s, 'e'); i >= 0 {
		s = s[:i]
	}
	if s[len(s)-1] != '5' {
		return f
	}
	n := len(s)
	s = strconv.AppendFloat(b[:0], f, format, precision+60, 64)
	if i := bytes.IndexByte(s, 'e'); i >= 0 {
		s = s[:i]
	}
	if n > len(s) || s[n-1] != '5' || len(bytes.Trim(s[n:], "0")) > 0 {
		return f
	}
	return math.Nextafter(f, math.Copysign(math.Inf(1), f))
}

// formatSpecial writes what is no finite number as C does.
func formatSpecial(f float64, finite func() string) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	return finite()
}

const spaces = " \t\n\v\f\r"

// parseNumber reads a number as LuaJIT does where it wants one and gets a string: decimal,
// hexadecimal or binary, with spaces around it.
func parseNumber(s string) (float64, bool) {
	s = strings.Trim(s, spaces)
	rest, negative := s, false
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		negative, rest = rest[0] == '-', rest[1:]
	}
	if len(rest) > 2 && rest[0] == '0' && rest[1]|0x20 == 'x' {
		f, ok := parseHex(rest[2:])
		if negative {
			f = -f
		}
		return f, ok
	}
	if len(rest) > 2 && rest[0] == '0' && rest[1]|0x20 == 'b' {
		f := 0.0
		for i := 2; i < len(rest); i++ {
			if digit(rest[i]) > 1 {
				return 0, false
			}
			f = f*2 + float64(digit(rest[i]))
		}
		if negative {
			f = -f
		}
		return f, true
	}
	if !isDecimal(rest) {
		switch strings.ToLower(rest) {
		case "inf", "infinity", "nan":
		default:
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// isDecimal reports whether s is digits with a point and an exponent, as C reads them; Go's
// own parser takes more.
func isDecimal(s string) bool {
	i, digits := 0, 0
	for point := false; i < len(s); i++ {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digits++
			continue
		case c == '.' && !point:
			point = true
			continue
		}
		break
	}
	if digits == 0 {
		return false
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		first := i
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		if i == first {
			return false
		}
	}
	return i == len(s)
}

// parseHex reads the digits after 0x, with a fraction and a binary exponent.
func parseHex(s string) (float64, bool) {
	f, digits, exp, i := 0.0, 0, 0, 0
	for point := false; i < len(s); i++ {
		c := s[i]
		if c == '.' && !point {
			point = true
			continue
		}
		d := digit(c)
		if d >= 16 {
			break
		}
		digits++
		f = f*16 + float64(d)
		if point {
			exp -= 4
		}
	}
	if digits == 0 {
		return 0, false
	}
	if i < len(s) && s[i]|0x20 == 'p' {
		e, err := strconv.Atoi(s[i+1:])
		if err != nil || strings.Contains(s[i+1:], "_") {
			return 0, false
		}
		exp, i = exp+max(min(e, 1<<20), -1<<20), len(s)
	}
	return math.Ldexp(f, exp), i == len(s)
}

// digit is the value of a digit in bases up to 36, or 99.
func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'z':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'Z':
		return int(c-'A') + 10
	}
	return 99
}
