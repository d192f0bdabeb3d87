package lua

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/sandbox"
)

// machine is a Lua state with all functions of one configuration, for one request at a time.
type machine struct {
	f         *Functions
	state     *sandbox.State
	l         *glua.LState
	functions []*glua.LFunction // nil for those that need no Lua
	values    *interner
	decoder   decoder
	out       []byte   // for results, until they are copied
	rest      [][]byte // see argument

	arrays, empty *glua.LTable // metatables that make tables arrays in JSON

	// Of the request.
	draft   *record.Draft // nil while chunks are loaded
	log     logLines
	numbers map[numberPlace]numberText
	tables  map[string]*glua.LTable // kong.ctx.shared and the like, by their names
	seen    map[numberPlace]bool    // their members that functions have read or set
}

// newMachine loads the chunks. The error says what is wrong with which.
func newMachine(f *Functions) (*machine, error) {
	m := &machine{f: f, state: sandbox.New(limits), values: new(interner), numbers: map[numberPlace]numberText{}, tables: map[string]*glua.LTable{}}
	m.l = m.state.L()
	m.arrays, m.empty = m.l.CreateTable(0, 0), m.l.CreateTable(0, 0)
	m.decoder.l = m.l
	m.open()
	for i, c := range f.chunks {
		if c.kind == identity {
			m.functions = append(m.functions, nil)
			continue
		}
		v, err := m.state.Run(c.program)
		if err != nil {
			return nil, errors.New(m.describe(i, err))
		}
		fn, ok := v.(*glua.LFunction)
		if !ok {
			return nil, fmt.Errorf("function %d, line 1: the chunk must return a function, such as: return function(message) return message end; it returned %s", i+1, article(v))
		}
		m.functions = append(m.functions, fn)
	}
	return m, nil
}

func article(v glua.LValue) string {
	switch v.Type() {
	case glua.LTNil:
		return "nothing"
	default:
		return "a " + v.Type().String()
	}
}

// describe says where and why a function failed.
func (m *machine) describe(i int, err error) string {
	var e *sandbox.Error
	if !errors.As(err, &e) {
		return fmt.Sprintf("function %d: %v", i+1, err)
	}
	where := e.Chunk
	if where == "" {
		where = chunkName(i)
	}
	if e.Line > 0 {
		where += fmt.Sprintf(", line %d", e.Line)
	}
	return where + ": " + e.Text
}

func chunkName(i int) string { return fmt.Sprintf("function %d", i+1) }

// A machine keeps no buffer above keepBytes, and no map or list of more than keepEntries.
const (
	keepBytes   = 64 << 10
	keepEntries = 1 << 10
)

// end forgets the request, and what only a large one needs.
func (m *machine) end() {
	m.draft = nil
	m.state.OnLongCall(nil)
	m.log = logLines{}
	clear(m.rest[:cap(m.rest)])
	clear(m.tables)
	if len(m.numbers) > keepEntries {
		m.numbers = map[numberPlace]numberText{}
	}
	clear(m.numbers)
	if len(m.seen) > keepEntries {
		m.seen = nil
	}
	clear(m.seen)
	if cap(m.out) > keepBytes {
		m.out = nil
	}
	d := &m.decoder
	d.pop(0)
	if cap(d.stack) > keepEntries {
		d.stack = nil
	}
	d.s, d.numbers = "", nil
}

// run reduces the message through the functions from the first on, which is given whatever
// the draft has become so far: JSON, or a finished text.
func (m *machine) run(d *record.Draft, first int) error {
	m.draft = d
	m.state.OnLongCall(d.Block)
	v, rest, err := m.argument(d)
	if err != nil {
		return failed("%v", err)
	}
	argument := v
	last := first
	for i := first; i < len(m.functions); i++ {
		if m.functions[i] == nil {
			continue
		}
		last = i
		v, err = m.state.Call(m.functions[i], v)
		d.Work += m.state.Worked()
		if err != nil {
			return failed("%s", m.describe(i, err))
		}
		switch v {
		case glua.LNil:
			return returnedNil(i)
		case glua.LValue(skip):
			d.Skip = true
			return nil
		}
	}
	if s, ok := v.(glua.LString); ok {
		if len(s) > m.f.max {
			return request.ErrTooLarge
		}
		d.Message, d.Final = append(d.Message[:0], s...), true
		return nil
	}
	e := encoder{max: m.f.max, sparse: maxSparse, utf8: true, arrays: m.arrays, empty: m.empty, numbers: m.numbers}
	m.out, err = e.append(m.out[:0], v)
	if err == nil && v == argument && len(rest) > 0 {
		m.out = appendMembers(m.out, rest)
	}
	if errors.As(err, new(errSize)) || err == nil && len(m.out) > m.f.max {
		return request.ErrTooLarge
	}
	if err != nil {
		return failed("%s: %v", chunkName(last), err)
	}
	d.Message, d.Final = append(d.Message[:0], m.out...), false
	return nil
}

// maxSparse is how many elements of an array may be nil in a result, as in Kong's JSON.
const maxSparse = 1 << 15

func failed(format string, args ...any) error {
	return &record.TransformError{Reason: fmt.Sprintf(format, args...)}
}

func returnedNil(i int) error {
	return failed("function %d returned nil, which is no message; to send nothing, return kafka.skip", i+1)
}

// argument returns what the first function is given. rest is what it does not have of the
// message, because no function reads it: members of a JSON object.
func (m *machine) argument(d *record.Draft) (v glua.LValue, rest [][]byte, err error) {
	if d.Final {
		return glua.LString(d.Message), nil, nil
	}
	dec := &m.decoder
	dec.bytes, dec.values, dec.numbers = maxBytes, m.values, m.numbers
	dec.arrays, dec.empty = m.arrays, m.arrays
	if m.f.whole || len(d.Message) == 0 || d.Message[0] != '{' {
		v, err := m.wholeArgument(d)
		return v, nil, err
	}
	t := m.l.CreateTable(0, len(m.f.fields)+1)
	rest = m.rest[:0]
	for f := range members(d.Message) {
		if f.value == nil {
			return nil, nil, syntaxError("the message is not JSON")
		}
		if bytes.IndexByte(f.name, '\\') >= 0 { // it may be any field
			v, err := m.wholeArgument(d)
			return v, nil, err
		}
		if !slices.Contains(m.f.fields, string(f.name)) {
			rest = append(rest, f.all)
			continue
		}
		v, err := dec.decode(string(f.value))
		if err != nil {
			return nil, nil, err
		}
		name := string(f.name)
		t.RawSetString(name, v)
		if writtenUnusually(v, dec.s) {
			dec.keep(t, glua.LString(name), v, dec.s)
		}
	}
	m.rest = rest
	setHeadersMeta(t)
	return t, rest, nil
}

// wholeArgument returns all of the message.
func (m *machine) wholeArgument(d *record.Draft) (glua.LValue, error) {
	v, err := m.decoder.decode(string(d.Message))
	if t, ok := v.(*glua.LTable); ok {
		setHeadersMeta(t)
	}
	return v, err
}

// setHeadersMeta lets the names of headers be written as in kong.request.get_headers.
func setHeadersMeta(message *glua.LTable) {
	if h, ok := message.RawGetString("headers").(*glua.LTable); ok && h.Metatable == glua.LNil {
		h.Metatable = headersMeta
	}
}

// appendMembers appends members to the JSON object that dst ends with.
func appendMembers(dst []byte, members [][]byte) []byte {
	dst = dst[:len(dst)-1]
	for _, member := range members {
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(dst, member...)
	}
	return append(dst, '}')
}

// fact returns a fact of the request. It raises an error if no function's source has its
// name.
func (m *machine) fact(l *glua.LState, f request.Fact, what string) any {
	r := m.request(l, what)
	for i := range r.Facts {
		if r.Facts[i].Fact == f {
			return r.Facts[i].Value
		}
	}
	if !request.KnownFact(f) {
		return nil
	}
	l.RaiseError("%s is not known here, because no function names it: Kong is asked for what the functions' sources name, so write the name literally, such as %s", what, literal(f))
	return nil
}

func literal(f request.Fact) string {
	for table, call := range tables {
		if call == f.Call && table != "ngx.var" {
			return table + ".NAME"
		}
	}
	switch f.Call {
	case request.CallVariable:
		return `ngx.var.NAME or kong.nginx.get_var("NAME")`
	case request.CallIsTrusted:
		return `kong.ip.is_trusted("10.0.0.1")`
	}
	return f.Call + "()"
}

// request returns the request, for a function that is called what.
func (m *machine) request(l *glua.LState, what string) *request.Request {
	if m.draft == nil {
		l.RaiseError("%s is not available while a chunk is loaded: use it in the function that the chunk returns", what)
	}
	return m.draft.Request
}

// part returns the request for a function that reads a part of it.
func (m *machine) part(l *glua.LState, what string) *request.Request {
	r := m.request(l, what)
	want := parts[what]
	has := &m.f.needs
	if want.Method && !has.Method || want.URI && !has.URI || want.Query && !has.Query && !has.URI || want.Headers && !has.Headers || want.Body && !has.Body {
		l.RaiseError("%s is not known here, because no function names it: Kong is asked for what the functions' sources name, so write the name literally, as %s(...)", what, what)
	}
	return r
}

// lua makes a Lua value of that of a fact.
func (m *machine) lua(l *glua.LState, v any) glua.LValue {
	switch v := v.(type) {
	case bool:
		return glua.LBool(v)
	case float64:
		return glua.LNumber(v)
	case string:
		sandbox.Charge(l, 1, int64(elementBytes+len(v)))
		return m.values.value(v)
	case []any:
		sandbox.Charge(l, 2+len(v), int64(tableBytes+elementBytes*len(v)))
		t := l.CreateTable(len(v), 0)
		for _, e := range v {
			t.Append(m.lua(l, e))
		}
		t.Metatable = m.arrays
		return t
	case map[string]any:
		sandbox.Charge(l, 6+3*len(v), int64(tableBytes+memberBytes*len(v)))
		t := l.CreateTable(0, len(v))
		// In order, so that a result does not depend on chance.
		keys := make([]string, 0, 32)
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			t.RawSetString(k, m.lua(l, v[k]))
		}
		return t
	}
	return glua.LNil
}

// bytes makes a Lua string.
func (m *machine) bytes(l *glua.LState, b []byte) glua.LValue {
	sandbox.Charge(l, 1+len(b)/256, int64(elementBytes+len(b)))
	return m.values.value(string(b))
}

// table returns the table with that name that lives as long as the request.
func (m *machine) table(l *glua.LState, name string, meta *glua.LTable) *glua.LTable {
	m.request(l, name)
	t := m.tables[name]
	if t == nil {
		sandbox.Charge(l, 2, tableBytes)
		t = l.CreateTable(0, 0)
		if meta != nil {
			t.Metatable = meta
		}
		m.tables[name] = t
	}
	return t
}

// optionalNumber is the nth argument, a limit from 1 to most, in the words of Kong.
func optionalNumber(l *glua.LState, n int, name string, def int) int {
	v := l.Get(n)
	if v == glua.LNil {
		return def
	}
	f, ok := v.(glua.LNumber)
	if !ok {
		l.RaiseError("%s must be a number", name)
	}
	if f < 1 {
		l.RaiseError("%s must be >= 1", name)
	}
	if f > 1000 {
		l.RaiseError("%s must be <= 1000", name)
	}
	return int(f)
}

var headersMeta = metatable(map[string]glua.LGFunction{
	"__index": func(l *glua.LState) int {
		t, ok := l.Get(1).(*glua.LTable)
		name, ok2 := l.Get(2).(glua.LString)
		if !ok || !ok2 {
			return 0
		}
		sandbox.Charge(l, 1+len(name)/32, 2*int64(len(name)))
		l.Push(t.RawGetString(headerName(string(name))))
		return 1
	},
})

// headerName is the form of a header's name in tables: in lower case, with dashes.
func headerName(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}
