package lua

import (
	"strings"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/request"
	"kafka-upstream/internal/sandbox"
)

// open adds what functions see beside Lua's own libraries.
func (m *machine) open() {
	s := m.state
	libraries := map[string]map[string]glua.LGFunction{
		"kong.request": m.requestFunctions(),
		"kong.client": {
			"load_consumer": refused("kong.client.load_consumer", "a message function cannot ask Kong while it runs; kong.client.get_consumer has the consumer of the request"),
		},
		"kong.nginx": {"get_var": func(l *glua.LState) int {
			name := stringArgument(l, 1, "the name of a variable")
			l.Push(m.variable(l, name))
			return 1
		}},
		"kong.node": {"get_hostname": func(l *glua.LState) int {
			name, err := hostname()
			if err != nil {
				l.RaiseError("the host's name is not known: %s", err.Error())
			}
			l.Push(glua.LString(name))
			return 1
		}},
		"kong.plugin": {"get_id": func(l *glua.LState) int {
			if m.f.pluginID == "" {
				l.RaiseError("kong.plugin.get_id is not known: Kong did not say which plugin this is")
			}
			l.Push(glua.LString(m.f.pluginID))
			return 1
		}},
		"kong.ip": {"is_trusted": func(l *glua.LState) int {
			f := request.Fact{Call: request.CallIsTrusted, Name: stringArgument(l, 1, "an address")}
			l.Push(m.lua(l, m.fact(l, f, "whether this address is trusted")))
			return 1
		}},
		"kong.table": {
			"merge": func(l *glua.LState) int {
				t := &glua.LTable{Metatable: glua.LNil}
				sandbox.Charge(l, 2, tableBytes)
				for i := 1; i <= 2; i++ {
					if l.Get(i) == glua.LNil {
						continue
					}
					from := tableArgument(l, i, "the table")
					for k, v := from.Next(glua.LNil); k != glua.LNil; k, v = from.Next(k) {
						sandbox.Charge(l, 3, memberBytes)
						t.RawSet(k, v)
					}
				}
				l.Push(t)
				return 1
			},
		},
		"kong.response": {
			"exit":       refused("kong.response.exit", "a function cannot answer the request; raise an error with error(...), or send nothing with: return kafka.skip"),
			"set_header": refused("kong.response.set_header", "a function cannot change the answer to the request"),
			"error":      refused("kong.response.error", "a function cannot answer the request; raise an error with error(...), or send nothing with: return kafka.skip"),
		},
		"kong.router": {},
	}
	for call, named := range request.KnownCalls() {
		i := strings.LastIndexByte(call, '.')
		functions := libraries[call[:i]]
		if named || functions == nil || functions[call[i+1:]] != nil {
			continue
		}
		f := request.Fact{Call: call}
		functions[call[i+1:]] = func(l *glua.LState) int {
			l.Push(m.lua(l, m.fact(l, f, f.Call)))
			return 1
		}
	}
	// The protocol's call has no argument; with one, the function would read X-Forwarded-Proto.
	protocol := libraries["kong.client"]["get_protocol"]
	libraries["kong.client"]["get_protocol"] = func(l *glua.LState) int {
		if glua.LVAsBool(l.Get(1)) {
			l.RaiseError("kong.client.get_protocol takes no argument in message functions")
		}
		return protocol(l)
	}
	delete(libraries["kong.nginx"], "req_start_time") // of the protocol, not of Kong's functions

	kong := map[string]glua.LValue{"log": m.openLog(), "ctx": m.openContext()}
	for name, functions := range libraries {
		var constants map[string]glua.LValue
		if name == "kong.table" {
			constants = map[string]glua.LValue{"new": m.global("table.new"), "clear": m.global("table.clear")}
		}
		kong[strings.TrimPrefix(name, "kong.")] = s.Library(name, functions, constants)
	}
	s.SetGlobal("kong", s.Library("kong", nil, kong))
	s.SetGlobal("kafka", s.Library("kafka", nil, map[string]glua.LValue{"skip": skip}))
	s.SetGlobal("print", goFunction(func(l *glua.LState) int {
		m.addLog(l, "notice", joined(l, 1, "\t"))
		return 0
	}))
	m.openNgx()
	m.openJSON()
}

// global returns a value of the sandbox's own libraries.
func (m *machine) global(expression string) glua.LValue {
	p, err := sandbox.Compile("(kong)", "return "+expression)
	if err != nil {
		panic(err)
	}
	v, err := m.state.Run(p)
	if err != nil {
		panic(err)
	}
	return v
}

// refused is a function of Kong's that is not to be had, and why.
func refused(name, why string) glua.LGFunction {
	return func(l *glua.LState) int {
		l.RaiseError("%s is not available in message functions: %s", name, why)
		return 0
	}
}

func stringArgument(l *glua.LState, n int, what string) string {
	s, ok := l.Get(n).(glua.LString)
	if !ok {
		l.RaiseError("%s must be a string", what)
	}
	return string(s)
}

func tableArgument(l *glua.LState, n int, what string) *glua.LTable {
	t, ok := l.Get(n).(*glua.LTable)
	if !ok {
		l.RaiseError("%s must be a table", what)
	}
	return t
}

// variable is a variable of nginx.
func (m *machine) variable(l *glua.LState, name string) glua.LValue {
	return m.lua(l, m.fact(l, request.Fact{Call: request.CallVariable, Name: name}, "this variable of nginx"))
}

// openContext makes kong.ctx. Its tables live as long as the request.
func (m *machine) openContext() *glua.LTable {
	shared := m.factTable("kong.ctx.shared")
	t := m.state.Library("kong.ctx", nil, nil)
	mt := t.Metatable.(*glua.LTable)
	missing := mt.RawGetString("__index").(*glua.LFunction)
	mt.RawSetString("__index", goFunction(func(l *glua.LState) int {
		switch l.Get(2) {
		case glua.LValue(glua.LString("shared")):
			l.Push(m.table(l, "kong.ctx.shared", shared))
			return 1
		case glua.LValue(glua.LString("plugin")):
			l.Push(m.table(l, "kong.ctx.plugin", nil))
			return 1
		}
		return missing.GFunction(l)
	}))
	return t
}

// factTable makes the metatable of a table whose members are facts until functions set them.
// What is set is seen by the functions of this request, and by nobody else.
func (m *machine) factTable(name string) *glua.LTable {
	call := tables[name]
	return metatable(map[string]glua.LGFunction{
		"__index": func(l *glua.LState) int {
			t, k := tableArgument(l, 1, name), l.Get(2)
			key, ok := k.(glua.LString)
			if !ok || len(key) == 0 || m.seen[numberPlace{t, k}] {
				return 0
			}
			v := m.lua(l, m.fact(l, request.Fact{Call: call, Name: string(key)}, "this member of "+name))
			m.see(l, t, k)
			if v != glua.LNil {
				t.RawSet(k, v)
			}
			l.Push(v)
			return 1
		},
		"__newindex": func(l *glua.LState) int {
			t, k := tableArgument(l, 1, name), l.Get(2)
			if _, ok := k.(glua.LString); !ok {
				l.RaiseError("the members of %s have names in message functions: use a string", name)
			}
			m.see(l, t, k)
			t.RawSet(k, l.Get(3))
			return 0
		},
		"__pairs": func(l *glua.LState) int {
			l.RaiseError("the members of %s cannot be listed in message functions: name the one that you want", name)
			return 0
		},
	})
}

// see remembers that a member of a table of facts is what functions made it.
func (m *machine) see(l *glua.LState, t *glua.LTable, k glua.LValue) {
	sandbox.Charge(l, 3, 2*memberBytes)
	if s, ok := k.(glua.LString); ok {
		sandbox.Charge(l, len(s)/256, 0)
	}
	if m.seen == nil {
		m.seen = map[numberPlace]bool{}
	}
	m.seen[numberPlace{t, k}] = true
}
