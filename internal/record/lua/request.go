package lua

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/record/media"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/sandbox"
)

// defaultLimit is how many headers and arguments Kong's functions return if they are not
// told.
const defaultLimit = 100

// requestFunctions are those of kong.request that are no facts as they are. Their errors are
// in Kong's words.
func (m *machine) requestFunctions() map[string]glua.LGFunction {
	// read makes a function that returns a part of the request.
	read := func(name string, f func(r *request.Request) []byte) glua.LGFunction {
		return func(l *glua.LState) int {
			l.Push(m.bytes(l, f(m.part(l, name))))
			return 1
		}
	}
	const method, target, path, query, body = "kong.request.get_method", "kong.request.get_path_with_query",
		"kong.request.get_raw_path", "kong.request.get_raw_query", "kong.request.get_raw_body"
	return map[string]glua.LGFunction{
		"get_method":          read(method, func(r *request.Request) []byte { return r.Method }),
		"get_path_with_query": read(target, func(r *request.Request) []byte { return r.URI }),
		"get_raw_query":       read(query, func(r *request.Request) []byte { return r.Query }),
		"get_raw_body":        read(body, func(r *request.Request) []byte { return r.Body }),
		"get_raw_path": read(path, func(r *request.Request) []byte {
			before, _, _ := bytes.Cut(r.URI, []byte{'?'})
			return before
		}),
		"get_query": func(l *glua.LState) int {
			n := optionalNumber(l, 1, "max_args", defaultLimit)
			l.Push(m.arguments(l, m.part(l, "kong.request.get_query").Query, n))
			return 1
		},
		"get_query_arg": func(l *glua.LState) int {
			name := stringArgument(l, 1, "query argument name")
			l.Push(m.argumentNamed(l, m.part(l, "kong.request.get_query_arg").Query, name))
			return 1
		},
		"get_header": func(l *glua.LState) int {
			name := stringArgument(l, 1, "header name")
			r := m.part(l, "kong.request.get_header")
			sandbox.Charge(l, 1+len(r.Headers)/4+len(name)/32, 2*int64(len(name)))
			name = headerName(name)
			for _, h := range r.Headers {
				if len(h.Name) == len(name) && (string(h.Name) == name || headerName(string(h.Name)) == name) {
					l.Push(m.bytes(l, h.Value))
					return 1
				}
			}
			l.Push(glua.LNil)
			return 1
		},
		"get_headers": func(l *glua.LState) int {
			n := optionalNumber(l, 1, "max_headers", defaultLimit)
			l.Push(m.headers(l, m.part(l, "kong.request.get_headers"), n))
			return 1
		},
		"get_body": m.getBody,
		"get_id": func(l *glua.LState) int {
			l.Push(m.lua(l, m.fact(l, requestID, "kong.request.get_id")))
			return 1
		},
		"get_start_time": func(l *glua.LState) int {
			l.Push(glua.LNil)
			if f, ok := m.fact(l, startTime, "kong.request.get_start_time").(float64); ok {
				l.Push(glua.LNumber(math.Round(f * 1000)))
			}
			return 1
		},
		"get_uri_captures": func(l *glua.LState) int {
			v := m.fact(l, request.Fact{Call: request.CallURICaptures}, request.CallURICaptures)
			if v == nil {
				v = map[string]any{"named": map[string]any{}, "unnamed": []any{}}
			}
			l.Push(m.lua(l, v))
			return 1
		},
	}
}

// headers returns at most n headers as a table.
func (m *machine) headers(l *glua.LState, r *request.Request, n int) *glua.LTable {
	headers := r.Headers[:min(n, len(r.Headers))]
	t := l.CreateTable(0, len(headers))
	sandbox.Charge(l, 6, tableBytes)
	for _, h := range headers {
		m.addValue(l, t, h.Name, m.bytes(l, h.Value))
	}
	t.Metatable = headersMeta
	return t
}

// addValue adds a value to a table in which names that come again have arrays.
func (m *machine) addValue(l *glua.LState, t *glua.LTable, name []byte, v glua.LValue) {
	sandbox.Charge(l, 4, int64(memberBytes+len(name)))
	switch old := t.RawGetString(string(name)).(type) {
	case *glua.LNilType:
		t.RawSetString(string(name), v)
	case *glua.LTable:
		old.Append(v)
	default:
		sandbox.Charge(l, 2, tableBytes)
		both := l.CreateTable(2, 0)
		both.Append(old)
		both.Append(v)
		t.RawSetString(string(name), both)
	}
}

// arguments returns the first n pairs of a query or a form as a table.
func (m *machine) arguments(l *glua.LState, form []byte, n int) *glua.LTable {
	sandbox.Charge(l, 10+len(form)/64, tableBytes)
	t := l.CreateTable(0, 0)
	m.eachArgument(l, form, n, func(name []byte, v glua.LValue) bool {
		m.addValue(l, t, name, v)
		return true
	})
	return t
}

// argumentNamed returns the first value of an argument.
func (m *machine) argumentNamed(l *glua.LState, form []byte, want string) (value glua.LValue) {
	sandbox.Charge(l, 2+len(form)/64, 0)
	value = glua.LNil
	m.eachArgument(l, form, defaultLimit, func(name []byte, v glua.LValue) bool {
		if string(name) == want {
			value = v
			return false
		}
		return true
	})
	return value
}

// eachArgument calls f with each of the first n pairs, decoded, until f returns false. A name
// without "=" is true. A pair without a name counts, and is left out.
func (m *machine) eachArgument(l *glua.LState, form []byte, n int, f func(name []byte, v glua.LValue) bool) {
	var scratch []byte
	for ; n > 0 && len(form) > 0; n-- {
		var name, value []byte
		var has bool
		name, value, has, form = media.CutPair(form)
		if len(name) == 0 {
			continue
		}
		v := glua.LValue(glua.LTrue)
		if has {
			scratch = media.AppendDecoded(scratch[:0], value)
			v = m.bytes(l, scratch)
		}
		scratch = media.AppendDecoded(scratch[:0], name)
		if !f(scratch, v) {
			return
		}
	}
}

// The content types that get_body reads.
const (
	formType      = "application/x-www-form-urlencoded"
	jsonType      = "application/json"
	multipartType = "multipart/form-data"
)

// getBody is kong.request.get_body.
func (m *machine) getBody(l *glua.LState) int {
	r := m.part(l, "kong.request.get_body")
	header := string(r.Header("content-type"))
	contentType := header
	if l.Get(1) != glua.LNil {
		contentType = stringArgument(l, 1, "mimetype")
	}
	if contentType == "" {
		l.Push(glua.LNil)
		l.Push(glua.LString("missing content type"))
		return 2
	}
	t, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	var v glua.LValue
	var bad string
	switch {
	case strings.HasPrefix(t, formType):
		t = formType
		v = m.arguments(l, r.Body, optionalNumber(l, 2, "max_args", defaultLimit))
	case strings.HasPrefix(t, jsonType):
		t = jsonType
		d, err := m.decode(l, string(r.Body), m.arrays, 0)
		table, ok := d.(*glua.LTable)
		if v = table; err != nil || !ok {
			bad = "invalid json body"
		}
	case strings.HasPrefix(t, multipartType):
		t = multipartType
		if !strings.Contains(strings.ToLower(contentType), "boundary") {
			contentType = header
		}
		v, bad = m.multipart(l, r.Body, []byte(contentType))
	default:
		bad = fmt.Sprintf("unsupported content type '%.200s'", contentType)
	}
	if bad != "" {
		l.Push(glua.LNil)
		l.Push(glua.LString(bad))
	} else {
		l.Push(v)
		l.Push(glua.LNil)
	}
	l.Push(glua.LString(t))
	return 3
}

// multipart returns the parts of a body as a table.
func (m *machine) multipart(l *glua.LState, body, contentType []byte) (t *glua.LTable, bad string) {
	sandbox.Charge(l, 2+len(body)/64, tableBytes)
	boundary := media.Boundary(contentType)
	if boundary == nil {
		return nil, "unable to decode multipart body"
	}
	t = l.CreateTable(0, 0)
	var parts media.Parts
	if !parts.Start(body, media.AppendDelimiter(nil, boundary)) {
		return nil, "unable to read multipart values"
	}
	for n := 0; !parts.Closed(); n++ {
		name, content, ok := parts.Next()
		if !ok {
			return nil, "unable to read multipart values"
		}
		if len(name) > 0 && n < media.MaxPairs {
			m.addValue(l, t, name, m.bytes(l, content))
		}
	}
	return t, ""
}
