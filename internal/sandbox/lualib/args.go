package lualib

import (
	"math"
	"strconv"
	"strings"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

// newFunction makes a function that states can share.
func newFunction(f glua.LGFunction) *glua.LFunction {
	return &glua.LFunction{IsG: true, GFunction: f}
}

// charge charges for a pass over n bytes that makes size bytes.
func charge(l *glua.LState, n, size int) { sandbox.Charge(l, 1+n/128, 32+int64(size)) }

// pushString pushes a string that is already charged for.
func pushString(l *glua.LState, s string) int {
	l.Push(glua.LString(s))
	return 1
}

// pushError pushes nil and a text.
func pushError(l *glua.LState, text string) int {
	l.Push(glua.LNil)
	l.Push(glua.LString(text))
	return 2
}

// typeName is the type of the nth argument.
func typeName(l *glua.LState, n int) string {
	if n > l.GetTop() {
		return "no value"
	}
	return l.Get(n).Type().String()
}

// badArgument raises Lua's error about the nth argument.
func badArgument(l *glua.LState, n int, function, want string) {
	l.RaiseError("bad argument #%d to '%s' (%s expected, got %s)", n, function, want, typeName(l, n))
}

// stringArg is the nth argument, a string or a number.
func stringArg(l *glua.LState, n int, function string) string {
	switch v := l.Get(n).(type) {
	case glua.LString:
		return string(v)
	case glua.LNumber:
		return sandbox.ToString(l, v)
	case *glua.LUserData:
		if v, ok := v.Value.(sandbox.Number); ok {
			return v.String()
		}
	}
	badArgument(l, n, function, "string")
	return ""
}

// numberArg is the nth argument, a number or a string that says one.
func numberArg(l *glua.LState, n int, function string) float64 {
	switch v := l.Get(n).(type) {
	case glua.LNumber:
		return float64(v)
	case glua.LString:
		if f, ok := decimal(string(v)); ok {
			return f
		}
	case *glua.LUserData:
		if v, ok := v.Value.(sandbox.Number); ok {
			return v.Float64()
		}
	}
	badArgument(l, n, function, "number")
	return 0
}

// decimal reads a number in decimal digits.
func decimal(s string) (float64, bool) {
	if len(s) > 64 {
		return 0, false
	}
	s = strings.TrimSpace(s)
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// toInt cuts f to a whole number within ±2⁵³.
func toInt(f float64) int {
	const most = 1 << 53
	if math.IsNaN(f) {
		return 0
	}
	return int(max(-most, min(most, f)))
}

// anyString is the nth argument as most of OpenResty's functions take it: nothing for nil
// and false, and what tostring makes of it otherwise.
func anyString(l *glua.LState, n int) string {
	v := l.Get(n)
	if s, ok := v.(glua.LString); ok {
		return string(s)
	}
	if glua.LVIsFalse(v) {
		return ""
	}
	return sandbox.ToString(l, v)
}

// text is a string that is being made, which charges for its memory before it takes it.
type text struct {
	l *glua.LState
	b strings.Builder
}

func (t *text) add(s string) {
	if have := t.b.Cap() - t.b.Len(); have < len(s) {
		sandbox.Charge(t.l, 1+t.b.Len()/256, int64(2*t.b.Cap()+len(s)))
		t.b.Grow(len(s))
	}
	t.b.WriteString(s)
}

func (t *text) push() int {
	charge(t.l, t.b.Len(), 0)
	return pushString(t.l, t.b.String())
}
