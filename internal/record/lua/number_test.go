package lua

import (
	"strconv"
	"strings"
	"testing"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

// Whole is a function of which nothing is known, so all of the message becomes tables.
const whole = `return function(message) local m = message return m end`

func TestUntouchedNumbersStayAsTheyAreWritten(t *testing.T) {
	for _, n := range []string{"0", "-0", "1", "-1.5", "1.10", "5.0", "1e3", "1E+2", "12345678901234", "123456789012345", "12345678901234567890",
		"9007199254740993", "0.1", "0.1000000000000000055511151231257827", "1E400", "-1e-400", "3.141592653589793", "1e23", "100000000000000000000", "1e-7"} {
		for _, message := range []string{`{"a":` + n + `}`, `[` + n + `]`, `{"a":{"b":[1,` + n + `]}}`} {
			if got := result(t, message, whole); got != message {
				t.Errorf("%s became %s", message, got)
			}
		}
	}
}

func TestNumbersInLua(t *testing.T) {
	const message = `{"price":1.10,"id":12345678901234567890,"near":12345678901234567891,"micro":1234567890123456,"big":1E400,"n":10}`
	for expression, want := range map[string]string{
		`type(m.price)`:                        `final number`,
		`type(m.id)`:                           `final userdata`,
		`m.price * 2`:                          `2.2`,
		`m.price + 0`:                          `1.1`,
		`tostring(m.id)`:                       `final 12345678901234567890`,
		`"id-" .. m.id`:                        `final id-12345678901234567890`,
		`m.id .. m.n`:                          `final 1234567890123456789010`,
		`tostring(m.micro)`:                    `final 1234567890123456`,
		`m.micro + 1`:                          `1234567890123457`,
		`1 + m.micro`:                          `1234567890123457`,
		`m.micro - "1"`:                        `1234567890123455`,
		`-m.micro`:                             `-1234567890123456`,
		`m.micro % 10`:                         `6`,
		`m.micro ^ 0`:                          `1`,
		`m.micro / m.micro * 2`:                `2`,
		`m.id < m.near`:                        `true`,
		`m.id == m.near`:                       `false`,
		`m.id <= m.near and m.near > m.id`:     `true`,
		`m.micro > 10`:                         `true`,
		`m.n < m.micro`:                        `true`,
		`math.floor(m.micro / 10)`:             `123456789012345`,
		`math.floor(m.micro)`:                  `1234567890123456`,
		`math.max(1, m.id) == m.id`:            `false`,
		`("%d %.0f"):format(m.micro, m.micro)`: `final 1234567890123456 1234567890123456`,
		`ngx.md5(m.id) == ngx.md5("12345678901234567890")`:    `true`,
		`string.sub(m.id, 1, 3)`:                              `final 123`,
		`("%s|%q"):format(m.id, m.id)`:                        `final 12345678901234567890|"12345678901234567890"`,
		`table.concat({m.id, 1}, "-")`:                        `final 12345678901234567890-1`,
		`ngx.http_time(m.micro / 1e6)`:                        `final Fri, 13 Feb 2009 23:31:30 GMT`,
		`("a"):rep(3, m.id)`:                                  `final a12345678901234567890a12345678901234567890a`,
		`("x"):gsub("x", tostring(m.id))`:                     `final 12345678901234567890`,
		`require("kong.tools.string").strip(m.id)`:            `final 12345678901234567890`,
		`tonumber(m.micro)`:                                   `1234567890123456`,
		`type(tonumber(m.id))`:                                `final number`,
		`os.date("!%F", m.micro / 1e6)`:                       `final 2009-02-13`,
		`m.big > m.id`:                                        `true`,
		`{moved = m.id}`:                                      `{"moved":12345678901234567890}`,
		`{moved = m.price}`:                                   `{"moved":1.1}`,
		`(function() m.price = 2 return m end)()`:             `{"price":2,"id":12345678901234567890,"near":12345678901234567891,"micro":1234567890123456,"big":1E400,"n":10}`,
		`select(2, pcall(function() return m.id < "1" end))`:  `final function 1:1: attempt to compare userdata with string`,
		`select(2, pcall(function() return m.id + {} end))`:   `final function 1:1: attempt to perform arithmetic on a table value`,
		`select(2, pcall(function() return m.id .. {} end))`:  `final function 1:1: attempt to concatenate a table value`,
		`require("cjson").encode({m.id, m.price, 0.1 + 0.2})`: `final [12345678901234567890,1.1,0.3]`,
		`require("cjson").decode("[12345678901234567890]")`:   `[12345678901234567890]`,
		`2^53`: `9007199254740992`, `1e300`: `1e+300`, `1/3`: `0.3333333333333333`, `100000 * 1000000000000000`: `1e+20`,
	} {
		if got := result(t, message, "return function(message) local m = message return "+expression+" end"); got != want {
			t.Errorf("%s is %s, want %s", expression, got, want)
		}
	}
}

// What is written has been read before: the text of numbers does not reach another request.
func TestNumbersOfOneRequestAreNotThoseOfAnother(t *testing.T) {
	f := compile(t, whole)
	for _, message := range []string{`{"a":1.10}`, `{"a":1.100}`, `{"a":1.1}`} {
		d := &record.Draft{Request: &request.Request{}, Message: []byte(message)}
		if err := f.Transform(d); err != nil || string(d.Message) != message {
			t.Errorf("%s became %s, %v", message, d.Message, err)
		}
	}
}

func TestResultsAsJSON(t *testing.T) {
	for expression, want := range map[string]string{
		`{}`:                                     `{}`,
		`{1, 2, 3}`:                              `[1,2,3]`,
		`{1, nil, 3}`:                            `[1,null,3]`,
		`{[1]=1, [4]=4}`:                         `[1,null,null,4]`,
		`{1, a=2}`:                               `{"1":1,"a":2}`,
		`{[1.5]=1}`:                              `{"1.5":1}`,
		`{[0]=1}`:                                `{"0":1}`,
		`{a=cjson.null}`:                         `{"a":null}`,
		`{a=ngx.null}`:                           `{"a":null}`,
		`{a=cjson.empty_array}`:                  `{"a":[]}`,
		`setmetatable({}, cjson.array_mt)`:       `[]`,
		`setmetatable({}, cjson.empty_array_mt)`: `[]`,
		`setmetatable({1}, cjson.empty_array_mt)`:  `[1]`,
		`cjson.decode('{"a":[],"b":{},"c":[[]]}')`: `{"a":[],"b":{},"c":[[]]}`,
		`5`: `5`, `true`: `true`, `false`: `false`, `1.5`: `1.5`, `cjson.null`: `null`,
		`"text"`:                               `final text`,
		`""`:                                   `final `,
		`"\0\255"`:                             "final \x00\xff",
		`{"\0\8\9\10\12\13\31\127\"\\/ä\255"}`: `["\u0000\b\t\n\f\r\u001f` + "\x7f" + `\"\\/ä` + "\uFFFD" + `"]`,
		`{["\255"]=1}`:                         `{"` + "\uFFFD" + `":1}`,
		`message.none`:                         `message failed`,
	} {
		got := result(t, `{}`, `local cjson = require("cjson") return function(message) return `+expression+` end`)
		if want == "message failed" {
			if !strings.Contains(got, "function 1 returned nil") {
				t.Errorf("%s is %s", expression, got)
			}
		} else if got != want {
			t.Errorf("%s is %s, want %s", expression, got, want)
		}
	}
	for expression, want := range map[string]string{
		`function() end`:                   `Cannot serialise function: type not supported`,
		`{a=print}`:                        `Cannot serialise function: type not supported`,
		`coroutine.create(function() end)`: `Cannot serialise thread: type not supported`,
		`0/0`:                              `Cannot serialise number: must not be NaN or Infinity`,
		`{1/0}`:                            `Cannot serialise number: must not be NaN or Infinity`,
		`{[true]=1}`:                       `Cannot serialise table: table key must be a number or string`,
		`{[100000]=1}`:                     `Cannot serialise table: excessively sparse array`,
		`{[1e7]=1}`:                        `Cannot serialise table: excessively sparse array`,
		`(function() local t = {} t.t = t return t end)()`: `Cannot serialise, excessive depth (1001)`,
		`{kafka.skip}`: `Cannot serialise userdata: type not supported`,
	} {
		if got := result(t, `{}`, `return function() return `+expression+` end`); got != "message failed" && got != "message function failed: function 1: "+want {
			t.Errorf("%s is %s, want %s", expression, got, want)
		}
	}
}

func TestDepthOfResults(t *testing.T) {
	deep := func(n int) string {
		return `return function() local t = 1 for i = 1, ` + n1(n) + ` do t = {t} end return t end`
	}
	if got := result(t, `{}`, deep(1000)); got != strings.Repeat("[", 1000)+"1"+strings.Repeat("]", 1000) {
		t.Errorf("%.100s", got)
	}
	if got := result(t, `{}`, deep(1001)); !strings.HasSuffix(got, "excessive depth (1001)") {
		t.Errorf("%.100s", got)
	}
	message := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	if got := result(t, message, whole); got != message {
		t.Errorf("%.100s", got)
	}
}

func n1(n int) string { return strconv.Itoa(n) }

// A field whose name is written with an escape is the same field.
func TestNamesWithEscapes(t *testing.T) {
	if got := result(t, `{"b":1.10,"\u0061":1}`, `return function(m) m.a = m.a + 1 return m end`); got != `{"b":1.10,"a":2}` {
		t.Error(got)
	}
}
