package sandbox

import (
	"math"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

var baseFunctions map[string]glua.LGFunction

func init() {
	// Set here because some of them refer to functions that states share.
	baseFunctions = map[string]glua.LGFunction{
		"assert": baseAssert, "error": baseError, "getmetatable": baseGetmetatable,
		"ipairs": baseIpairs, "next": baseNext, "pairs": basePairs, "pcall": basePcall,
		"print": basePrint, "rawequal": baseRawequal, "rawget": baseRawget, "rawset": baseRawset,
		"require": baseRequire, "select": baseSelect, "setmetatable": baseSetmetatable,
		"tonumber": baseTonumber, "tostring": baseTostring, "type": baseType,
		"unpack": tableUnpack, "xpcall": baseXpcall,
	}
}

func baseAssert(l *glua.LState) int {
	if glua.LVAsBool(anyArg(l, 1)) {
		return l.GetTop()
	}
	if l.GetTop() < 2 {
		l.RaiseError("assertion failed!")
	}
	if s, ok := l.Get(2).(glua.LString); ok {
		raise(l, 1, string(s))
	}
	l.Error(l.Get(2), 0)
	return 0
}

// baseError is error. A level below 1 adds no position, as 0 does: so does LuaJIT.
func baseError(l *glua.LState) int {
	v, level := l.Get(1), intOr(l, 2, 1)
	if level > 0 && glua.LVCanConvToString(v) {
		raise(l, level, stringArg(l, 1))
	}
	l.Error(v, 0)
	return 0
}

// raise raises an error with the position of the function at a level.
func raise(l *glua.LState, level int, text string) {
	if where := position(l, level); where != "" {
		chargeText(l, len(text), int64(len(text)))
		text = where + " " + text
	}
	l.Error(glua.LString(text), 0)
}

// position is where the function at a level runs, such as "chunk:3:", or "" for one in Go.
func position(l *glua.LState, level int) string {
	if level > stackFrames {
		return ""
	}
	where := l.Where(level)
	if where == "" || strings.HasPrefix(where, "[G]") || strings.HasPrefix(where, helperName) {
		return ""
	}
	return where
}

func baseGetmetatable(l *glua.LState) int {
	l.Push(l.GetMetatable(anyArg(l, 1)))
	return 1
}

func baseSetmetatable(l *glua.LState) int {
	t := tableArg(l, 1)
	mt := l.Get(2)
	if mt.Type() != glua.LTTable && (mt != glua.LNil || l.GetTop() < 2) {
		typeError(l, 2, "nil or table")
	}
	writable(l, t)
	if old, ok := t.Metatable.(*glua.LTable); ok && old.RawGetString("__metatable") != glua.LNil {
		l.RaiseError("cannot change a protected metatable")
	}
	t.Metatable = mt
	l.SetTop(1)
	return 1
}

func baseRawequal(l *glua.LState) int {
	l.Push(glua.LBool(l.RawEqual(anyArg(l, 1), anyArg(l, 2))))
	return 1
}

func baseRawget(l *glua.LState) int {
	t, k := tableArg(l, 1), anyArg(l, 2)
	chargeKey(l, k, 1)
	l.Push(t.RawGet(k))
	return 1
}

func baseRawset(l *glua.LState) int {
	t := tableArg(l, 1)
	put(l, writable(l, t), anyArg(l, 2), anyArg(l, 3))
	l.SetTop(1)
	return 1
}

var nextFunction, ipairsFunction = newFunction(baseNext), newFunction(func(l *glua.LState) int {
	t, i := tableArg(l, 1), intArg(l, 2)+1
	v := t.RawGetInt(i)
	if v == glua.LNil {
		v = t.RawGet(glua.LNumber(i)) // beyond glua.MaxArrayIndex
	}
	if v == glua.LNil {
		return 0
	}
	l.Push(glua.LNumber(i))
	l.Push(v)
	return 2
})

func baseIpairs(l *glua.LState) int {
	if n, ok := iterator(l, "__ipairs"); ok {
		return n
	}
	t := tableArg(l, 1)
	l.Push(ipairsFunction)
	l.Push(t)
	l.Push(glua.LNumber(0))
	return 3
}

func basePairs(l *glua.LState) int {
	if n, ok := iterator(l, "__pairs"); ok {
		return n
	}
	t := tableArg(l, 1)
	l.Push(nextFunction)
	l.Push(t)
	l.Push(glua.LNil)
	return 3
}

// iterator calls a metamethod that makes an iterator.
func iterator(l *glua.LState, event string) (int, bool) {
	f, ok := l.GetMetaField(l.Get(1), event).(*glua.LFunction)
	if !ok {
		return 0, false
	}
	l.Push(f)
	l.Push(l.Get(1))
	l.Call(1, 3)
	return 3, true
}

func baseNext(l *glua.LState) int {
	t := tableArg(l, 1)
	Charge(l, 1+stateOf(l).dead/32, 0)
	chargeKey(l, l.Get(2), 2)
	k, v := t.Next(l.Get(2))
	l.Push(k)
	if k == glua.LNil {
		return 1
	}
	l.Push(v)
	return 2
}

// basePrint is print, which has nowhere to write to.
func basePrint(l *glua.LState) int {
	for i := 1; i <= l.GetTop(); i++ {
		toString(l, l.Get(i))
	}
	return 0
}

func baseSelect(l *glua.LState) int {
	top := l.GetTop()
	if s, ok := l.Get(1).(glua.LString); ok && s == "#" {
		l.Push(glua.LNumber(top - 1))
		return 1
	}
	i := intArg(l, 1)
	Charge(l, top/16, 0)
	if i < 0 {
		i += top
	}
	if i < 1 {
		argError(l, 1, "index out of range")
	}
	return max(top-i, 0)
}

func baseTonumber(l *glua.LState) int {
	v := anyArg(l, 1)
	base := intOr(l, 2, 10)
	if base == 10 {
		switch v := v.(type) {
		case glua.LNumber:
			l.Push(v)
			return 1
		case glua.LString:
			if f, ok := toNumber(l, v); ok {
				l.Push(glua.LNumber(f))
				return 1
			}
		case *glua.LUserData:
			if v, ok := v.Value.(Number); ok {
				l.Push(glua.LNumber(v.Float64()))
				return 1
			}
		}
		l.Push(glua.LNil)
		return 1
	}
	s := strings.Trim(stringArg(l, 1), spaces)
	if base < 2 || base > 36 {
		argError(l, 2, "base out of range")
	}
	Charge(l, 1+len(s)/8, 0)
	sign := 1.0
	if s != "" && (s[0] == '-' || s[0] == '+') {
		if s[0] == '-' {
			sign = -1
		}
		s = s[1:]
	}
	if base == 16 && len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		s = s[2:]
	}
	f := 0.0
	for i := range len(s) {
		d := digit(s[i])
		if d >= base {
			l.Push(glua.LNil)
			return 1
		}
		f = f*float64(base) + float64(d)
	}
	if s == "" {
		l.Push(glua.LNil)
		return 1
	}
	l.Push(glua.LNumber(sign * math.Trunc(f)))
	return 1
}

func baseTostring(l *glua.LState) int {
	l.Push(toString(l, anyArg(l, 1)))
	return 1
}

// ToString is tostring, with __tostring. It charges for what it makes.
func ToString(l *glua.LState, v glua.LValue) string { return string(toString(l, v)) }

// toString is tostring, with __tostring.
func toString(l *glua.LState, v glua.LValue) glua.LString {
	switch v := v.(type) {
	case glua.LString:
		return v
	case glua.LNumber:
		chargeNumber(l, float64(v))
		return glua.LString(formatNumber(float64(v)))
	}
	if f := l.GetMetaField(v, "__tostring"); f != glua.LNil {
		l.Push(f)
		l.Push(v)
		l.Call(1, 1)
		r := l.Get(-1)
		l.Pop(1)
		switch r := r.(type) {
		case glua.LString:
			return r
		case glua.LNumber:
			chargeNumber(l, float64(r))
			return glua.LString(formatNumber(float64(r)))
		}
		l.RaiseError("'tostring' must return a string to 'print'")
	}
	Charge(l, 4, 64)
	return glua.LString(v.String())
}

func baseType(l *glua.LState) int {
	l.Push(typeNames[anyArg(l, 1).Type()])
	return 1
}

// typeNames are made once, so that type makes nothing.
var typeNames = func() (names [glua.LTChannel + 1]glua.LValue) {
	for t := range names {
		names[t] = glua.LString(glua.LValueType(t).String())
	}
	return names
}()

func baseRequire(l *glua.LState) int {
	s, name := stateOf(l), stringArg(l, 1)
	chargeKey(l, glua.LString(name), 2)
	v, ok := s.loaded[name]
	if !ok {
		loader, ok := s.modules[name]
		if !ok {
			if len(name) > 64 {
				name = name[:64]
			}
			l.RaiseError("module '%s' is not available in message functions", name)
		}
		v = loader(s)
		if s.loaded == nil {
			s.loaded = map[string]glua.LValue{}
		}
		s.loaded[name] = v
	}
	l.Push(v)
	return 1
}
