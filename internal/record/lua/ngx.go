package lua

import (
	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/request"
	"kafka-upstream/internal/sandbox"
	"kafka-upstream/internal/sandbox/lualib"
)

// openNgx adds ngx, with what of it is about the request, and the modules that need none.
func (m *machine) openNgx() {
	s := m.state
	members := map[string]glua.LValue{"log": goFunction(m.ngxLog), "status": glua.LNumber(0)}
	for i, level := range ngxLevels {
		members[level.name] = glua.LNumber(i)
	}
	members["req"] = s.Library("ngx.req", m.ngxRequest(), nil)
	members["var"] = m.virtual("ngx.var", func(l *glua.LState, name string) glua.LValue { return m.variable(l, name) }, "")
	members["header"] = m.virtual("ngx.header", nil, "ngx.header is not available in message functions: a function cannot change the answer to the request")
	members["arg"] = m.virtual("ngx.arg", nil, "ngx.arg is not available in message functions: they run before there is an answer")

	ngx := lualib.Open(s, null, members)
	mt := ngx.Metatable.(*glua.LTable)
	missing := mt.RawGetString("__index").(*glua.LFunction)
	ctx := m.factTable("ngx.ctx")
	mt.RawSetString("__index", goFunction(func(l *glua.LState) int {
		if l.Get(2) == glua.LValue(glua.LString("ctx")) {
			l.Push(m.table(l, "ngx.ctx", ctx))
			return 1
		}
		return missing.GFunction(l)
	}))
}

// virtual makes a table whose members get returns. Without get, reading one is an error, which
// says refused.
func (m *machine) virtual(name string, get func(l *glua.LState, name string) glua.LValue, refused string) *glua.LTable {
	t := m.state.Library(name, nil, nil)
	mt := t.Metatable.(*glua.LTable)
	mt.RawSetString("__index", goFunction(func(l *glua.LState) int {
		if get == nil {
			l.RaiseError("%s", refused)
		}
		l.Push(get(l, stringArgument(l, 2, "the name of a member of "+name)))
		return 1
	}))
	return t
}

func (m *machine) ngxRequest() map[string]glua.LGFunction {
	return map[string]glua.LGFunction{
		"get_method": func(l *glua.LState) int {
			l.Push(m.bytes(l, m.part(l, "ngx.req.get_method").Method))
			return 1
		},
		"get_headers": func(l *glua.LState) int {
			t := m.headers(l, m.part(l, "ngx.req.get_headers"), ngxLimit(l))
			if glua.LVAsBool(l.Get(2)) { // raw: the names as they came, which Kong does not tell
				t.Metatable = glua.LNil
			}
			l.Push(t)
			return 1
		},
		"get_uri_args": func(l *glua.LState) int {
			l.Push(m.arguments(l, m.part(l, "ngx.req.get_uri_args").Query, ngxLimit(l)))
			return 1
		},
		"get_post_args": func(l *glua.LState) int {
			l.Push(m.arguments(l, m.part(l, "ngx.req.get_post_args").Body, ngxLimit(l)))
			return 1
		},
		"read_body": func(*glua.LState) int { return 0 }, // it is read
		"get_body_data": func(l *glua.LState) int {
			if b := m.part(l, "ngx.req.get_body_data").Body; len(b) > 0 {
				l.Push(m.bytes(l, b))
			} else {
				l.Push(glua.LNil)
			}
			return 1
		},
		"start_time": func(l *glua.LState) int {
			l.Push(m.lua(l, m.fact(l, startTime, "ngx.req.start_time")))
			return 1
		},
		"http_version": func(l *glua.LState) int {
			l.Push(m.lua(l, m.fact(l, request.Fact{Call: "kong.request.get_http_version"}, "ngx.req.http_version")))
			return 1
		},
		"is_internal": func(l *glua.LState) int {
			sandbox.Charge(l, 1, 0)
			l.Push(glua.LFalse)
			return 1
		},
	}
}

// ngxLimit is the first argument of ngx.req's functions: 0 is no limit, which is ours.
func ngxLimit(l *glua.LState) int {
	switch v := l.Get(1).(type) {
	case *glua.LNilType:
		return defaultLimit
	case glua.LNumber:
		if v > 0 && v < 1000 {
			return int(v)
		}
		return 1000
	}
	l.RaiseError("bad argument #1 (number expected, got %s)", l.Get(1).Type())
	return 0
}
