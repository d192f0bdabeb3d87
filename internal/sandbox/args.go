package sandbox

import (
	"math"

	glua "github.com/yuin/gopher-lua"
)

// argError raises Lua's error about the nth argument.
func argError(l *glua.LState, n int, text string) {
	name := "?"
	if d, ok := l.GetStack(0); ok {
		if _, err := l.GetInfo("n", d, nil); err == nil && d.Name != "" && d.Name[0] != '(' {
			name = d.Name
		}
	}
	l.RaiseError("bad argument #%d to '%s' (%s)", n, name, text)
}

func typeError(l *glua.LState, n int, want string) {
	got := "no value"
	if n <= l.GetTop() {
		got = l.Get(n).Type().String()
	}
	argError(l, n, want+" expected, got "+got)
}

// anyArg is the nth argument, which may be nil but not absent.
func anyArg(l *glua.LState, n int) glua.LValue {
	if n > l.GetTop() {
		argError(l, n, "value expected")
	}
	return l.Get(n)
}

func stringArg(l *glua.LState, n int) string {
	s, ok := asString(l, l.Get(n))
	if !ok {
		typeError(l, n, "string")
	}
	if len(s) >= longString {
		budgetOf(l).long(int64(len(s)))
	}
	return s
}

// asString is what v is where a string is wanted.
func asString(l *glua.LState, v glua.LValue) (s string, ok bool) {
	switch v := v.(type) {
	case glua.LString:
		return string(v), true
	case glua.LNumber:
		chargeNumber(l, float64(v))
		return formatNumber(float64(v)), true
	case *glua.LUserData:
		if v, ok := v.Value.(Number); ok {
			return v.String(), true
		}
	}
	return "", false
}

func stringOr(l *glua.LState, n int, def string) string {
	if l.Get(n) == glua.LNil {
		return def
	}
	return stringArg(l, n)
}

// Number is the value of a userdata that functions take where they want a number or a string.
type Number interface {
	Float64() float64
	String() string
}

func numberArg(l *glua.LState, n int) float64 {
	switch v := l.Get(n).(type) {
	case glua.LNumber:
		return float64(v)
	case glua.LString:
		if f, ok := toNumber(l, v); ok {
			return f
		}
	case *glua.LUserData:
		if v, ok := v.Value.(Number); ok {
			return v.Float64()
		}
	}
	typeError(l, n, "number")
	return 0
}

func intArg(l *glua.LState, n int) int { return toInt(numberArg(l, n)) }

func intOr(l *glua.LState, n, def int) int {
	if l.Get(n) == glua.LNil {
		return def
	}
	return intArg(l, n)
}

// toInt cuts f to a whole number, within ±2⁵³.
func toInt(f float64) int {
	const most = 1 << 53
	switch {
	case math.IsNaN(f):
		return 0
	case f > most:
		return most
	case f < -most:
		return -most
	}
	return int(f)
}

func tableArg(l *glua.LState, n int) *glua.LTable {
	t, ok := l.Get(n).(*glua.LTable)
	if !ok {
		typeError(l, n, "table")
	}
	return t
}

func functionArg(l *glua.LState, n int) *glua.LFunction {
	f, ok := l.Get(n).(*glua.LFunction)
	if !ok {
		typeError(l, n, "function")
	}
	return f
}
