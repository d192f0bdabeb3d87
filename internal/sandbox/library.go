package sandbox

import (
	"sync"

	glua "github.com/yuin/gopher-lua"
)

// readOnly marks the metatables of libraries. No script can read or change it: __metatable
// hides the metatable that has it.
const readOnly = "(read-only)"

// newFunction makes a function that needs no environment, so that states can share it.
func newFunction(f glua.LGFunction) *glua.LFunction {
	return &glua.LFunction{IsG: true, GFunction: f}
}

// newLibrary makes a table that scripts can read and not change. States can share it if its
// functions and constants can be shared.
func newLibrary(name string, functions map[string]glua.LGFunction, constants map[string]glua.LValue) *glua.LTable {
	t := &glua.LTable{Metatable: glua.LNil}
	for k, f := range functions {
		t.RawSetString(k, newFunction(f))
	}
	for k, v := range constants {
		t.RawSetString(k, v)
	}
	mt := &glua.LTable{Metatable: glua.LNil}
	mt.RawSetString(readOnly, glua.LTrue)
	mt.RawSetString("__metatable", glua.LFalse)
	mt.RawSetString("__index", newFunction(func(l *glua.LState) int {
		k, ok := l.Get(2).(glua.LString)
		if !ok {
			return 0
		}
		if len(k) > 64 {
			k = k[:64]
		}
		l.RaiseError("%s", notAvailable(name+"."+string(k)))
		return 0
	}))
	mt.RawSetString("__newindex", newFunction(func(l *glua.LState) int {
		l.RaiseError("%s cannot be changed", name)
		return 0
	}))
	mt.RawSetString("(name)", glua.LString(name))
	t.Metatable = mt
	return t
}

// writable raises an error if t is a library.
func writable(l *glua.LState, t *glua.LTable) *glua.LTable {
	if mt, ok := t.Metatable.(*glua.LTable); ok && mt.RawGetString(readOnly) != glua.LNil {
		l.RaiseError("%s cannot be changed", mt.RawGetString("(name)"))
	}
	return t
}

// sharedValues are what all states have in common. Nobody writes to them.
type sharedValues struct {
	globals map[string]glua.LValue
	strings *glua.LTable // metatable of strings
}

var shared = sync.OnceValue(func() *sharedValues {
	g := map[string]glua.LValue{"_VERSION": glua.LString("Lua 5.1")}
	for name, f := range baseFunctions {
		g[name] = newFunction(f)
	}
	for name, f := range hiddenFunctions {
		g[name] = newFunction(f)
	}
	str := newLibrary("string", stringFunctions, nil)
	g["string"] = str
	g["table"] = newLibrary("table", tableFunctions, nil)
	g["math"] = newLibrary("math", mathFunctions, mathConstants)
	g["os"] = newLibrary("os", osFunctions, nil)
	g["bit"] = newLibrary("bit", bitFunctions, nil)
	g["coroutine"] = newLibrary("coroutine", coroutineFunctions, map[string]glua.LValue{"yield": yieldFunction})
	g["io"] = newLibrary("io", map[string]glua.LGFunction{"type": ioType}, nil)
	g["jit"] = newLibrary("jit", nil, jitConstants)
	mt := &glua.LTable{Metatable: glua.LNil}
	mt.RawSetString("__index", str)
	for event, f := range stringArithmetic {
		mt.RawSetString(event, newFunction(arithmetic(event, f)))
	}
	mt.RawSetString("__metatable", glua.LFalse)
	mt.RawSetString(readOnly, glua.LTrue)
	mt.RawSetString("(name)", glua.LString("the metatable of strings"))
	return &sharedValues{globals: g, strings: mt}
})

// unavailable reports whether name is a global of Lua's, LuaJIT's, OpenResty's or Kong's
// that a script must not take for one that it forgot to set.
func unavailable(name string) bool {
	switch name {
	case "_G", "collectgarbage", "debug", "dofile", "ffi", "gcinfo", "getfenv", "kong", "load",
		"loadfile", "loadstring", "module", "ndk", "newproxy", "ngx", "package", "rawlen", "setfenv", "utf8", "bit32":
		return true
	}
	return false
}
