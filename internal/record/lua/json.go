package lua

import (
	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

// decode makes Lua values of JSON that a function reads. arrays is the metatable that arrays
// get, nil for none, and depth how deep it may nest, 0 for maxDepth.
func (m *machine) decode(l *glua.LState, s string, arrays glua.LValue, depth int) (glua.LValue, error) {
	sandbox.Charge(l, 10+len(s)/8, int64(len(s)))
	d := decoder{l: l, max: depth, bytes: maxBytes, arrays: arrays, empty: m.empty, numbers: m.numbers, values: m.values}
	if arrays != nil {
		d.empty = arrays
	}
	v, err := d.decode(s)
	sandbox.Charge(l, int((maxBytes-d.bytes)/96), maxBytes-d.bytes)
	return v, err
}

// module is a cjson module with its settings.
type module struct {
	m         *machine
	safe      bool // errors are returned, with nil
	encoder   encoder
	arrays    bool // decoded arrays get array_mt
	maxDecode int
}

// openJSON adds the modules cjson and cjson.safe, and Kong's own forms of them.
func (m *machine) openJSON() {
	var plain, safe, kong *glua.LTable
	once := func(t **glua.LTable, makeIt func() *glua.LTable) func(*sandbox.State) glua.LValue {
		return func(*sandbox.State) glua.LValue {
			if *t == nil {
				*t = makeIt()
			}
			return *t
		}
	}
	m.state.Module("cjson", once(&plain, func() *glua.LTable { return m.newModule("cjson", false) }))
	m.state.Module("cjson.safe", once(&safe, func() *glua.LTable { return m.newModule("cjson.safe", true) }))
	kongModule := once(&kong, func() *glua.LTable { return m.kongModule("kong.tools.cjson") })
	m.state.Module("kong.tools.cjson", kongModule)
	m.state.Module("kong.tools.json", kongModule)
}

// kongModule is kong.tools.cjson.
func (m *machine) kongModule(name string) *glua.LTable {
	c := &module{m: m, safe: true, arrays: true}
	c.encoder = encoder{sparse: maxSparse}
	return m.state.Library(name, map[string]glua.LGFunction{
		"encode": c.encode, "decode": c.decode, "decode_with_array_mt": c.decode,
	}, map[string]glua.LValue{"array_mt": m.arrays, "null": null})
}

func (m *machine) newModule(name string, safe bool) *glua.LTable {
	c := &module{m: m, safe: safe}
	return m.state.Library(name, map[string]glua.LGFunction{
		"encode": c.encode,
		"decode": c.decode,
		"new": func(l *glua.LState) int {
			sandbox.Charge(l, 100, 8<<10)
			l.Push(m.newModule(name, safe))
			return 1
		},
		"encode_empty_table_as_object": func(l *glua.LState) int {
			if on, ok := flag(l); ok {
				c.encoder.emptyArrays = !on
			}
			l.Push(glua.LBool(!c.encoder.emptyArrays))
			return 1
		},
		"decode_array_with_array_mt": func(l *glua.LState) int {
			if on, ok := flag(l); ok {
				c.arrays = on
			}
			l.Push(glua.LBool(c.arrays))
			return 1
		},
		"encode_max_depth":        setting(&c.encoder.depth, maxDepth, maxDepth),
		"decode_max_depth":        setting(&c.maxDecode, maxDepth, maxDepth),
		"encode_number_precision": setting(&c.encoder.digits, numberDigits, 17),
		"encode_escape_forward_slash": func(l *glua.LState) int {
			if on, ok := flag(l); ok {
				c.encoder.slash = !on
			}
			l.Push(glua.LBool(!c.encoder.slash))
			return 1
		},
	}, map[string]glua.LValue{
		"null": null, "empty_array": emptyArray, "array_mt": m.arrays, "empty_array_mt": m.empty,
		"_NAME": glua.LString("cjson"), "_VERSION": glua.LString("2.1.0.14"),
	})
}

// flag is the first argument, which switches a setting on or off, if it is given.
func flag(l *glua.LState) (on, ok bool) {
	switch v := l.Get(1).(type) {
	case glua.LBool:
		return bool(v), true
	case glua.LString:
		return v == "on", true
	case *glua.LNilType:
		return false, false
	}
	l.RaiseError("bad argument #1 (boolean expected)")
	return false, false
}

// setting makes a function that sets and returns a number.
func setting(p *int, def, most int) glua.LGFunction {
	return func(l *glua.LState) int {
		if l.Get(1) != glua.LNil {
			n, ok := l.Get(1).(glua.LNumber)
			if !ok || n < 1 || n > glua.LNumber(most) || n != glua.LNumber(int(n)) {
				l.RaiseError("bad argument #1 (expected integer between 1 and %d)", most)
			}
			*p = int(n)
		}
		n := *p
		if n == 0 {
			n = def
		}
		l.Push(glua.LNumber(n))
		return 1
	}
}

// fail raises an error, or returns it.
func (c *module) fail(l *glua.LState, err error) int {
	if !c.safe {
		l.RaiseError("%s", err.Error())
	}
	l.Push(glua.LNil)
	l.Push(glua.LString(err.Error()))
	return 2
}

func (c *module) encode(l *glua.LState) int {
	if l.GetTop() < 1 {
		l.RaiseError("bad argument #1 to 'encode' (expected 1 argument)")
	}
	e := c.encoder
	e.max, e.arrays, e.empty, e.numbers = c.m.f.maxText(), c.m.arrays, c.m.empty, c.m.numbers
	text, err := e.append(nil, l.Get(1))
	sandbox.Charge(l, 10+len(text)/8+2*e.tables, int64(cap(text)+len(text)))
	if err != nil {
		return c.fail(l, err)
	}
	l.Push(glua.LString(text))
	return 1
}

func (c *module) decode(l *glua.LState) int {
	v := l.Get(1)
	if n := exactOf(v); n != nil {
		v = glua.LString(n.text)
	}
	if !glua.LVCanConvToString(v) {
		l.RaiseError("bad argument #1 to 'decode' (string expected, got %s)", v.Type())
	}
	var arrays glua.LValue
	if c.arrays {
		arrays = c.m.arrays
	}
	d, err := c.m.decode(l, sandbox.ToString(l, v), arrays, c.maxDecode)
	if err != nil {
		return c.fail(l, err)
	}
	l.Push(d)
	return 1
}
