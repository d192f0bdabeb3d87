package sandbox

import (
	"math"

	glua "github.com/yuin/gopher-lua"
)

func compare(f func(l *glua.LState, a, b glua.LValue) bool) glua.LGFunction {
	return func(l *glua.LState) int {
		l.Push(glua.LBool(f(l, l.Get(1), l.Get(2))))
		return 1
	}
}

// chargeCompare charges for the comparison of two strings.
func chargeCompare(l *glua.LState, a, b glua.LString) {
	if n := min(len(a), len(b)); n > 1024 {
		Charge(l, n/1024, 0)
	}
}

func equal(l *glua.LState, a, b glua.LValue) bool {
	if x, ok := a.(glua.LString); ok {
		y, ok := b.(glua.LString)
		if ok && len(x) == len(y) {
			chargeCompare(l, x, y)
		}
		return ok && x == y
	}
	return l.Equal(a, b)
}

func less(l *glua.LState, a, b glua.LValue) bool {
	switch x := a.(type) {
	case glua.LNumber:
		if y, ok := b.(glua.LNumber); ok {
			return x < y
		}
	case glua.LString:
		if y, ok := b.(glua.LString); ok {
			chargeCompare(l, x, y)
			return x < y
		}
	}
	return ordered(l, "__lt", a, b)
}

func lessOrEqual(l *glua.LState, a, b glua.LValue) bool {
	switch x := a.(type) {
	case glua.LNumber:
		if y, ok := b.(glua.LNumber); ok {
			return x <= y
		}
	case glua.LString:
		if y, ok := b.(glua.LString); ok {
			chargeCompare(l, x, y)
			return x <= y
		}
	}
	if l.GetMetaField(a, "__le") == glua.LNil && l.GetMetaField(b, "__le") == glua.LNil {
		return !ordered(l, "__lt", b, a)
	}
	return ordered(l, "__le", a, b)
}

// ordered compares with a metamethod, of either operand.
func ordered(l *glua.LState, event string, a, b glua.LValue) bool {
	f := l.GetMetaField(a, event)
	if f == glua.LNil {
		f = l.GetMetaField(b, event)
	}
	if f == glua.LNil {
		if a.Type() == b.Type() {
			l.RaiseError("attempt to compare two %s values", a.Type())
		}
		l.RaiseError("attempt to compare %s with %s", a.Type(), b.Type())
	}
	return glua.LVAsBool(call2(l, f, a, b))
}

// call2 calls f(a, b) for its first result.
func call2(l *glua.LState, f, a, b glua.LValue) glua.LValue {
	l.Push(f)
	l.Push(a)
	l.Push(b)
	l.Call(2, 1)
	v := l.Get(-1)
	l.Pop(1)
	return v
}

// stringArithmetic are the metamethods by which strings are numbers where one is wanted.
// gopher-lua's own conversion takes other texts for numbers than Lua does.
var stringArithmetic = map[string]func(a, b float64) float64{
	"__add": func(a, b float64) float64 { return a + b },
	"__sub": func(a, b float64) float64 { return a - b },
	"__mul": func(a, b float64) float64 { return a * b },
	"__div": func(a, b float64) float64 { return a / b },
	"__mod": modulo,
	"__pow": math.Pow,
	"__unm": func(a, _ float64) float64 { return -a },
}

// modulo is a % b as the manual defines it, with its rounding.
func modulo(a, b float64) float64 { return a - math.Floor(a/b)*b }

// mod is %, which rewritten code calls.
func mod(l *glua.LState) int {
	a, b := l.Get(1), l.Get(2)
	if x, ok := a.(glua.LNumber); ok {
		if y, ok := b.(glua.LNumber); ok {
			l.Push(glua.LNumber(modulo(float64(x), float64(y))))
			return 1
		}
	}
	for _, v := range []glua.LValue{a, b} {
		if m := l.GetMetaField(v, "__mod"); m != glua.LNil {
			l.Push(call2(l, m, a, b))
			return 1
		}
	}
	if a.Type() == glua.LTNumber {
		a = b
	}
	l.RaiseError("attempt to perform arithmetic on a %s value", a.Type())
	return 0
}

func arithmetic(event string, f func(a, b float64) float64) glua.LGFunction {
	return func(l *glua.LState) int {
		a, b := l.Get(1), l.Get(2)
		if event == "__unm" {
			b = a
		}
		x, ok := toNumber(l, a)
		y, ok2 := toNumber(l, b)
		if ok && ok2 {
			l.Push(glua.LNumber(f(x, y)))
			return 1
		}
		// The other operand may have a metamethod of its own.
		for _, v := range []glua.LValue{a, b} {
			if v.Type() == glua.LTString {
				continue
			}
			if m := l.GetMetaField(v, event); m != glua.LNil {
				l.Push(call2(l, m, a, b))
				return 1
			}
		}
		if ok {
			a = b
		}
		l.RaiseError("attempt to perform arithmetic on a %s value", a.Type())
		return 0
	}
}

func toNumber(l *glua.LState, v glua.LValue) (float64, bool) {
	switch v := v.(type) {
	case glua.LNumber:
		return float64(v), true
	case glua.LString:
		Charge(l, 1+len(v)/8, 0)
		return parseNumber(string(v))
	}
	return 0, false
}
