package sandbox

import (
	"testing"
	"time"

	glua "github.com/yuin/gopher-lua"
)

var testLimits = Limits{Instructions: 100_000, Bytes: 16 << 20, Time: 5 * time.Second}

// eval runs a chunk in a new state and returns its first result as tostring writes it, or
// the error's text.
func eval(t testing.TB, source string) string {
	t.Helper()
	p, err := Compile("test", source)
	if err != nil {
		return err.Error()
	}
	s := New(testLimits)
	v, err := s.Run(p)
	if err != nil {
		return err.Error()
	}
	switch v := v.(type) {
	case glua.LNumber:
		return formatNumber(float64(v))
	}
	return v.String()
}

func TestSmoke(t *testing.T) {
	for _, c := range [][2]string{
		{`return 1 + 1`, "2"},
		{`local x = 0; local function inc() x = x + 1 end; pcall(error, "e"); inc(); return x`, "1"},
		{`return ("x"):rep(3, ",")`, "x,x,x"},
		{`return "a" .. 1 .. 2.5`, "a12.5"},
		{`local a, b = pcall(error, "m", 0) return tostring(a) .. b`, "falsem"},
		{`local a, b = pcall(string.rep) return b`, "bad argument #1 to 'f' (string expected, got no value)"},
		{`local a, b = pcall(function() string.rep() end) return b`, "test:1: bad argument #1 to 'rep' (string expected, got no value)"},
		{`local co = coroutine.create(function(a) local b, c = coroutine.yield(a+1) return b, c end) local _, x = coroutine.resume(co, 1) local _, y, z = coroutine.resume(co, 5) return x .. tostring(y) .. tostring(z)`, "25nil"},
		{`local w = coroutine.wrap(string.rep) return w("a", 3)`, "aaa"},
		{`local t = {} for k in coroutine.wrap(function() for i=1,3 do coroutine.yield(i) end end) do t[#t+1]=k end return table.concat(t, ",")`, "1,2,3"},
		{`return os.execute`, "test:1: os.execute is not available in message functions"},
		{`return undefined`, "nil"},
		{`return load`, "test:1: load is not available in message functions"},
		{`string.x = 1`, "test:1: string cannot be changed"},
		{`return "\x41\z
		   b"`, "Ab"},
		{`local t = {1,2,3} t[1], t[2] = t[2], t[1] return t[1]..t[2]`, "21"},
		{`local t = {} function t.a() return 1 end function t:b() return self.a() + 1 end return t:b()`, "2"},
		{`local co = coroutine.wrap(function() pcall(coroutine.yield, 1) return 7 end) return co()`, "7"},
		{`local co = coroutine.wrap(function() local t = setmetatable({}, {__index = function() return coroutine.yield(1) end}) return t.x end) return select(2, pcall(co))`, "test:1: attempt to yield across a call that cannot be left, such as pcall, an iterator or a metamethod"},
		{`while true do end`, "test:1: the function did more work than it may"},
		{`while true do pcall(function() while true do end end) end`, "test:1: the function did more work than it may"},
		{`local s = "x" while true do s = s .. s end`, "test:1: the function used more memory than it may"},
	} {
		if got := eval(t, c[0]); got != c[1] {
			t.Errorf("%s\n\tgot  %q\n\twant %q", c[0], got, c[1])
		}
	}
}
