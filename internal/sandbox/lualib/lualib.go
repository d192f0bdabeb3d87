// Package lualib is what message functions find in Kong and that needs no request: ngx.*,
// and the modules of OpenResty, Penlight and Kong that require returns.
//
// What works on strings is written in Go and charges for its work. What works on the tables
// of scripts is written in Lua, in modules, so that it is bounded, and kept from changing
// libraries, as scripts are. A module is made when it is first required.
package lualib

import (
	"embed"
	"sync"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

// Open adds the modules, and the global ngx, to a state. null is ngx.null. members are added
// to ngx: what of it is about the request. They win over members of the same name. Open
// returns ngx.
func Open(s *sandbox.State, null glua.LValue, members map[string]glua.LValue) *glua.LTable {
	for name, m := range modules() {
		s.Module(name, m.load)
	}
	ngx := s.Library("ngx", nil, members)
	if members["null"] == nil {
		ngx.RawSetString("null", null)
	}
	// The other members, more than a hundred, are put into ngx when they are first read:
	// most functions need none, and every state would pay for them.
	mt := ngx.Metatable.(*glua.LTable)
	missing := mt.RawGetString("__index").(*glua.LFunction).GFunction
	mt.RawSetString("__index", newFunction(func(l *glua.LState) int {
		name, _ := l.Get(2).(glua.LString)
		v, ok := sharedNgx()[string(name)]
		if !ok {
			return missing(l)
		}
		ngx.RawSetString(string(name), v)
		l.Push(v)
		return 1
	}))
	s.SetGlobal("ngx", ngx)
	return ngx
}

// module is what require returns: functions in Go, a chunk in Lua that returns a table of
// its members, or both.
type module struct {
	name      string
	functions map[string]glua.LGFunction
	// file is the name of a chunk under modules. It is given a table of functions, and what
	// it returns is the module. "" for a module of functions alone.
	file string

	compile func() *sandbox.Program
}

//go:embed modules/*.lua
var sources embed.FS

// modules are the modules by name.
var modules = sync.OnceValue(func() map[string]*module {
	all := map[string]*module{}
	for _, m := range moduleList {
		if m.file == "" && m.functions == nil {
			m.file = m.name
		}
		m.compile = sync.OnceValue(func() *sandbox.Program {
			source, err := sources.ReadFile("modules/" + m.file + ".lua")
			if err != nil {
				panic(err)
			}
			p, err := sandbox.Compile(m.name, string(source))
			if err != nil {
				panic(m.name + ": " + err.Error())
			}
			return p
		})
		all[m.name] = m
	}
	return all
})

// load makes the module for a state.
func (m *module) load(s *sandbox.State) glua.LValue {
	sandbox.Charge(s.L(), 100, 8<<10)
	if m.file == "" {
		return s.Library(m.name, m.functions, nil)
	}
	natives := s.Library(m.name, m.functions, nil)
	v := s.Load(m.compile(), natives)
	t, ok := v.(*glua.LTable)
	if !ok || t.Metatable != glua.LNil {
		return v // a function, or a library that there is
	}
	call := t.RawGetString("__call")
	lib := freeze(s, m.name, t)
	if call != glua.LNil {
		lib.Metatable.(*glua.LTable).RawSetString("__call", call)
	}
	return lib
}

// freeze makes a library of a table, and of the plain tables in it.
func freeze(s *sandbox.State, name string, t *glua.LTable) *glua.LTable {
	members := map[string]glua.LValue{}
	var rest []glua.LValue // keys and values of those whose key is no string
	t.ForEach(func(k, v glua.LValue) {
		key, ok := k.(glua.LString)
		if sub, isTable := v.(*glua.LTable); isTable && sub.Metatable == glua.LNil {
			v = freeze(s, name+"."+string(key), sub)
		}
		switch {
		case !ok:
			rest = append(rest, k, v)
		case key != "__call":
			members[string(key)] = v
		}
	})
	lib := s.Library(name, nil, members)
	for i := 0; i < len(rest); i += 2 {
		lib.RawSet(rest[i], rest[i+1])
	}
	return lib
}

// moduleList are the modules; tools.go and hash.go have most of the functions.
var moduleList = []*module{
	{name: "bit", file: "bit"},
	{name: "table.new", file: "table.new"},
	{name: "table.clear", file: "table.clear"},
	{name: "table.clone", file: "table.clone"},
	{name: "table.nkeys", file: "table.nkeys"},
	{name: "table.isarray", file: "table.isarray"},
	{name: "table.isempty", file: "table.isempty"},
	{name: "string.buffer", file: "string.buffer"},
	{name: "kong.constants", file: "kong.constants"},
	{name: "kong.meta", file: "kong.meta"},
	{name: "kong.tools.gzip", functions: gzipFunctions},
	{name: "kong.tools.ip", file: "kong.tools.ip", functions: ipFunctions},
	{name: "kong.tools.mime_type", file: "kong.tools.mime_type", functions: mimeFunctions},
	{name: "kong.tools.rand", functions: randFunctions},
	{name: "kong.tools.sha1", functions: hashModule("sha1")},
	{name: "kong.tools.sha256", functions: hashModule("sha256")},
	{name: "kong.tools.string", file: "kong.tools.string", functions: stringFunctions},
	{name: "kong.tools.table", file: "kong.tools.table"},
	{name: "kong.tools.time", file: "kong.tools.time", functions: timeFunctions},
	{name: "kong.tools.timestamp", file: "kong.tools.timestamp", functions: timeFunctions},
	{name: "kong.tools.uri", functions: uriFunctions},
	{name: "kong.tools.utils", file: "kong.tools.utils"},
	{name: "kong.tools.uuid", functions: kongUUIDFunctions},
	{name: "kong.tools.yield", file: "kong.tools.yield"},
	{name: "ngx.base64", functions: base64Functions},
	{name: "ngx.re", functions: map[string]glua.LGFunction{"split": reSplit}},
	{name: "pl.stringx", file: "pl.stringx"},
	{name: "pl.tablex", file: "pl.tablex"},
	{name: "resty.jit-uuid", file: "resty.jit-uuid", functions: uuidFunctions},
	{name: "resty.md5", file: "resty.hash", functions: restyHash("md5")},
	{name: "resty.random", functions: map[string]glua.LGFunction{"bytes": randomBytes}},
	{name: "resty.sha1", file: "resty.hash", functions: restyHash("sha1")},
	{name: "resty.sha224", file: "resty.hash", functions: restyHash("sha224")},
	{name: "resty.sha256", file: "resty.hash", functions: restyHash("sha256")},
	{name: "resty.sha384", file: "resty.hash", functions: restyHash("sha384")},
	{name: "resty.sha512", file: "resty.hash", functions: restyHash("sha512")},
	{name: "resty.string", functions: restyStringFunctions},
}
