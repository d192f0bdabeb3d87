package sandbox

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	glua "github.com/yuin/gopher-lua"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

// show writes values as testdata/luajit.txt does.
func show(values []glua.LValue) string {
	var out []string
	for _, v := range values {
		switch v := v.(type) {
		case glua.LNumber:
			out = append(out, formatNumber(float64(v)))
		case glua.LString, glua.LBool, *glua.LNilType:
			out = append(out, v.String())
		default:
			out = append(out, v.Type().String())
		}
	}
	var b strings.Builder
	for _, c := range []byte(strings.Join(out, "|")) {
		if c < 32 || c >= 127 {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// values evaluates the arguments of a call.
func values(source string) string {
	s := New(testLimits)
	var got []glua.LValue
	s.SetGlobal("show", newFunction(func(l *glua.LState) int {
		got = arguments(l, 1, 0)
		return 0
	}))
	p, err := Compile("t", "show("+source+")")
	if err == nil {
		_, err = s.Run(p)
	}
	if err != nil {
		return "ERR " + err.Error()
	}
	return show(got)
}

func TestExpressionsHaveLuaJITsValues(t *testing.T) {
	b, err := os.ReadFile("testdata/luajit.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		source, want, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			continue // a comment
		}
		if got := values(source); got != want {
			t.Errorf("%s\n\tgot  %s\n\twant %s", source, got, want)
		}
	}
}

// What gopher-lua by itself does otherwise, or not at all.
func TestChunks(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		// Assignment.
		{`local a, b, c = 1, 2, 3 a, b, c = c, a, b return a .. b .. c`, "312"},
		{`local x, t = 1, {} x = t.z and 5 return x`, "nil"},
		{`local x, t = 1, {} x = t.z and t.y == 1 return x`, "nil"},
		{`local function g(a) a = tostring(a) return a end return g(5)`, "5"},
		{`local function g(a) a = a % 3 return a end return g(5)`, "2"},
		{`local i, t = 1, {} i, t[i] = i + 1, 20 return i .. t[1]`, "220"},
		{`local t = {1, 2} t[1], t[2] = t[2], t[1] return t[1] .. t[2]`, "21"},
		{`local t = {} t.a, t.b, c = 1, 2 return tostring(t.a) .. tostring(t.b) .. tostring(c)`, "12nil"},
		{`local t = {} t.a, t.b = (function() return 1, 2 end)() return t.a .. t.b`, "12"},
		{`local t = {} t.a = 1, print() return t.a`, "1"},
		// Jumps.
		{`for _, v in ipairs({5}) do if nil then local x end local y = v return y end`, "5"},
		{`for _, v in ipairs({1, 2, 3}) do if false then error() elseif v == 3 then return v end end`, "3"},
		{`local n = 0 for _, v in pairs({1, 2, 3}) do goto next ::next:: n = n + v end return n`, "6"},
		{`local n = 0 while true do if true then n = n + 1 end if n > 3 then break end end return n`, "4"},
		{`local n = 0 repeat local done = nil or n > 2 n = n + 1 until done return n`, "4"},
		{`local n = 0 ::top:: do n = n + 1 if n < 5 then goto top end end return n`, "5"},
		{`for i = 1, 3 do do break end end return 1`, "1"},
		{`while nil do end return 1`, "1"},
		{`local x = 0 local function inc() x = x + 1 end for i = 1, 3 do inc() goto c ::c:: end return x`, "3"},
		{`local x = 0 local function inc() x = x + 1 end inc() ::a:: x = x + 1 if x < 5 then goto a end inc() return x`, "6"},
		{`local f for i = 1, 3 do do local x = i f = function() return x end break end end local a, b, c, d, e, g, h = 9, 9, 9, 9, 9, 9, 9 return f()`, "1"},
		{`local f for _, x in ipairs({1, 2}) do if x then local y = x f = function() return y end break end end local a, b, c, d, e, g, h = 9, 9, 9, 9, 9, 9, 9 return f()`, "1"},
		{`local f for i = 1, 3 do local x = i if i == 2 then goto out end f = function() x = x + 1 return x end end ::out:: local a, b, c, d, e, g = 9, 9, 9, 9, 9, 9 f() return f()`, "3"},
		{`local t = {} for i = 1, 3 do local x = i t[i] = function() x = x + 1 return x end goto next ::next:: end t[1]() return t[1]() .. t[2]()`, "33"},
		{`for i = 1, 3 do for j = 1, 3 do if j == 2 then break end if i == 3 then return i .. j end end end`, "31"},
		{`break`, "line 1: no loop to break"},
		{`goto nowhere`, "line 1: no visible label 'nowhere' for goto"},
		// Errors leave the variables of those who catch them alone.
		{`local x = 0 local function inc() x = x + 1 end pcall(error, "e") inc() return x`, "1"},
		{`local x = 0 local function f() x = x + 1 error() end pcall(f) pcall(f) return x`, "2"},
		{`local fs = {} pcall(function() local n = 5 fs[1] = function() n = n + 1 return n end error() end) fs[1]() return fs[1]()`, "7"},
		{`return (select(2, pcall(function() error({code = 7}) end))).code`, "7"},
		{`local ok, e = pcall(function() local ok, e = pcall(error, "in", 0) error(e .. "out", 0) end) return e`, "inout"},
		{`local t = {pcall(function(...) return ... end, 1, nil, 3)} return #t .. tostring(t[3]) .. t[4]`, "4nil3"},
		{`return select(2, xpcall(function() error("x", 0) end, function(m) return m .. "!" end))`, "x!"},
		// Coroutines.
		{`local co = coroutine.wrap(function() local b, c = coroutine.yield() return tostring(c) end) co() return co(1)`, "nil"},
		{`local w = coroutine.wrap(string.rep) return w("a", 3)`, "aaa"},
		{`local t = {} for k in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do t[#t + 1] = k end return table.concat(t)`, "123"},
		{`local co = coroutine.wrap(function() pcall(error) return coroutine.yield(1) end) co() return co(7)`, "7"},
		{`local co co = coroutine.create(function() return pcall(function() return coroutine.running() == co, coroutine.status(co) end) end) return select(4, coroutine.resume(co))`, "running"},
		{`local co = coroutine.wrap(function() end) return select("#", co())`, "0"},
		{`local _, main = coroutine.running() return main`, "true"},
		// Tables of OpenResty's.
		{`local t = table.pack(1, nil, 3) return t.n .. t[3]`, "33"},
		{`return select("#", table.unpack({1, 2, 3}, 2))`, "2"},
		{`return table.nkeys({1, 2, a = 3, b = 4})`, "4"},
		{`return tostring(table.isempty({})) .. tostring(table.isempty({a = 1})) .. tostring(table.isarray({1, 2})) .. tostring(table.isarray({a = 1}))`, "truefalsetruefalse"},
		{`local t = {1, 2, a = 3} table.clear(t) return tostring(next(t)) .. #t`, "nil0"},
		{`local t = {1, 2, a = {}} local c = table.clone(t) return tostring(c.a == t.a) .. #c .. tostring(c == t)`, "true2false"},
		{`local t = table.new(4, 2) t[1] = 1 t.x = 2 return #t .. t.x`, "12"},
		{`local t = setmetatable({}, {__pairs = function() return function(_, k) if not k then return 1, 2 end end end}) for k, v in pairs(t) do return k .. v end`, "12"},
		{`local t = {} t[2000000] = 1 t[-1] = 2 t[0] = 3 return t[2000000] .. t[-1] .. t[0] .. #t`, "1230"},
		// Escapes and numbers of LuaJIT's.
		{`return "\x41\u{20ac}\z
			b\065"`, "A€bA"},
		{"return 'a\\\nb'", "a\nb"},
		{"local s = '\\z\n\n' error(s)", "test:3: "},
		{`return 0x10 + 0xA.8p0 + 0b11`, "29.5"},
		{`return 0xffffffffffffffff == 2^64 and 1e999 == math.huge`, "true"},
		{"#!/usr/bin/lua\nreturn 1", "1"},
		{"\uFEFFreturn 1", "1"},
		{"\uFEFF#!/usr/bin/lua\nreturn 1", "1"},
		{"--[==[ ]] \n ]==] return 1 -- [[\n --[=x", "1"},
		// What is not there.
		{`return arg`, "nil"},
		{`return undefined`, "nil"},
		{`os.execute("ls")`, "test:1: os.execute is not available in message functions"},
		{`io.open("x")`, "test:1: io.open is not available in message functions"},
		{`return debug.traceback`, "test:1: debug is not available in message functions"},
		{`return loadstring("return 1")`, "test:1: loadstring is not available in message functions"},
		{`return string.dump`, "test:1: string.dump is not available in message functions"},
		{`return ("x"):nosuch()`, "test:1: string.nosuch is not available in message functions"},
		{`return _G.x`, "test:1: _G is not available in message functions"},
		{`return ngx.now()`, "test:1: ngx is not available in message functions"},
		{`return require("socket")`, "test:1: module 'socket' is not available in message functions"},
		{"return 1\n+ 5ULL", "line 2: numbers of 64 bits and complex numbers, such as 5ULL, are not available in message functions"},
		// Errors say where.
		{"\n\nlocal x = nil\nreturn x.y", "test:4: attempt to index a nil value with key 'y'"},
		{"\nreturn nothing()", "test:2: attempt to call what is not a function ('nothing')"},
		{"return 1 +\nstring.len(x.y.z())", "test:2: attempt to index a nil value with key 'y'"},
		{"x = {}\nx.foo(string.len('a'))", "test:2: attempt to call what is not a function ('len' or 'foo')"},
		{"\nlocal t = {}\nt.x.y = 1", "test:3: attempt to index a nil value with key 'y'"},
		{"return 1 +", "line 1: syntax error near the end"},
		{"\nreturn )", "line 2: syntax error near ')'"},
		{"\n\nreturn 'x", "line 3: unfinished string"},
		{`error({})`, "error object is a table value"},
		{`error()`, "error object is a nil value"},
	} {
		if got := eval(t, c.source); got != c.want {
			t.Errorf("%s\n\tgot  %q\n\twant %q", c.source, got, c.want)
		}
	}
}
