package sandbox

import (
	"math"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// Sizes in bytes of what gopher-lua makes, measured and rounded up.
const (
	tableBytes  = 512 // a table with some fields
	entryBytes  = 128 // one more field of a table
	valueBytes  = 16  // one more element of an array
	threadBytes = 28 << 10
)

// hiddenFunctions are those that rewritten code calls; see rewrite.
var hiddenFunctions = map[string]glua.LGFunction{
	hiddenConcat: concat,
	hiddenKey: func(l *glua.LState) int {
		chargeKey(l, l.Get(1), 1)
		return 1
	},
	hiddenSet:     setField,
	hiddenLen:     length,
	hiddenTable:   table,
	hiddenClosure: closure,
	hiddenArgs: func(l *glua.LState) int {
		n := l.GetTop()
		Charge(l, 1+n/8, 0)
		return n
	},
	"(%)":  mod,
	"(==)": compare(equal),
	"(<)":  compare(less),
	"(<=)": compare(lessOrEqual),
	"(>)":  compare(func(l *glua.LState, a, b glua.LValue) bool { return less(l, b, a) }),
	"(>=)": compare(func(l *glua.LState, a, b glua.LValue) bool { return lessOrEqual(l, b, a) }),
}

func concat(l *glua.LState) int {
	n, size := l.GetTop(), 0
	for i := 1; i <= n; i++ {
		switch v := l.Get(i).(type) {
		case glua.LString:
			size += len(v)
		case glua.LNumber:
			size += 24 // and stringArg charges for it
		default:
			return concatMeta(l, n)
		}
	}
	chargeText(l, size, int64(size))
	if n == 2 {
		if a, ok := l.Get(1).(glua.LString); ok {
			if b, ok := l.Get(2).(glua.LString); ok {
				l.Push(a + b)
				return 1
			}
		}
	}
	var b strings.Builder
	b.Grow(size)
	for i := 1; i <= n; i++ {
		b.WriteString(stringArg(l, i))
	}
	l.Push(glua.LString(b.String()))
	return 1
}

// concatMeta concatenates from the right, with __concat where it must.
func concatMeta(l *glua.LState, n int) int {
	acc := l.Get(n)
	for i := n - 1; i > 0; i-- {
		v := l.Get(i)
		if glua.LVCanConvToString(v) && glua.LVCanConvToString(acc) {
			a, b := toString(l, v), toString(l, acc)
			chargeText(l, len(a)+len(b), int64(len(a)+len(b)))
			acc = a + b
			continue
		}
		f := l.GetMetaField(v, "__concat")
		if f == glua.LNil {
			f = l.GetMetaField(acc, "__concat")
		}
		if f == glua.LNil {
			if glua.LVCanConvToString(v) {
				v = acc
			}
			l.RaiseError("attempt to concatenate a %s value", v.Type())
		}
		acc = call2(l, f, v, acc)
	}
	l.Push(acc)
	return 1
}

func setField(l *glua.LState) int {
	o, k, v := l.Get(1), l.Get(2), l.Get(3)
	t, ok := o.(*glua.LTable)
	if ok && t.Metatable == glua.LNil {
		put(l, t, k, v)
		return 0
	}
	if !ok {
		if l.GetMetaField(o, "__newindex") == glua.LNil {
			l.RaiseError("attempt to index a %s value%s", o.Type(), keyName(k))
		}
		l.SetTable(o, k, v)
		return 0
	}
	writable(l, t)
	chargeKey(l, k, 4)
	if l.GetMetaField(t, "__newindex") == glua.LNil || t.RawGet(k) != glua.LNil {
		put(l, t, k, v)
		return 0
	}
	// What it ends in may be any table.
	for range glua.MaxTableGetLoop {
		chargeKey(l, k, 1)
		switch m := l.GetMetaField(o, "__newindex").(type) {
		case *glua.LFunction:
			l.Push(m)
			l.Push(o)
			l.Push(k)
			l.Push(v)
			l.Call(3, 0)
			return 0
		case *glua.LTable:
			writable(l, m)
			if m.RawGet(k) != glua.LNil || l.GetMetaField(m, "__newindex") == glua.LNil {
				put(l, m, k, v)
				return 0
			}
			o = m
		default:
			l.SetTable(o, k, v)
			return 0
		}
	}
	l.RaiseError("loop in settable")
	return 0
}

func keyName(k glua.LValue) string {
	if s, ok := k.(glua.LString); ok && len(s) <= 64 {
		return " with key '" + string(s) + "'"
	}
	return ""
}

// chargeKey charges for n uses of a key, which hash all of a string.
func chargeKey(l *glua.LState, k glua.LValue, n int) {
	if s, ok := k.(glua.LString); ok && len(s) > maxName {
		Charge(l, n*len(s)/256, 0)
	}
}

// put sets t[k] without metamethods, and charges for what the table grows by.
func put(l *glua.LState, t *glua.LTable, k, v glua.LValue) {
	switch n := k.(type) {
	case *glua.LNilType:
		l.RaiseError("table index is nil")
	case glua.LNumber:
		f := float64(n)
		if math.IsNaN(f) {
			l.RaiseError("table index is NaN")
		}
		if f >= 1 && f < float64(glua.MaxArrayIndex) && f == math.Trunc(f) {
			putIndex(l, t, int(f), v)
			return
		}
	}
	chargeKey(l, k, 4)
	old := t.RawGet(k)
	switch {
	case v == glua.LNil:
		if old == glua.LNil {
			return
		}
		stateOf(l).dead++
	case old == glua.LNil:
		Charge(l, 6, entryBytes)
	}
	t.RawSet(k, v)
}

// putIndex sets t[i] for an index of the array. gopher-lua fills the array up to it.
func putIndex(l *glua.LState, t *glua.LTable, i int, v glua.LValue) {
	old := t.RawGetInt(i)
	if v == glua.LNil {
		if old != glua.LNil {
			stateOf(l).dead++
			t.RawSetInt(i, v)
		}
		return
	}
	if old == glua.LNil && (i == 1 || t.RawGetInt(i-1) != glua.LNil) {
		Charge(l, 1, 2*valueBytes)
	} else if old == glua.LNil {
		s := stateOf(l)
		Charge(l, 1+s.dead/32, 2*valueBytes)
		if hole := i - t.Len() - 1; hole > 0 {
			Charge(l, hole/16, int64(hole)*6*valueBytes) // append makes several on the way
			s.dead += hole
		}
	}
	t.RawSetInt(i, v)
}

func length(l *glua.LState) int {
	switch v := l.Get(1).(type) {
	case glua.LString:
		l.Push(glua.LNumber(len(v)))
		return 1
	case *glua.LTable:
		if v.Metatable == glua.LNil || l.GetMetaField(v, "__len") == glua.LNil {
			Charge(l, 1+stateOf(l).dead/32, 0)
			l.Push(glua.LNumber(v.Len()))
			return 1
		}
	}
	v := l.Get(1)
	f := l.GetMetaField(v, "__len")
	if f == glua.LNil {
		l.RaiseError("attempt to get length of a %s value", v.Type())
	}
	l.Push(f)
	l.Push(v)
	l.Call(1, 1)
	return 1
}

func table(l *glua.LState) int {
	if l.GetTop() == 0 {
		Charge(l, 4, tableBytes)
		l.Push(&glua.LTable{Metatable: glua.LNil})
		return 1
	}
	t := l.Get(1).(*glua.LTable)
	keys, _ := l.Get(2).(glua.LNumber)
	n := t.Len()
	Charge(l, 4+n/8+2*int(keys), tableBytes+int64(keys)*entryBytes+int64(n)*2*valueBytes)
	l.SetTop(1)
	return 1
}

func closure(l *glua.LState) int {
	f := l.Get(1).(*glua.LFunction)
	// The machine has gone through all variables of the stack that functions share, once for
	// each upvalue.
	Charge(l, 1+30*len(f.Upvalues), 128+64*int64(len(f.Upvalues)))
	return 1
}
