package e2e

import (
	"fmt"
	"strings"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"

	"kafka-upstream/internal/test/kongsim"
)

var features = []feature{
	{name: "topics_query_arg", topics: []string{"q-a", "q-b"}, config: map[string]any{
		"value_format": "body", "topics_query_arg": "to", "allowed_topics": []string{"q-a", "q-b"},
	}, sent: []sent{
		{target: "/", body: "1"},
		{target: "/?to=q-a,%20q-b,,q-a", body: "2"},
		{target: "/?to=q-b&to=topics_query_arg", body: "3"},
		{target: "/?to=q-a,elsewhere", body: "4", status: 502, answer: notAllowed},
		{target: "/?to=" + manyTopics(101), body: "5", status: 400, answer: bad("too many topics")},
	}, want: []string{"null 1", "null 3", "q-a: null 2", "q-b: null 2", "q-b: null 3"}},

	{name: "topic-template", path: "~/(?<region>[a-z]+)/(?<kind>[a-z]+)?", topics: []string{"in-eu-x", "in-us-x"}, config: map[string]any{
		"value_format": "body", "topic": "in-{uri_capture.region}-{uri_capture.kind}", "allowed_topics": []string{"in-eu-x", "in-us-x"},
	}, sent: []sent{
		{target: "/eu/x", body: "1"},
		{target: "/us/x", body: "2"},
		{target: "/cn/x", body: "3", status: 502, answer: notAllowed},
		{target: "/eu/", body: "4", status: 400, answer: bad("the request lacks a part of its topic")},
	}, want: []string{"in-eu-x: null 1", "in-us-x: null 2"}},

	{name: "key_query_arg", config: map[string]any{"value_format": "body", "key_query_arg": "k"}, sent: []sent{
		{target: "/?k=c%2042+", body: "1"},
		{target: "/?k=first&k=second", body: "2"},
		{target: "/?k=", body: "3"},
		{target: "/?k", body: "4"},
		{target: "/", body: "5"},
	}, want: []string{`c 42  1`, `first 2`, `"" 3`, `null 4`, `null 5`}},

	key("query_arg", kongsim.Facts{}, part("query_arg", "k"), sent{target: "/?k=a%2Cb", body: "1"}, "a,b"),
	key("header", kongsim.Facts{}, part("header", "X-Key"), sent{target: "/", headers: []string{"x-key: one", "x-key: two"}, body: "1"}, "one"),
	key("json", kongsim.Facts{}, part("body", "/order/items/1/id"), sent{target: "/", headers: []string{"content-type: application/json"},
		body: `{"order":{"items":[{"id":1},{"id":12345678901234567890.0}]}}`}, "12345678901234567890.0"),
	key("form", kongsim.Facts{}, part("body", "id"), sent{target: "/", headers: []string{"content-type: application/x-www-form-urlencoded"}, body: "a=1&id=%C3%A9"}, "é"),
	key("consumer-id", anna, part("consumer", "id"), sent{target: "/", body: "1"}, "25f6c9b0"),
	key("consumer-username", anna, part("consumer", "username"), sent{target: "/", body: "1"}, "anna"),
	key("consumer-custom_id", anna, part("consumer", "custom_id"), sent{target: "/", body: "1"}, "C-7"),
	key("constant", kongsim.Facts{}, part("constant", "all"), sent{target: "/", body: "1"}, "all"),

	{name: "record_key", path: "~/orders/(?<region>[a-z]+)/([0-9]+)", facts: anna, config: map[string]any{
		"value_format": "body", "record_key": map[string]any{"separator": "/", "parts": []any{
			part("uri_capture", "region"), part("uri_capture", "2"), part("consumer", "username"), part("query_arg", "k")}},
	}, sent: []sent{
		{target: "/orders/eu/17?k=x", body: "1"},
		{target: "/orders/eu/17", body: "2"},
	}, want: []string{"eu/17/anna/x 1", "null 2"}},

	{name: "record_key-required", config: map[string]any{
		"value_format": "body", "record_key": map[string]any{"required": true, "parts": []any{part("body", "/id")}},
	}, sent: []sent{
		{target: "/", headers: []string{"content-type: application/json"}, body: `{"id":"a"}`},
		{target: "/", headers: []string{"content-type: application/json"}, body: `{"id":null}`, status: 400, answer: bad("the request lacks a part of its record key")},
		{target: "/", headers: []string{"content-type: application/json"}, body: `{"id":`, status: 400, answer: bad("invalid json body")},
		{target: "/", headers: []string{"content-type: text/plain"}, body: "id", status: 400, answer: bad("the request lacks a part of its record key")},
	}, want: []string{`a {"id":"a"} content-type=application/json`}},

	{name: "headers-allowlist", config: map[string]any{"headers": map[string]any{
		"include_headers": []string{"X-Request-Id", "x-tenant"}, "name_mappings": map[string]any{"x-tenant": "tenant", "x-other": "other"},
		"repeated_headers_behavior": "concatenate_by_comma",
	}}, sent: []sent{
		{target: "/", headers: []string{"x-request-id: 1", "x-tenant: a", "x-tenant: b", "x-other: no", "content-type: text/plain"}, body: "x"},
	}, want: []string{`null {"body":"x","body_args":{}} x-request-id=1 tenant=a,b`}},

	{name: "headers-blocklist", config: map[string]any{"headers": map[string]any{
		"forward_all_by_default": true, "exclude_headers": []string{"Authorization", "host", "user-agent", "accept-encoding", "content-length"},
	}}, sent: []sent{
		{target: "/", headers: []string{"authorization: secret", "x-b: 1", "x-b: 2", "content-type: text/plain"}, body: "x"},
	}, want: []string{`null {"body":"x","body_args":{}} content-type=text/plain x-b=1 x-b=2`}},

	{name: "headers-take_first", config: map[string]any{"headers": map[string]any{
		"include_headers": []string{"x-b"}, "repeated_headers_behavior": "take_first",
	}}, sent: []sent{{target: "/", headers: []string{"x-b: 1", "x-b: 2", "content-type: text/plain"}, body: "x"}},
		want: []string{`null {"body":"x","body_args":{}} x-b=1`}},

	{name: "exclude_headers", config: map[string]any{
		"forward_headers": true, "forward_body": false, "exclude_headers": []string{"Authorization", "cookie", "host", "user-agent", "accept-encoding", "content-length"},
	}, sent: []sent{{target: "/", headers: []string{"authorization: secret", "cookie: secret", "x-a: 1"}}},
		want: []string{`null {"headers":{"x-a":"1"}}`}},

	{name: "value_format", config: map[string]any{"value_format": "body"}, sent: []sent{
		{target: "/", headers: []string{"content-type: application/octet-stream"}, body: "\x00\xff{not json"},
		{target: "/", headers: []string{"content-type: application/json", "content-encoding: gzip"}, body: "\x1f\x8b"},
		{target: "/", headers: []string{"content-type: application/json"}, body: "{not json"},
		{target: "/", headers: []string{"content-type: text/plain"}},
		{target: "/", body: strings.Repeat("x", 20000)}, // by way of a file
	}, want: []string{
		`null "\x00\xff{not json" content-type=application/octet-stream`,
		`null "\x1f\x8b" content-type=application/json content-encoding=gzip`,
		`null {not json content-type=application/json`,
		`null "" content-type=text/plain`,
		"null (20000 bytes)",
	}},

	{name: "tombstones", config: map[string]any{"value_format": "body", "tombstones": true, "key_query_arg": "k"}, sent: []sent{
		{target: "/?k=a", body: "1"},
		{target: "/?k=a", method: "DELETE"},
	}, want: []string{"a 1", "a null"}},

	{name: "split-json_array", topics: []string{"s-a"}, config: map[string]any{
		"split": "json_array", "split_limit": 3, "value_format": "body", "topics_query_arg": "to", "allowed_topics": []string{"s-a"},
		"record_key": map[string]any{"parts": []any{part("body", "id")}, "required": true},
	}, sent: []sent{
		{target: "/", body: ` [ {"id":1}, {"id": "b" } , {"id":true}]`},
		{target: "/?to=s-a,split-json_array", body: `[{"id":2}]`},
		{target: "/", body: `[{"id":3},{}]`, status: 400, answer: bad("record 2: the request lacks a part of its record key")},
		{target: "/", body: `[{"id":3},{"id":4]`, status: 400, answer: bad("invalid json body")},
		{target: "/", body: `[]`, status: 400, answer: bad("the body has no records")},
		{target: "/", body: `{"id":3}`, status: 400, answer: bad("the body is not a json array")},
		{target: "/", body: `[1,2,3,4]`, status: 413, answer: `{"message":"Request body too large","error":"the request has more records than split_limit allows, or more than 10000 over all of its topics"}`},
	}, want: []string{`1 {"id":1}` + asJSON, `b {"id": "b" }` + asJSON, `true {"id":true}` + asJSON, `2 {"id":2}` + asJSON, `s-a: 2 {"id":2}` + asJSON}},

	{name: "split-ndjson", config: map[string]any{"split": "ndjson"}, sent: []sent{
		{target: "/", headers: []string{"content-type: application/x-ndjson"}, body: "{\"a\":1}\r\n\n[2]\n"},
		{target: "/", body: "{\"a\":1}\n{", status: 400, answer: bad("line 2: invalid json body")},
		{target: "/", body: "\n\n", status: 400, answer: bad("the body has no records")},
		{target: "/", headers: []string{"content-encoding: gzip"}, body: "{}", status: 400, answer: bad("a body with a content encoding cannot be split")},
	}, want: []string{`null {"body":"{\"a\":1}","body_args":{"a":1}}`, `null {"body":"[2]","body_args":[2]}`}},

	{name: "response.metadata", topics: []string{"m-a"}, config: map[string]any{
		"response": map[string]any{"metadata": true}, "split": "ndjson", "value_format": "body", "topics_query_arg": "to", "allowed_topics": []string{"m-a"},
	}, sent: []sent{
		{target: "/", body: "1\n2", answer: `{"message":"message sent","records":[{"topic":"response.metadata","partition":0,"offset":0},{"topic":"response.metadata","partition":0,"offset":1}]}`},
		{target: "/?to=m-a,response.metadata", body: "3", answer: `{"message":"message sent","records":[{"topic":"m-a","partition":0,"offset":0},{"topic":"response.metadata","partition":0,"offset":2}]}`},
	}, want: []string{"null 1" + asJSON, "null 2" + asJSON, "null 3" + asJSON, "m-a: null 3" + asJSON}},

	status(201), status(202), status(204),

	{name: "trace_headers", config: map[string]any{"trace_headers": true, "value_format": "body"}, sent: []sent{
		{target: "/", headers: []string{"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate: a=1", "tracestate: b=2", "baggage: c=3"}, body: "1"},
		{target: "/", headers: []string{"traceparent: nonsense", "tracestate: a=1", "baggage: c=3"}, body: "2"},
		{target: "/", body: "3"},
	}, want: []string{
		"null 1 traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 tracestate=a=1,b=2 baggage=c=3",
		"null 2 traceparent=NEW-TRACE baggage=c=3",
		"null 3 traceparent=NEW-TRACE",
	}},

	{name: "timestamp_header", config: map[string]any{"timestamp_header": "X-Time", "value_format": "body"}, sent: []sent{
		{target: "/", headers: []string{"x-time: 1700000000"}, body: "1"},
		{target: "/", headers: []string{"x-time: 1700000000123"}, body: "2"},
		{target: "/", headers: []string{"x-time: 1700000000.5"}, body: "3"},
		{target: "/", headers: []string{"x-time: 2023-11-14T23:13:20.25+01:00"}, body: "4"},
		{target: "/", body: "5"},
		{target: "/", headers: []string{"x-time: yesterday"}, body: "6", status: 400, answer: bad("the timestamp header is not valid")},
	}, want: []string{"null 1 @1700000000000", "null 2 @1700000000123", "null 3 @1700000000500", "null 4 @1700000000250", "null 5"}},

	{name: "cloudevents-binary", config: map[string]any{"cloudevents": "binary", "cloudevents_source": "/kong", "cloudevents_type": "order"}, sent: []sent{
		{target: "/", headers: []string{"content-type: application/json", "ce-specversion: 1.0", "ce-id: 17", "ce-source: /shop", "ce-type: made", "ce-partitionkey: c-42"}, body: `{"id":7}`},
		{target: "/", headers: []string{"content-type: text/plain"}, body: "plain"},
		{target: "/", headers: []string{"content-type: application/cloudevents+json"}, body: `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}`},
		{target: "/", headers: []string{"ce-specversion: 1.0"}, body: "x", status: 400, answer: bad("the cloudevent lacks id, source or type")},
	}, want: []string{
		`c-42 {"id":7} content-type=application/json ce_id=17 ce_partitionkey=c-42 ce_source=/shop ce_specversion=1.0 ce_type=made`,
		`null plain content-type=text/plain ce_specversion=1.0 ce_id=UUID ce_source=/kong ce_type=order ce_time=NOW`,
		`null {"a":1} content-type=application/json ce_specversion=1.0 ce_id=1 ce_source=/s ce_type=t`,
	}},

	{name: "cloudevents-structured", path: "/orders", config: map[string]any{"cloudevents": "structured"}, sent: []sent{
		{target: "/orders", headers: []string{"content-type: application/json", "ce-specversion: 1.0", "ce-id: 17", "ce-source: /shop", "ce-type: made"}, body: `{"id":7}`},
		{target: "/orders/1?q", headers: []string{"content-type: application/octet-stream"}, body: "\x00\x01"},
	}, want: []string{
		`null {"id":"17","source":"/shop","specversion":"1.0","type":"made","datacontenttype":"application/json","data":{"id":7}} content-type=application/cloudevents+json; charset=UTF-8`,
		`null {"specversion":"1.0","id":"UUID","source":"/orders/1","type":"http.request","time":"NOW","datacontenttype":"application/octet-stream","data_base64":"AAE="} content-type=application/cloudevents+json; charset=UTF-8`,
	}},
}

// key is a feature whose keys have one part, and a request that has it.
func key(name string, facts kongsim.Facts, from map[string]any, s sent, want string) feature {
	f := feature{name: "record_key-" + name, facts: facts, sent: []sent{s},
		config: map[string]any{"value_format": "body", "record_key": map[string]any{"parts": []any{from}}}}
	want += " " + s.body
	for _, h := range s.headers {
		if strings.HasPrefix(h, "content-type: ") {
			want += strings.Replace(" "+h, ": ", "=", 1)
		}
	}
	f.want = []string{want}
	return f
}

func part(from, name string) map[string]any { return map[string]any{"from": from, "name": name} }

const asJSON = " content-type=application/json" // of elements

var anna = kongsim.Facts{Consumer: &pb.Consumer{Id: "25f6c9b0", Username: "anna", CustomId: "C-7"}}

// status is a feature whose successful requests have another status.
func status(n int) feature {
	answer := `{"message":"message sent"}`
	if n == 204 {
		answer = ""
	}
	return feature{name: fmt.Sprint("response.status-", n), config: map[string]any{"value_format": "body", "response": map[string]any{"status": n}}, sent: []sent{
		{target: "/", body: "1", status: n, answer: answer},
	}, want: []string{"null 1"}}
}

func manyTopics(n int) string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint("t", i))
	}
	return strings.Join(names, ",")
}

// The examples of Kong's documentation, and what functions can do beyond them.
var functions = []feature{
	function("nothing", `return function(message) return message end`, `{"body":"{\"a\":[]}","body_args":{"a":[]}}`),
	function("fixed", `return function(message) return {a="1", b="2"} end`, `{"a":"1","b":"2"}`),
	function("text", `return function(message) return [[{"a":"1","b":"2"}]] end`, `{"a":"1","b":"2"}`),
	function("consumer", `return function(message) message.consumer = kong.client.get_consumer(); return message end`,
		`{"body":"{\"a\":[]}","body_args":{"a":[]},"consumer":{"custom_id":"C-7","id":"25f6c9b0","username":"anna"}}`),
	function("body", `return function(message) return message.body end`, `{"a":[]}`),
	function("body_args", `return function(message) return message.body_args end`, `{"a":[]}`),
	function("json", `
		local json = require("cjson.safe")
		return function(m)
			m.decoded = json.decode(m.body) or nil
			m.body, m.body_args = nil, nil
			return m
		end`, `{"decoded":{"a":[]}}`),
	function("request", `return function() return kong.request.get_method() .. kong.request.get_path_with_query() .. kong.request.get_header("x-a") end`, `POST/?q=1b`),

	{name: "functions-redact", config: map[string]any{
		"forward_headers": true, "forward_body": false, "exclude_headers": []string{"host", "user-agent", "accept-encoding", "content-length"},
		"message_by_lua_functions": []string{`return function(message) local headers = message and message.headers; local apikey = headers and headers.apikey; if apikey then headers.apikey = "[REDACTED]" end; return message end`},
	}, sent: []sent{{target: "/", headers: []string{"apikey: secret", "x-a: b"}}}, want: []string{`null {"headers":{"apikey":"[REDACTED]","x-a":"b"}}`}},

	// Two functions, keys, headers and elements: each element is seen alone.
	{name: "functions-split", config: map[string]any{
		"split": "json_array", "record_key": map[string]any{"parts": []any{part("body", "/id")}}, "headers": map[string]any{"include_headers": []string{"x-a"}},
		"message_by_lua_functions": []string{
			`return function(m) if m.body_args.id == 2 then return kafka.skip end return m.body_args end`,
			`return function(args) if args.id == 3 then error("no") end args.seen = true return args end`,
		},
	}, sent: []sent{
		{target: "/", headers: []string{"x-a: b"}, body: `[{"id":1},{"id":2},{"id":12345678901234567890}]`},
		{target: "/", body: `[{"id":2}]`, answer: `{"message":"message filtered"}`},
		{target: "/", body: `[{"id":1},{"id":3}]`, status: 500, answer: `{"message":"Internal Server Error","error":"message function failed"}`},
	}, want: []string{`1 {"id":1,"seen":true} x-a=b`, `12345678901234567890 {"id":12345678901234567890,"seen":true} x-a=b`}},
}

// function is a feature whose message a function makes, and a request to it.
func function(name, chunk, want string) feature {
	return feature{name: "functions-" + name, facts: anna, sorted: true, config: map[string]any{"message_by_lua_functions": []string{chunk}}, sent: []sent{
		{target: "/?q=1", headers: []string{"content-type: application/json", "x-a: b"}, body: `{"a":[]}`},
	}, want: []string{"null " + want}}
}
