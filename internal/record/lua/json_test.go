package lua

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

// The words are those of Kong's JSON library.
func TestErrorsOfCJSON(t *testing.T) {
	const source = `local safe = require("cjson.safe") return function(message)
		local v, err = safe.decode(message.text) return err or "no error" end`
	for text, want := range map[string]string{
		`""`:                   "Expected value but found T_END at character 1",
		`" "`:                  "Expected value but found T_END at character 2",
		`"{"`:                  "Expected object key string but found T_END at character 2",
		`"{1:2}"`:              "Expected object key string but found T_NUMBER at character 2",
		`"{\"a\"}"`:            "Expected colon but found T_OBJ_END at character 5",
		`"{\"a\":1"`:           "Expected comma or object end but found T_END at character 7",
		`"{\"a\":1 ]"`:         "Expected comma or object end but found T_ARR_END at character 8",
		`"{\"a\":1,}"`:         "Expected object key string but found T_OBJ_END at character 8",
		`"[1"`:                 "Expected comma or array end but found T_END at character 3",
		`"[1,]"`:               "Expected value but found T_ARR_END at character 4",
		`"[1 2]"`:              "Expected comma or array end but found T_NUMBER at character 4",
		`"[}"`:                 "Expected value but found T_OBJ_END at character 2",
		`"1 2"`:                "Expected the end but found T_NUMBER at character 3",
		`"nul"`:                "Expected value but found invalid token at character 1",
		`"\"a"`:                "Expected value but found unexpected end of string at character 1",
		`"\"\\x\""`:            "Expected value but found invalid escape code at character 1",
		`"\"\\u12\""`:          "Expected value but found invalid unicode escape code at character 1",
		`"\"\\ud800\""`:        "Expected value but found invalid unicode escape code at character 1",
		`"-"`:                  "Expected value but found invalid number at character 1",
		`"[1.]"`:               "Expected value but found invalid number at character 2",
		`"1e5"`:                "no error",
		`"\"\\ud83d\\ude00\""`: "no error",
	} {
		if got := result(t, `{"text":`+text+`}`, source); got != "final "+want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestCJSON(t *testing.T) {
	for expression, want := range map[string]string{
		`cjson.encode({a="x/y"})`:                              `final {"a":"x\/y"}`,
		`cjson.encode({})`:                                     `final {}`,
		`cjson.encode({1,2})`:                                  `final [1,2]`,
		`cjson.encode("\255")`:                                 "final \"\xff\"",
		`cjson.encode(nil)`:                                    `final null`,
		`cjson.encode(cjson.null)`:                             `final null`,
		`cjson.encode(cjson.empty_array)`:                      `final []`,
		`cjson.encode(1/3)`:                                    `final 0.3333333333333333`,
		`select(2, pcall(cjson.encode, print))`:                `final Cannot serialise function: type not supported`,
		`select(2, pcall(cjson.decode, "{"))`:                  `final Expected object key string but found T_END at character 2`,
		`select(2, safe.encode({[20]=1}))`:                     `final Cannot serialise table: excessively sparse array`,
		`tostring((safe.encode(print)))`:                       `final nil`,
		`tostring((safe.decode("{")))`:                         `final nil`,
		`tostring(cjson.decode("null") == ngx.null)`:           `final true`,
		`tostring(cjson.null)`:                                 `final userdata: NULL`,
		`type(cjson.null)`:                                     `final userdata`,
		`cjson.null and "truthy"`:                              `final truthy`,
		`cjson.encode(cjson.decode('[1.10]'))`:                 `final [1.10]`,
		`#cjson.decode('["\\u00e4"]')[1]`:                      `2`,
		`cjson.decode('{"a":{"b":[1,2,{"c":"d"}]}}').a.b[3].c`: `final d`,
		`cjson.decode("5")`:                                    `5`,
		`cjson.decode('{"a":1,"a":2}').a`:                      `2`,
		`tostring(getmetatable(cjson.decode("[1]")))`:          `final nil`,
		`tostring(getmetatable(tools.decode_with_array_mt("[1]")) == cjson.array_mt)`:                                                              `final true`,
		`tools.encode(tools.decode_with_array_mt("[]"))`:                                                                                           `final []`,
		`tools.encode({[20]=1}):sub(1, 9)`:                                                                                                         `final [null,nul`,
		`(function() local c = cjson.new() c.encode_empty_table_as_object(false) return c.encode({}) .. cjson.encode({}) end)()`:                   `final []{}`,
		`(function() local c = cjson.new() c.decode_array_with_array_mt(true) return tostring(getmetatable(c.decode("[1]")) == c.array_mt) end)()`: `final true`,
		`(function() local c = cjson.new() c.encode_max_depth(2) return select(2, pcall(c.encode, {{{}}})) end)()`:                                 `final Cannot serialise, excessive depth (3)`,
		`(function() local c = cjson.new() c.decode_max_depth(2) return select(2, pcall(c.decode, "[[[]]]")) end)()`:                               `final Found too many nested data structures (3) at character 3`,
		`(function() local c = cjson.new() c.encode_escape_forward_slash(false) return c.encode("/") end)()`:                                       `final "/"`,
		`(function() local c = cjson.new() c.encode_number_precision(3) return c.encode(1/3) end)()`:                                               `final 0.333`,
		`cjson.encode_max_depth()`:                          `1000`,
		`select(2, pcall(cjson.encode_max_depth, 0))`:       `final bad argument #1 (expected integer between 1 and 1000)`,
		`select(2, pcall(function() cjson.encode = 1 end))`: `final function 1:1: cjson cannot be changed`,
		`select(2, pcall(function() return cjson.foo end))`: `final function 1:1: cjson.foo is not available in message functions`,
	} {
		got := result(t, `{}`, `local cjson, safe, tools = require("cjson"), require("cjson.safe"), require("kong.tools.cjson") return function(message) return `+expression+` end`)
		if got != want {
			t.Errorf("%s is\n %s, want\n %s", expression, got, want)
		}
	}
}

// What a function does not use is not touched, and what it may use comes back as it was.
func FuzzMessageIsTheSameAfterLua(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.50,{"b":null}],"c":"x\"\\/\u00e4\ud83d\ude00","d":{},"e":[],"f":-0.0,"g":1E400,"h":true}`,
		`[[],{},[[]],{"a":{}}]`, `{"":{"":[]}}`, `{"headers":{"a-b":"c"}}`, `{"a":1,"a":2}`} {
		f.Add([]byte(s))
	}
	all := compile(f, whole)
	some := compile(f, `return function(message) local a = message and message.a return message end`, `return function(message) local b = message and message.headers return message end`)
	f.Fuzz(func(t *testing.T, message []byte) {
		message = bytes.TrimSpace(message)
		if !json.Valid(message) || message[0] != '{' && message[0] != '[' {
			return
		}
		want := decoded(t, message)
		for _, functions := range []*Functions{all, some} {
			if functions == some && message[0] != '{' {
				continue
			}
			d := &record.Draft{Request: &request.Request{}, Message: bytes.Clone(message)}
			if err := functions.Transform(d); err != nil {
				if len(message) > 0 && (bytes.IndexByte(message, '\\') >= 0 || bytes.Count(message, []byte("[")) > 300 || bytes.Count(message, []byte("{")) > 300) {
					return // half of a surrogate pair, which the message never has; or too deep
				}
				t.Fatalf("%q: %s", message, reason(t, err))
			}
			if !json.Valid(d.Message) {
				t.Fatalf("%q became %q, which is not JSON", message, d.Message)
			}
			if bytes.Equal(bytes.ToValidUTF8(message, nil), message) && !reflect.DeepEqual(decoded(t, d.Message), want) {
				t.Fatalf("%q became %q", message, d.Message)
			}
		}
	})
}

// Whatever a function reads, nothing but a value or an error in words comes of it, and only
// JSON is read.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":[1,2]}`, "\"a\nb\"", "[1,]", `"\ud800x"`, "\x00", `{"a":1e5}x`, "nan", "0x10", "-0", "01"} {
		f.Add(s)
	}
	m, err := newMachine(compile(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := decoder{l: m.l, bytes: maxBytes, numbers: map[numberPlace]numberText{}}
		v, err := d.decode(s)
		control := bytes.ContainsFunc([]byte(s), func(r rune) bool { return r < 0x20 }) // taken, as by Kong's
		if valid := json.Valid([]byte(s)); valid && err != nil && !bytes.Contains([]byte(err.Error()), []byte("unicode escape")) && d.depth <= maxDepth || !valid && err == nil && !control {
			t.Fatalf("%q: %v, %v", s, v, err)
		}
	})
}

// decoded reads JSON, with numbers as their text.
func decoded(t testing.TB, text []byte) (value any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return value
}
