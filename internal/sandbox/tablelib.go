package sandbox

import (
	"sort"

	glua "github.com/yuin/gopher-lua"
)

// tableFunctions are those of Lua 5.1, and OpenResty's.
var tableFunctions = map[string]glua.LGFunction{
	"clear": tableClear, "clone": tableClone, "concat": tableConcat, "foreach": tableForeach,
	"foreachi": tableForeachi, "getn": tableGetn, "insert": tableInsert,
	"isarray": tableIsarray, "isempty": tableIsempty, "maxn": tableMaxn, "move": tableMove,
	"new": tableNew, "nkeys": tableNkeys, "pack": tablePack, "remove": tableRemove,
	"sort": tableSort, "unpack": tableUnpack,
}

// size is #t of a table without its metamethods.
func size(l *glua.LState, t *glua.LTable) int {
	Charge(l, 1+stateOf(l).dead/32, 0)
	return t.Len()
}

func tableGetn(l *glua.LState) int {
	l.Push(glua.LNumber(size(l, tableArg(l, 1))))
	return 1
}

func tableMaxn(l *glua.LState) int {
	most := glua.LNumber(0)
	each(l, tableArg(l, 1), func(k, _ glua.LValue) bool {
		if n, ok := k.(glua.LNumber); ok && n > most {
			most = n
		}
		return true
	})
	l.Push(most)
	return 1
}

// each goes through a table until f returns false.
func each(l *glua.LState, t *glua.LTable, f func(k, v glua.LValue) bool) {
	work := 1 + stateOf(l).dead/32
	for k, v := t.Next(glua.LNil); k != glua.LNil; k, v = t.Next(k) {
		Charge(l, work, 0)
		chargeKey(l, k, 2)
		if !f(k, v) {
			return
		}
	}
}

func tableClear(l *glua.LState) int {
	t := writable(l, tableArg(l, 1))
	*t = glua.LTable{Metatable: t.Metatable}
	return 0
}

func tableClone(l *glua.LState) int {
	t := tableArg(l, 1)
	Charge(l, 4, tableBytes)
	c := &glua.LTable{Metatable: glua.LNil}
	each(l, t, func(k, v glua.LValue) bool {
		put(l, c, k, v)
		return true
	})
	if mt, ok := t.Metatable.(*glua.LTable); ok && mt.RawGetString(readOnly) == glua.LNil {
		c.Metatable = mt
	}
	l.Push(c)
	return 1
}

func tableNkeys(l *glua.LState) int {
	n := 0
	each(l, tableArg(l, 1), func(glua.LValue, glua.LValue) bool { n++; return true })
	l.Push(glua.LNumber(n))
	return 1
}

func tableIsempty(l *glua.LState) int {
	empty := true
	each(l, tableArg(l, 1), func(glua.LValue, glua.LValue) bool { empty = false; return false })
	l.Push(glua.LBool(empty))
	return 1
}

// tableIsarray is isarray: whether all keys are positive whole numbers. Holes do not matter.
func tableIsarray(l *glua.LState) int {
	array := true
	each(l, tableArg(l, 1), func(k, _ glua.LValue) bool {
		n, ok := k.(glua.LNumber)
		array = ok && n >= 1 && n == glua.LNumber(toInt(float64(n)))
		return array
	})
	l.Push(glua.LBool(array))
	return 1
}

func tableNew(l *glua.LState) int {
	a, h := max(intArg(l, 1), 0), max(intArg(l, 2), 0)
	Charge(l, 4+a/16+h/4, tableBytes+int64(a)*valueBytes+int64(h)*entryBytes)
	l.Push(l.CreateTable(a, h))
	return 1
}

func tablePack(l *glua.LState) int {
	n := l.GetTop()
	Charge(l, 8+n/4, tableBytes+entryBytes+int64(n)*2*valueBytes)
	t := l.CreateTable(n, 1)
	for i := 1; i <= n; i++ {
		t.RawSetInt(i, l.Get(i))
	}
	t.RawSetString("n", glua.LNumber(n))
	l.Push(t)
	return 1
}

func tableUnpack(l *glua.LState) int {
	t, i := tableArg(l, 1), intOr(l, 2, 1)
	j := 0
	if l.Get(3) == glua.LNil {
		j = size(l, t)
	} else {
		j = intArg(l, 3)
	}
	if i > j {
		return 0
	}
	if j-i >= stackValues-64 {
		l.RaiseError("too many results to unpack")
	}
	Charge(l, 1+(j-i)/2, 0)
	for k := i; k <= j; k++ {
		l.Push(t.RawGet(glua.LNumber(k)))
	}
	return j - i + 1
}

func tableInsert(l *glua.LState) int {
	t := writable(l, tableArg(l, 1))
	n := size(l, t)
	switch l.GetTop() {
	case 2:
		put(l, t, glua.LNumber(n+1), l.Get(2))
		return 0
	case 3:
	default:
		l.RaiseError("wrong number of arguments to 'insert'")
	}
	i, v := intArg(l, 2), l.Get(3)
	switch {
	case i > n || v == glua.LNil:
	case i >= 1:
		Charge(l, 1+(n-i)/64, 4*valueBytes)
		t.Insert(i, v)
		return 0
	}
	for k := n; k >= i; k-- {
		Charge(l, 1, 0)
		put(l, t, glua.LNumber(k+1), t.RawGet(glua.LNumber(k)))
	}
	put(l, t, glua.LNumber(i), v)
	return 0
}

func tableRemove(l *glua.LState) int {
	t := writable(l, tableArg(l, 1))
	n := size(l, t)
	i := intOr(l, 2, n)
	if i < 1 || i > n {
		l.Push(glua.LNil)
		return 1
	}
	Charge(l, 1+(n-i)/64, 0)
	l.Push(t.Remove(i))
	return 1
}

func tableConcat(l *glua.LState) int {
	t, sep, i := tableArg(l, 1), stringOr(l, 2, ""), intOr(l, 3, 1)
	var j int
	if l.Get(4) == glua.LNil {
		j = size(l, t)
	} else {
		j = intArg(l, 4)
	}
	out := text{l: l}
	for k := i; k <= j; k++ {
		v := t.RawGet(glua.LNumber(k))
		s, ok := asString(l, v)
		if !ok {
			l.RaiseError("invalid value (%s) at index %d in table for 'concat'", v.Type(), k)
		}
		out.string(s)
		if k < j {
			out.string(sep)
		}
		if k&3 == 0 {
			Charge(l, 1, 0)
		}
	}
	return out.push()
}

func tableMove(l *glua.LState) int {
	from, f, e, at := tableArg(l, 1), intArg(l, 2), intArg(l, 3), intArg(l, 4)
	to := from
	if l.Get(5) != glua.LNil {
		to = tableArg(l, 5)
	}
	writable(l, to)
	step := func(i int) {
		Charge(l, 1, 0)
		put(l, to, glua.LNumber(at+i), from.RawGet(glua.LNumber(f+i)))
	}
	if at > f && at <= e && to == from {
		for i := e - f; i >= 0; i-- {
			step(i)
		}
	} else {
		for i := 0; i <= e-f; i++ {
			step(i)
		}
	}
	l.Push(to)
	return 1
}

func tableForeach(l *glua.LState) int {
	t, f := tableArg(l, 1), functionArg(l, 2)
	n := 0
	each(l, t, func(k, v glua.LValue) bool { n = visit(l, f, k, v); return n == 0 })
	return n
}

func tableForeachi(l *glua.LState) int {
	t, f := tableArg(l, 1), functionArg(l, 2)
	for i, n := 1, size(l, t); i <= n; i++ {
		Charge(l, 1, 0)
		if visit(l, f, glua.LNumber(i), t.RawGetInt(i)) > 0 {
			return 1
		}
	}
	return 0
}

// visit calls f(k, v), and leaves its result on the stack if it is not nil.
func visit(l *glua.LState, f *glua.LFunction, k, v glua.LValue) int {
	l.Push(f)
	l.Push(k)
	l.Push(v)
	l.Call(2, 1)
	if l.Get(-1) != glua.LNil {
		return 1
	}
	l.Pop(1)
	return 0
}

func tableSort(l *glua.LState) int {
	t := writable(l, tableArg(l, 1))
	s := sorter{l: l}
	if l.Get(2) != glua.LNil {
		s.less = functionArg(l, 2)
	}
	n := size(l, t)
	Charge(l, 1+n/4, int64(n)*valueBytes)
	s.values = make([]glua.LValue, n)
	for i := range s.values {
		s.values[i] = t.RawGetInt(i + 1)
	}
	sort.Sort(&s)
	for i, v := range s.values {
		putIndex(l, t, i+1, v)
	}
	return 0
}

// sorter sorts a copy of a table's array, so that a function that orders badly, fails or
// changes the table breaks nothing.
type sorter struct {
	l      *glua.LState
	less   *glua.LFunction
	values []glua.LValue
}

func (s *sorter) Len() int      { return len(s.values) }
func (s *sorter) Swap(i, j int) { s.values[i], s.values[j] = s.values[j], s.values[i] }

func (s *sorter) Less(i, j int) bool {
	l, a, b := s.l, s.values[i], s.values[j]
	if s.less == nil {
		Charge(l, 1, 0)
		return less(l, a, b)
	}
	return glua.LVAsBool(call2(l, s.less, a, b))
}
