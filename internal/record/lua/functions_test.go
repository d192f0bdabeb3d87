package lua

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

func TestChunksThatAreNoFunctions(t *testing.T) {
	for chunk, want := range map[string]string{
		"return function(":                    "function 2, line 1: syntax error near the end",
		"\n\nreturn )":                        "function 2, line 3: syntax error near ')'",
		"":                                    "function 2, line 1: the chunk must return a function, such as: return function(message) return message end; it returned nothing",
		"return 1":                            "function 2, line 1: the chunk must return a function, such as: return function(message) return message end; it returned a number",
		"return {}":                           "function 2, line 1: the chunk must return a function, such as: return function(message) return message end; it returned a table",
		"local x = y.z\nreturn x":             "function 2, line 1: attempt to index a nil value",
		"while true do end":                   "function 2, line 1: the function did more work than it may",
		"local m = kong.request.get_method()": "function 2, line 1: kong.request.get_method is not available while a chunk is loaded: use it in the function that the chunk returns",
		"\nrequire 'socket'":                  "function 2, line 2: module 'socket' is not available in message functions",
	} {
		_, err := Compile([]string{"return function() end", chunk}, Options{})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", chunk, err, want)
		}
	}
}

func TestFunctionsAreReducedInTheirOrder(t *testing.T) {
	add := func(s string) string {
		return `return function(message) message.order = (message.order or "") .. "` + s + `" return message end`
	}
	identity := `return function(message) return message end`
	for want, chunks := range map[string][]string{
		`{"order":"abc","a":1}`: {add("a"), add("b"), identity, add("c")},
		`final {"a":1}!`:        {`return function(message) return message.body end`, `return function(text) return text .. "!" end`},
		`{"order":"x","k":[]}`:  {`return function(m) return m.body_args end`, add("x")},
		`3`:                     {`return function() return 1 end`, `return function(n) return n + 2 end`},
		`skipped`:               {`return function() return kafka.skip end`, `return function() error("not called") end`},
		`{"a":{"b":[]}}`:        {`return function() return {a = {b = setmetatable({}, require("cjson").array_mt)}} end`, identity},
		`final x`:               {`return function() return "x" end`, identity},
		`true`:                  {`return function(m) return m.a == 1 end`},
	} {
		message := `{"a":1}`
		switch {
		case strings.Contains(chunks[0], "message.body"):
			message = `{"body":"{\"a\":1}"}`
		case strings.Contains(chunks[0], "body_args"):
			message = `{"body_args":{"k":[]}}`
		}
		if got := result(t, message, chunks...); got != want {
			t.Errorf("%s became %s, want %s", message, got, want)
		}
	}
}

// These must cost no Lua: machines are not asked for.
func TestShapesThatNeedNoLua(t *testing.T) {
	for chunk, want := range map[string]kind{
		"return function(message) return message end":          identity,
		"return function(m) return m end":                      identity,
		"-- c\nreturn  function ( m )\n\treturn m; -- c\nend;": identity,
		"return function(m, more) return (m) end":              identity,
		"return function(message) return message.body end":     field,
		`return function(x) return x["body_args"] end`:         field,
		"return function(m) return m.headers end":              other,
		"return function(m) return n end":                      other,
		"return function(m) return m, 1 end":                   other,
		"return function(m, m) return m end":                   other,
		"return function(...) return ... end":                  other,
		"local x = 1 return function(m) return m end":          other,
		"return function(m) return m.body:upper() end":         other,
		"local function f(m) return m end return f":            other,
		"return function(m) do return m end end":               other,
	} {
		f := compile(t, chunk)
		if got := f.chunks[0].kind; got != want {
			t.Errorf("%s is %d", chunk, got)
		}
		if want == other {
			continue
		}
		f.machines = sync.Pool{}
		f.max = -1 // a machine would find each result too large
		d := draft(t, exampleRequest())
		if err := f.Transform(d); err != nil {
			t.Errorf("%s: %v", chunk, err)
		}
	}
	if got := result(t, `{"method":"GET"}`, "return function(m) return m.body end"); got != "message function failed: function 1 returned nil, which is no message; to send nothing, return kafka.skip" {
		t.Error(got)
	}
	d, err := transform(t, exampleRequest(), "return function(m) return m.body end")
	if err != nil || !d.Final || string(d.Message) != exampleBody {
		t.Errorf("%s, %v", d.Message, err)
	}
}

func TestFieldsThatFunctionsUse(t *testing.T) {
	for body, want := range map[string]shape{
		`m.a = 1 return m`: {fields: []string{"a"}},
		`local h = m and m.headers; if h then h.x = nil end return m`:  {fields: []string{"headers"}},
		`if m and m.a == nil then return m end return nil`:             {fields: []string{"a"}},
		`if m ~= nil and not m then return m.b end`:                    {fields: []string{"b"}},
		`return {a = m.body, b = m.uri}`:                               {fields: []string{"body", "uri"}},
		`for k in pairs(m.headers) do m.headers[k] = nil end return m`: {fields: []string{"headers"}},
		`pcall(function() m.a = 1 end) return m`:                       {fields: []string{"a"}},
		`while m do m.a() end`:                                         {fields: []string{"a"}},
		`m["a"] = m["b"] return m`:                                     {fields: []string{"a", "b"}},
		`return 1`:                                                     {},
		`local x = m return x`:                                         {whole: true},
		`return {m = m}`:                                               {whole: true},
		`for k in pairs(m) do end return m`:                            {whole: true},
		`m[k] = 1 return m`:                                            {whole: true},
		`return m or {}`:                                               {whole: true},
		`m = {} return m`:                                              {whole: true},
		`local function f() return m end return f()`:                   {whole: true},
		`for m = 1, 2 do end return m`:                                 {whole: true},
		`for _, m in pairs({}) do end`:                                 {whole: true},
		`local m = 1 return m`:                                         {whole: true},
		`local f = function(m) end return m`:                           {whole: true},
		`f(m) return m`:                                                {whole: true},
		`m:f() return m`:                                               {whole: true},
		`return m, 1`:                                                  {whole: true},
		`return function() return m end`:                               {whole: true},
		`x = m`:                                                        {whole: true},
		`repeat return m until m`:                                      {whole: true},
		`while true do return m end`:                                   {whole: true},
		`return #m`:                                                    {whole: true},
		`return m == {m}`:                                              {whole: true},
		`return m < m`:                                                 {whole: true},
		`return {[m] = 1}`:                                             {whole: true},
		`return m.a[m]`:                                                {whole: true},
		`return "x" .. m`:                                              {whole: true},
		`return -m + m`:                                                {whole: true},
		`function m.f() end return m`:                                  {fields: []string{"f"}},
		`function m() end return m`:                                    {whole: true},
	} {
		f := compile(t, "return function(m) "+body+" end")
		if got := f.chunks[0].shape; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", body, got, want)
		}
	}
}

func TestNeedsAreWhatSourcesName(t *testing.T) {
	fact := func(call string) request.Fact { return value(call, nil).Fact }
	for body, want := range map[string]request.Fields{
		`return m`: {},
		`m.c = kong.client.get_consumer() return m`:               {Facts: []request.Fact{fact("kong.client.get_consumer")}},
		`return kong.request.get_method()`:                        {Method: true},
		`return kong.request.get_header("a")`:                     {Headers: true},
		`return kong.request.get_body()`:                          {Headers: true, Body: true, MaxBody: 7},
		`return ngx.req.get_uri_args()`:                           {Query: true},
		`local r = kong.request return r.get_path_with_query()`:   {URI: true},
		`local get = kong.client.get_ip return get()`:             {Facts: []request.Fact{fact("kong.client.get_ip")}},
		`local k = kong local c = k.client return c.get_ip()`:     {Facts: []request.Fact{fact("kong.client.get_ip")}},
		`local t = {kong.router} return t[1].get_route()`:         {Facts: []request.Fact{fact("kong.router.get_route")}},
		`return (function(k) return k.client.get_ip() end)(kong)`: {Facts: []request.Fact{fact("kong.client.get_ip")}},
		`return kong.client.get_credential().id`:                  {Facts: []request.Fact{fact("kong.client.get_credential")}},
		`return kong["client"]["get_ip"]()`:                       {Facts: []request.Fact{fact("kong.client.get_ip")}},
		`return kong.ctx.shared.user.name`:                        {Facts: []request.Fact{fact("kong.ctx.shared.get user")}},
		`local s = kong.ctx.shared return s["user"]`:              {Facts: []request.Fact{fact("kong.ctx.shared.get user")}},
		`return ngx.ctx.x`:                                        {Facts: []request.Fact{fact("kong.nginx.get_ctx x")}},
		`local var = ngx.var return var.host .. ngx.var.uri`:      {Facts: []request.Fact{fact("kong.nginx.get_var host"), fact("kong.nginx.get_var uri")}},
		`return kong.nginx.get_var("host")`:                       {Facts: []request.Fact{fact("kong.nginx.get_var host")}},
		`local v = kong.nginx.get_var return v("host")`:           {Facts: []request.Fact{fact("kong.nginx.get_var host")}},
		`return kong.request.get_id()`:                            {Facts: []request.Fact{requestID}},
		`return kong.request.get_start_time()`:                    {Facts: []request.Fact{startTime}},
		`kong.log.err("x") return kong.ctx.plugin.a`:              {},
		`return kong.client.load_consumer("x")`:                   {},
		`return ngx.var[name]`:                                    {},
		`return "\x41" .. kong.client.get_ip()`:                   {Facts: []request.Fact{fact("kong.client.get_ip")}},
	} {
		f, err := Compile([]string{"return function(m) " + body + " end"}, Options{MaxValue: 7})
		if err != nil {
			t.Errorf("%s: %v", body, err)
		} else if got := f.Needs(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", body, got, want)
		}
	}
	f := compile(t, `return function() return kong.client.get_ip() end`, `return function() return kong.request.get_method() .. kong.client.get_ip() end`)
	if got := f.Needs(); !reflect.DeepEqual(got, request.Fields{Method: true, Facts: []request.Fact{fact("kong.client.get_ip")}}) {
		t.Errorf("%+v", got)
	}
}

func TestErrorsSayWhere(t *testing.T) {
	for body, want := range map[string]string{
		"error('no')":       "function 2, line 2: no",
		"error({})":         "function 2: error object is a table value",
		"error('no', 0)":    "function 2: no",
		"error('no', -1)":   "function 2: no",
		"return m.x.y":      "function 2, line 2: attempt to index a nil value with key 'y'",
		"while true do end": "function 2, line 2: the function did more work than it may",
		"local t = {} while true do t = {t, {}, {}} end":     "function 2, line 2: the function did more work than it may",
		"return ('x'):rep(1e9)":                              "function 2, line 2: the function used more memory than it may",
		"return kong.request.foo()":                          "function 2, line 2: kong.request.foo is not available in message functions",
		"return kong.version":                                "function 2, line 2: kong.version is not available in message functions",
		"kong.response.exit(200)":                            "function 2, line 2: kong.response.exit is not available in message functions: a function cannot answer the request; raise an error with error(...), or send nothing with: return kafka.skip",
		"local a = '10.0.0.1' return kong.ip.is_trusted(a)":  `function 2, line 2: whether this address is trusted is not known here, because no function names it: Kong is asked for what the functions' sources name, so write the name literally, such as kong.ip.is_trusted("10.0.0.1")`,
		"return kong.ip.is_trusted('x')":                     `function 2, line 2: whether this address is trusted is not known here, because no function names it: Kong is asked for what the functions' sources name, so write the name literally, such as kong.ip.is_trusted("10.0.0.1")`,
		"return kong.client.load_consumer('x')":              "function 2, line 2: kong.client.load_consumer is not available in message functions: a message function cannot ask Kong while it runs; kong.client.get_consumer has the consumer of the request",
		"local n = 'get_ip' return kong.client[n]()":         "function 2, line 2: kong.client.get_ip is not known here, because no function names it: Kong is asked for what the functions' sources name, so write the name literally, such as kong.client.get_ip()",
		"local n = 'get_header' return kong.request[n]('a')": "function 2, line 2: kong.request.get_header is not known here, because no function names it: Kong is asked for what the functions' sources name, so write the name literally, as kong.request.get_header(...)",
		"local n = 'host' return ngx.var[n]":                 `function 2, line 2: this variable of nginx is not known here, because no function names it: Kong is asked for what the functions' sources name, so write the name literally, such as ngx.var.NAME or kong.nginx.get_var("NAME")`,
		"local n = 'x' return kong.ctx.shared[n]":            "function 2, line 2: this member of kong.ctx.shared is not known here, because no function names it: Kong is asked for what the functions' sources name, so write the name literally, such as kong.ctx.shared.NAME",
		"for k in pairs(kong.ctx.shared) do end":             "function 2, line 2: the members of kong.ctx.shared cannot be listed in message functions: name the one that you want",
		"kong.ctx.shared[1] = 2":                             "function 2, line 2: the members of kong.ctx.shared have names in message functions: use a string",
		"ngx.var.x = 1":                                      "function 2, line 2: ngx.var cannot be changed",
		"ngx.header.x = 1":                                   "function 2, line 2: ngx.header cannot be changed",
		"return ngx.arg[1]":                                  "function 2, line 2: ngx.arg is not available in message functions: they run before there is an answer",
		"ngx.say('x')":                                       "function 2, line 2: ngx.say is not available in message functions",
		"kong.request.get_header(1)":                         "function 2, line 2: header name must be a string",
		"kong.request.get_headers('x')":                      "function 2, line 2: max_headers must be a number",
		"kong.request.get_headers(0)":                        "function 2, line 2: max_headers must be >= 1",
		"kong.request.get_query(1001)":                       "function 2, line 2: max_args must be <= 1000",
		"kong.request.get_query_arg()":                       "function 2, line 2: query argument name must be a string",
		"kong.client.get_protocol(true)":                     "function 2, line 2: kong.client.get_protocol takes no argument in message functions",
		"kong.request.get_header = 1":                        "function 2, line 2: kong.request cannot be changed",
		"ngx.log(9, 'x')":                                    "function 2, line 2: bad log level: 9",
		"ngx.log(ngx.ERR, {})":                               "function 2, line 2: bad argument #2 to 'log' (expected table to have __tostring metamethod)",
	} {
		d := &record.Draft{Request: exampleRequest(), Message: []byte(`{"a":1}`)}
		err := compile(t, "return function(m) return m end", "return function(m)\n"+body+"\nend").Transform(d)
		if got := reason(t, err); got != want {
			t.Errorf("%s:\n got %s\nwant %s", body, got, want)
		}
	}
}

func TestLogOfFunctions(t *testing.T) {
	d, err := transform(t, exampleRequest(), `return function(m)
		kong.log("a", 1, nil, true); kong.log.debug("b"); kong.log.info("c"); kong.log.notice("d"); kong.log.warn("e"); kong.log.err("f", 1.5)
		kong.log.crit("g"); kong.log.alert("h"); kong.log.emerg("i"); ngx.log(ngx.WARN, "j", nil, false, 2); ngx.log(ngx.STDERR, "k"); print("l", 1)
		kong.log.inspect({a = {1}}, "x", print == print)
		return m end`)
	var got []string
	for _, line := range d.Log {
		got = append(got, line.Level+" "+line.Text)
	}
	want := []string{"notice a1niltrue", "debug b", "info c", "notice d", "warn e", "err f1.5", "crit g", "alert h", "emerg i",
		"warn jnilfalse2", "emerg k", "notice l\t1", `debug {"a":[1]} "x" true`}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLogIsBounded(t *testing.T) {
	d, err := transform(t, exampleRequest(), `return function(m) for i = 1, 25 do kong.log.err(("ä"):rep(5000)) end error("end") end`)
	if err == nil || len(d.Log) != maxLines+1 {
		t.Fatalf("%d lines, %v", len(d.Log), err)
	}
	for _, line := range d.Log[:maxLines] {
		if len(line.Text) > maxLine+10 || !strings.HasSuffix(line.Text, "…") {
			t.Errorf("%d bytes: %.20q", len(line.Text), line.Text)
		}
	}
	if last := d.Log[maxLines]; last != (record.LogLine{Level: "warn", Text: "5 more lines that message functions logged for this request were left out"}) {
		t.Errorf("%+v", last)
	}
}

func TestFactsInFunctions(t *testing.T) {
	r := exampleRequest()
	r.Facts = []request.FactValue{
		value("kong.client.get_consumer", alice), value("kong.client.get_credential", nil),
		value("kong.ctx.shared.get user", map[string]any{"name": "bob", "roles": []any{"a", "b"}}), value("kong.ctx.shared.get none", nil),
		value("kong.nginx.get_ctx x", 1.5), value("kong.client.get_protocol", "https"),
		value("kong.ip.is_trusted 10.0.0.1", true), value("kong.ip.is_trusted ::1", false),
		value("kong.request.get_uri_captures", map[string]any{"named": map[string]any{"region": "eu"}, "unnamed": []any{"eu"}}),
	}
	for expression, want := range map[string]string{
		`kong.client.get_consumer().username`:                                                     `final alice`,
		`tostring(kong.client.get_credential())`:                                                  `final nil`,
		`kong.ctx.shared.user.name .. #kong.ctx.shared.user.roles`:                                `final bob2`,
		`tostring(kong.ctx.shared.none)`:                                                          `final nil`,
		`(function() kong.ctx.shared.user.name = "x" return kong.ctx.shared.user.name end)()`:     `final x`,
		`(function() kong.ctx.shared.user = nil return tostring(kong.ctx.shared.user) end)()`:     `final nil`,
		`(function() local n = "dynamic" kong.ctx.shared[n] = 1 return kong.ctx.shared[n] end)()`: `1`,
		`(function() kong.ctx.plugin.a = 1 return kong.ctx.plugin.a end)()`:                       `1`,
		`tostring(kong.ctx.plugin.a)`:                                                             `final nil`,
		`ngx.ctx.x`:                                                                               `1.5`,
		`kong.client.get_protocol()`:                                                              `final https`,
		`kong.ip.is_trusted("10.0.0.1")`:                                                          `true`,
		`(function() local ip = kong.ip return ip.is_trusted "::1" end)()`:                        `false`,
		`kong.request.get_uri_captures()`:                                                         `{"named":{"region":"eu"},"unnamed":["eu"]}`,
		`kong.request.get_uri_captures().unnamed[1]`:                                              `final eu`,
		`kong.plugin.get_id()`:                                                                    `final plugin-id`,
		`type(kong.node.get_hostname())`:                                                          `final string`,
		`kong.table.merge({a=1,b=1}, {b=2})`:                                                      `{"a":1,"b":2}`,
		`(function() local t = {1,a=2} kong.table.clear(t) return t end)()`:                       `{}`,
		`kong.table.new(1, 2)`:                                                                    `{}`,
		`select(2, pcall(kong.table.clear, string))`:                                              `final string cannot be changed`,
		`ngx.status`:                       `0`,
		`m.headers["X-Consumer-Username"]`: `final alice`,
		`m.headers.x_consumer_username`:    `final alice`,
	} {
		d := draft(t, r)
		err := compile(t, `return function(m) return `+expression+` end`).Transform(d)
		got := string(d.Message)
		if d.Final {
			got = "final " + got
		}
		if err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", expression, got, err, want)
		}
	}
}

func TestGetBody(t *testing.T) {
	for _, row := range []struct{ contentType, body, arguments, want string }{
		{"application/json", `{"a":[],"n":1.10}`, "", `[{"a":[],"n":1.10},null,"application/json"]`},
		{"Application/JSON; charset=utf-8", `[1]`, "", `[[1],null,"application/json"]`},
		{"application/json", `5`, "", `[null,"invalid json body","application/json"]`},
		{"application/json", `{`, "", `[null,"invalid json body","application/json"]`},
		{"application/x-www-form-urlencoded", `a=1&b&a=%41+&=x`, "", `[{"a":["1","A "],"b":true},null,"application/x-www-form-urlencoded"]`},
		{"text/plain", `a=1`, `"application/x-www-form-urlencoded"`, `[{"a":"1"},null,"application/x-www-form-urlencoded"]`},
		{"application/x-www-form-urlencoded", `a=1&b=2`, "nil, 1", `[{"a":"1"},null,"application/x-www-form-urlencoded"]`},
		{"multipart/form-data; boundary=X", "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X--\r\n", "", `[{"a":"1"},null,"multipart/form-data"]`},
		{"multipart/form-data; boundary=X", "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X--\r\n", `"multipart/form-data"`, `[{"a":"1"},null,"multipart/form-data"]`},
		{"multipart/form-data", "", "", `[null,"unable to decode multipart body","multipart/form-data"]`},
		{"multipart/form-data; boundary=X", "--X\r\n", "", `[null,"unable to read multipart values","multipart/form-data"]`},
		{"text/plain", "x", "", `[null,"unsupported content type 'text/plain'","text/plain"]`},
		{"", "x", "", `[null,"missing content type"]`},
	} {
		r := &request.Request{Body: []byte(row.body), Headers: []request.Header{{Name: []byte("content-type"), Value: []byte(row.contentType)}}}
		d := &record.Draft{Request: r, Message: []byte("{}")}
		err := compile(t, `return function() local a, b, c = kong.request.get_body(`+row.arguments+`) return {a, b, c} end`).Transform(d)
		if err != nil || string(d.Message) != row.want {
			t.Errorf("%s %q: %s, %v; want %s", row.contentType, row.body, d.Message, err, row.want)
		}
	}
}

func TestResultsAreBounded(t *testing.T) {
	for chunk, want := range map[string]error{
		`return function(m) return ("x"):rep(100) end`:                                  nil,
		`return function(m) return ("x"):rep(101) end`:                                  request.ErrTooLarge,
		`return function(m) return {("x"):rep(96)} end`:                                 nil,
		`return function(m) return {("x"):rep(97)} end`:                                 request.ErrTooLarge,
		`return function(m) local t = {} for i = 1, 100 do t = {t, t} end return t end`: request.ErrTooLarge,
	} {
		f, err := Compile([]string{chunk}, Options{MaxValue: 100})
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Transform(&record.Draft{Request: &request.Request{}, Message: []byte("{}")}); got != want {
			t.Errorf("%s: %v", chunk, got)
		}
	}
	// What is not touched counts too.
	f, err := Compile([]string{`return function(m) m.a = 1 return m end`}, Options{MaxValue: 100})
	if err != nil {
		t.Fatal(err)
	}
	d := &record.Draft{Request: &request.Request{}, Message: []byte(`{"b":"` + strings.Repeat("x", 100) + `"}`)}
	if got := f.Transform(d); got != request.ErrTooLarge {
		t.Error(got)
	}
	// A message of a few MiB can mean a hundred times as much.
	d = &record.Draft{Request: &request.Request{}, Message: []byte(`[` + strings.Repeat(`{},`, 1<<20) + `1]`)}
	if got := reason(t, compile(t, whole).Transform(d)); !strings.Contains(got, "more memory than a function may use") {
		t.Error(got)
	}
}

func TestRequestsDoNotShareTheirTables(t *testing.T) {
	f := compile(t, `return function(m) kong.ctx.plugin.n = (kong.ctx.plugin.n or 0) + 1; ngx.ctx.m = (ngx.ctx.m or 0) + 1
		return {kong.ctx.plugin.n, ngx.ctx.m} end`)
	for range 3 {
		d := &record.Draft{Request: &request.Request{Facts: []request.FactValue{value("kong.nginx.get_ctx m", nil)}}, Message: []byte("{}")}
		if err := f.Transform(d); err != nil || string(d.Message) != "[1,1]" {
			t.Errorf("%s, %v", d.Message, err)
		}
	}
}

func ExampleFunctions_Transform() {
	f, err := Compile([]string{`return function(message)
		message.headers.authorization = nil
		message.client = kong.client.get_ip()
		return message
	end`}, Options{MaxValue: 1 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	d := &record.Draft{
		Request: &request.Request{Facts: []request.FactValue{{Fact: request.Fact{Call: "kong.client.get_ip"}, Value: "192.0.2.1"}}},
		Message: []byte(`{"headers":{"host":"a","authorization":"b"},"body":"c"}`),
	}
	fmt.Println(f.Transform(d), string(d.Message))
	// Output: <nil> {"headers":{"host":"a"},"client":"192.0.2.1","body":"c"}
}

// What of ngx needs no request is there beside what does.
func TestNgxIsWhole(t *testing.T) {
	for expression, want := range map[string]string{
		`ngx.decode_base64(ngx.encode_base64("a/b"))`: `final a/b`,
		`ngx.md5("a")`:                                   `final 0cc175b9c0f1b6a831c399e269772661`,
		`type(ngx.now())`:                                `final number`,
		`ngx.null == require("cjson").null`:              `true`,
		`{ngx.STDERR, ngx.ERR, ngx.DEBUG, ngx.HTTP_OK}`:  `[0,4,8,200]`,
		`ngx.re.match("a1", "[0-9]")[0]`:                 `final 1`,
		`#require("kong.tools.uuid").uuid()`:             `36`,
		`require("kong.tools.cjson").encode({a = "/"})`:  `final {"a":"\/"}`,
		`type(require("table.new")(1, 1))`:               `final table`,
		`tostring(pcall(function() return ngx.foo end))`: `final false`,
	} {
		if got := result(t, `{}`, `return function(m) return `+expression+` end`); got != want {
			t.Errorf("%s is %s, want %s", expression, got, want)
		}
	}
}

func BenchmarkNewMachine(b *testing.B) {
	f := compile(b, budgetExample)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := newMachine(f); err != nil {
			b.Fatal(err)
		}
	}
}

// A function may return the body, whose names are written as the client likes.
func TestFunctionsOfBodiesKnowNamesAndNumbersAsTheyAreWritten(t *testing.T) {
	const body = "return function(m) return m.body_args end"
	for _, row := range []struct{ message, chunk, want string }{
		{`{"body_args":{"\u0062ody":"x"}}`, "return function(m) return m.body end", "final x"},
		{`{"body_args":{"\u0062ody_args":1}}`, "return function(m) return m.body_args end", "1"},
		{`{"body_args":{"a":1,"\u0062":2}}`, "return function(m) return m.body end", "message function failed: function 2 returned nil, which is no message; to send nothing, return kafka.skip"},
		{`{"body_args":{"total":1.10,"rest":1E2}}`, "return function(m) m.new = m.total return m end", `{"total":1.10,"new":1.1,"rest":1E2}`},
		{`{"body_args":{"total":1.10,"rest":1E2}}`, "return function(m) m.total = m.total * 2 return m end", `{"total":2.2,"rest":1E2}`},
	} {
		if got := result(t, row.message, body, row.chunk); got != row.want {
			t.Errorf("%s %s:\n got %s\nwant %s", row.message, row.chunk, got, row.want)
		}
	}
}

func TestMachineKeepsNothingOfALargeMessage(t *testing.T) {
	for _, element := range []string{"1.0", "[]", `{"a":"b"}`} {
		f := compile(t, whole)
		m, err := newMachine(f)
		if err != nil {
			t.Fatal(err)
		}
		d := &record.Draft{Request: exampleRequest(), Message: []byte(`{"a":[` + element + strings.Repeat(","+element, 200_000) + `]}`)}
		_ = m.run(d, 0)
		m.end()
		if n := cap(m.decoder.stack); n > keepEntries || len(m.numbers)+len(m.seen) > 0 || cap(m.out) > keepBytes || m.decoder.s != "" || m.decoder.numbers != nil {
			t.Errorf("%s: it keeps a stack of %d, %d bytes", element, n, cap(m.out))
		}
	}
}
