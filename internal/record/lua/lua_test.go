package lua

import (
	"errors"
	"strings"
	"testing"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
)

// value is a fact of a test's request.
func value(call string, v any) request.FactValue {
	call, name, _ := strings.Cut(call, " ")
	return request.FactValue{Fact: request.Fact{Call: call, Name: name}, Value: v}
}

var alice = map[string]any{"id": "25f6b4ee-5e0c-4c4e-9b0e-5f1d4c1f7a3e", "created_at": 1741768764.0, "username": "alice"}

// exampleBody and exampleRequest are the request of the budget: 8 headers, and a message of
// about 640 bytes.
const exampleBody = `{"id":"o-1","total":12.5,"customer":{"name":"Ann","address":{"city":"Ulm","zip":"89073"}},"items":[{"sku":"a1","n":1},{"sku":"b2","n":2}],"tags":["x","y"]}`

func exampleRequest() *request.Request {
	h := func(name, v string) request.Header { return request.Header{Name: []byte(name), Value: []byte(v)} }
	return &request.Request{
		Method: []byte("POST"), URI: []byte("/orders?a=1"), Query: []byte("a=1"), Body: []byte(exampleBody),
		Headers: []request.Header{h("host", "localhost:8000"), h("user-agent", "curl/8.7.1"), h("accept", "*/*"),
			h("content-type", "application/json"), h("content-length", "154"), h("apikey", "secret"),
			h("x-consumer-id", "25f6b4ee-5e0c-4c4e-9b0e-5f1d4c1f7a3e"), h("x-consumer-username", "alice")},
		Facts: []request.FactValue{value("kong.client.get_consumer", alice)},
	}
}

func draft(t testing.TB, r *request.Request) *record.Draft {
	t.Helper()
	message, err := jsonmsg.Append(nil, r, request.Fields{Method: true, URI: true, Headers: true, Body: true})
	if err != nil {
		t.Fatal(err)
	}
	return &record.Draft{Request: r, Message: message}
}

func compile(t testing.TB, chunks ...string) *Functions {
	t.Helper()
	f, err := Compile(chunks, Options{MaxValue: 1 << 20, PluginID: "plugin-id"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// transform passes the message of r through functions.
func transform(t testing.TB, r *request.Request, chunks ...string) (*record.Draft, error) {
	t.Helper()
	d := draft(t, r)
	return d, compile(t, chunks...).Transform(d)
}

// result is what a function makes of a message, or its error.
func result(t testing.TB, message string, chunks ...string) string {
	t.Helper()
	d := &record.Draft{Request: &request.Request{}, Message: []byte(message)}
	if err := compile(t, chunks...).Transform(d); err != nil {
		return err.Error()
	}
	if d.Skip {
		return "skipped"
	}
	if d.Final {
		return "final " + string(d.Message)
	}
	return string(d.Message)
}

func TestExamplesOfKong(t *testing.T) {
	const message = `{"method":"GET","headers":{"accept":"*/*","apikey":"k","host":"localhost:8000"},"uri":"/kafka","uri_args":{},"body":"{\"a\":[]}","body_args":{"a":[]},"body_base64":true}`
	const redacted = `{"headers":{"accept":"*/*","apikey":"[REDACTED]","host":"localhost:8000"},"method":"GET","uri":"/kafka","uri_args":{},"body":"{\"a\":[]}","body_args":{"a":[]},"body_base64":true}`
	for _, row := range []struct{ name, chunk, message, want string }{
		{"nothing", `return function(message) return message end`, message, message},
		{"fixed table", `return function(message) return {a="1", b="2"} end`, message, `{"a":"1","b":"2"}`},
		{"finished text", `return function(message) return [[{"a":"1","b":"2"}]] end`, message, `final {"a":"1","b":"2"}`},
		{"redact a header", `return function(message) local headers = message and message.headers; local apikey = headers and headers.apikey; if apikey then headers.apikey = "[REDACTED]" end; return message end`, message, redacted},
		{"no consumer", `return function(message) message.consumer = nil return message end`, `{"method":"GET"}`, `{"method":"GET"}`},
		{"raw body", `return function(message) return message.body end`, message, `final {"a":[]}`},
		{"parsed body", `return function(message) return message.body_args end`, message, `{"a":[]}`},
		{"JSON of kafka-consume", `local json = require("cjson.safe")
			return function(m) if type(m) ~= "table" or type(m.value) ~= "string" then return m end
			m.decoded = json.decode(m.value) or nil return m end`, `{"value":"{\"a\":[1,{}]}"}`, `{"value":"{\"a\":[1,{}]}","decoded":{"a":[1,{}]}}`},
		{"filter of kafka-consume", `return function(m) if m.value == nil or (type(m.value)=="string" and #m.value==0) then return nil end return m end`, `{"value":"x"}`, `{"value":"x"}`},
		{"filter of kafka-consume, filtered", `return function(m) if m.value == nil or (type(m.value)=="string" and #m.value==0) then return nil end return m end`, `{"value":""}`, "message function failed: function 1 returned nil, which is no message; to send nothing, return kafka.skip"},
		{"guard of kafka-consume", `return function(message) message = type(message) == "table" and message or {value = message} return message end`, `{"a":1}`, `{"a":1}`},
	} {
		if got := result(t, row.message, row.chunk); got != row.want {
			t.Errorf("%s:\n got %s\nwant %s", row.name, got, row.want)
		}
	}
	d, err := transform(t, exampleRequest(), consumerExample)
	if err != nil || !strings.HasPrefix(string(d.Message), `{"consumer":{`) || !strings.Contains(string(d.Message), `"username":"alice"`) || !strings.HasSuffix(string(d.Message), `"tags":["x","y"]}}`) {
		t.Errorf("%s, %v", d.Message, err)
	}
}

const (
	consumerExample = `return function(message) message.consumer = kong.client.get_consumer(); return message end`
	budgetExample   = `return function(message)
  message.consumer = kong.client.get_consumer()
  local headers = message and message.headers
  local apikey = headers and headers.apikey
  if apikey then headers.apikey = "[REDACTED]" end
  return message
end`
)

func BenchmarkConsumerAndRedact(b *testing.B) {
	f := compile(b, budgetExample)
	r := exampleRequest()
	d := draft(b, r)
	message := append([]byte(nil), d.Message...)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		d.Message, d.Log = append(d.Message[:0], message...), nil
		if err := f.Transform(d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWhole(b *testing.B) {
	f := compile(b, `return function(message) local m = message return m end`)
	r := exampleRequest()
	d := draft(b, r)
	message := append([]byte(nil), d.Message...)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		d.Message = append(d.Message[:0], message...)
		if err := f.Transform(d); err != nil {
			b.Fatal(err)
		}
	}
}

func reason(t *testing.T, err error) string {
	t.Helper()
	var e *record.TransformError
	if !errors.As(err, &e) {
		t.Fatalf("%v is no TransformError", err)
	}
	return e.Reason
}
