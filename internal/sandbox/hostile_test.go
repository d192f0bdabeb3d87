package sandbox

import (
	"errors"
	"strings"
	"testing"
	"time"

	glua "github.com/yuin/gopher-lua"
)

// hostile are chunks that never end, take all memory, or break a machine without bounds.
var hostile = []struct{ name, source string }{
	{"endless loop", `while true do end`},
	{"endless for", `for i = 1, 1, 0 do end`},
	{"endless goto", `::a:: goto a`},
	{"endless tail call", `local function f() return f() end f()`},
	{"loop in pcall", `pcall(function() while true do end end) return 1`},
	{"loop of pcalls of loops", `while true do pcall(function() while true do end end) end`},
	{"loop of failing pcalls", `while true do pcall(error) end`},
	{"loop of deep failing pcalls", `local function f(n) if n > 0 then f(n - 1) else while true do pcall(error) end end return 1 end f(150)`},
	{"pcall within pcall", `local function f() pcall(f) end while true do f() end`},
	{"pcall of pcall of pcall", `while true do pcall(pcall, pcall, pcall, pcall, pcall, pcall, error) end`},
	{"handler that loops", `xpcall(error, function() while true do end end)`},
	{"handler that fails", `local function h() xpcall(error, h) end while true do xpcall(error, h) end`},
	{"loop in coroutine", `coroutine.wrap(function() while true do end end)()`},
	{"loop in resumed coroutine", `while true do coroutine.resume(coroutine.create(function() while true do end end)) end`},
	{"coroutine in coroutine", `local function f() return coroutine.wrap(f)() end f()`},
	{"coroutines without end", `local t = {} while true do t[#t + 1] = coroutine.create(function() end) end`},
	{"yields without end", `local c = coroutine.wrap(function() while true do coroutine.yield() end end) while true do c() end`},
	{"coroutine that resumes its parent", `local a, b a = coroutine.wrap(function() b() end) b = coroutine.wrap(function() a() end) while true do a() end`},
	{"infinite recursion", `local function f() return 1 + f() end f()`},
	{"infinite recursion with locals", `local function f(...) local a, b, c, d, e, g, h, i, j = ... return 1 + f(a, b, c, d, ...) end f(1)`},
	{"caught recursion", `local function f() return 1 + f() end while true do pcall(f) end`},
	{"recursion through __index", `local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k .. "x"] end return t.a`},
	{"__index loop", `local a, b = {}, {} setmetatable(a, {__index = b}) setmetatable(b, {__index = a}) while true do pcall(function() return a.x end) end`},
	{"long __index chains", `local t = {} for i = 1, 22 do t = setmetatable({}, {__index = t}) end while true do local x = t.x end`},
	{"recursion through __newindex", `local t = setmetatable({}, {}) getmetatable(t).__newindex = function(t, k, v) t[k] = v end t.a = 1`},
	{"recursion through __call", `local t = setmetatable({}, {}) getmetatable(t).__call = function(self) return 1 + self() end t()`},
	{"recursion through __concat", `local t = setmetatable({}, {}) getmetatable(t).__concat = function(a, b) return a .. b end return t .. t`},
	{"recursion through __tostring", `local t = setmetatable({}, {}) getmetatable(t).__tostring = tostring return tostring(t)`},
	{"recursion through __eq", `local mt = {} mt.__eq = function(a, b) return a == b end return setmetatable({}, mt) == setmetatable({}, mt)`},
	{"recursion through __lt in sort", `local mt = {} local a, b = setmetatable({}, mt), setmetatable({}, mt) mt.__lt = function(x, y) table.sort({a, b}) return true end table.sort({a, b})`},
	{"recursion through gsub", `local function f() return (("a"):gsub("a", f)) end f()`},
	{"recursion through coroutines and metamethods", `local function f() local t = setmetatable({}, {__index = function(t, k) if k > 150 then coroutine.wrap(f)() else return t[k + 1] end end}) return t[1] end f()`},
	{"doubling string", `local s = "x" while true do s = s .. s end`},
	{"string by concat of many", `local s = ("x"):rep(1e6) while true do s = s .. s .. s .. s end`},
	{"strings kept", `local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end`},
	{"rep", `return ("x"):rep(1e12)`},
	{"rep of rep", `return ("x"):rep(1e6):rep(1e6):rep(1e6)`},
	{"rep with a separator", `return (""):rep(1e15, ("y"):rep(100))`},
	{"rep of nothing", `while true do (""):rep(1e15) end`},
	{"table.concat", `local t = {} for i = 1, 100 do t[i] = ("x"):rep(1e5) end return table.concat(t):len() + table.concat(t, ("y"):rep(1e6)):len()`},
	{"table.concat of a range", `return table.concat({}, "", 1, 2^53) .. table.concat(setmetatable({}, {__index = "x"}), "x", -2^53, 2^53)`},
	{"format with many widths", `return ("%99d"):rep(1e5):format(unpack({}, 1, 1e5))`},
	{"format of long strings", `local s = ("x"):rep(1e6) while true do s = ("%s%s"):format(s, s) end`},
	{"format of long numbers", `while true do string.format("%.99e %.99f %.99g", 1e-308, 1e308, 1e-308) end`},
	{"fmod of numbers far apart", `while true do math.fmod(1e308, 1e-308) end`},
	{"%q", `local s = ("\0"):rep(1e6) while true do s = ("%q"):format(s) end`},
	{"gsub that grows", `local s = "x" while true do s = s:gsub(".", "%0%0%0%0") end`},
	{"gsub by long replacements", `return (("x"):rep(1e5):gsub("x", ("y"):rep(1e5)))`},
	{"gsub by long captures", `local s = ("x"):rep(1e5) return (s:gsub("^(.*)$", ("%1"):rep(1e5)))`},
	{"gsub at each place", `local s = ("x"):rep(1e6) while true do s:gsub("", "") end`},
	{"find bomb", `return (("a"):rep(40)):find(("a?"):rep(26) .. ("a"):rep(40) .. "b")`},
	{"match bomb", `return ("a"):rep(1e4):match(".-.-.-.-.-b")`},
	{"gsub bomb", `return ("a"):rep(1e4):gsub("(.*)(.*)(.*)(.*)b", "")`},
	{"gmatch bomb", `for x in ("a"):rep(1e5):gmatch("a*a*a*b") do end`},
	{"balance bomb", `return ("("):rep(1e6):find("%b()x")`},
	{"set bomb", `return ("a"):rep(1e5):find("[" .. ("b"):rep(1e5) .. "]")`},
	{"frontier bomb", `return ("a"):rep(1e5):find("%f[" .. ("b"):rep(1e5) .. "]")`},
	{"back reference bomb", `return ("a"):rep(1e5):find("(.*)%1b")`},
	{"nested captures", `return ("a"):rep(100):find(("("):rep(1000))`},
	{"long pattern", `return ("a"):rep(1e6):find(("a?"):rep(1e6))`},
	{"plain find", `local s = ("a"):rep(1e6) while true do s:find(("a"):rep(1e5) .. "b", 1, true) end`},
	{"sort by a liar", `local t = {} for i = 1, 5000 do t[i] = i end while true do table.sort(t, function() return true end) end`},
	{"sort by one who loops", `table.sort({3, 2, 1}, function() while true do end end)`},
	{"sort by one who changes", `local t = {} for i = 1, 1000 do t[i] = i end table.sort(t, function(a, b) t[#t + 1] = {} return a > b end) while true do end`},
	{"hole in an array", `local t = {} t[1e6] = 1 t[1e6 - 1] = 2 local u = {} u[1e6] = 3 return #t`},
	{"holes in arrays", `local t = {} for i = 1, 1e6 do t[i] = {} t[i][5e5] = 1 end`},
	{"large index", `local t = {} for i = 1, 1e9 do t[i * 6e7] = i end`},
	{"arrays filled backwards", `local t = {} while true do for i = 3e4, 1, -1 do t[i] = i end for i = 1, 3e4 do t[i] = nil end end`},
	{"length of an emptied array", `local t = {} for i = 1, 1e4 do t[i] = i end for i = 2, 1e4 do t[i] = nil end while true do local x = #t end`},
	{"next of an emptied table", `local t = {} for i = 1, 5e3 do t["k" .. i] = 1 end for i = 1, 5e3 do t["k" .. i] = nil end while true do next(t) end`},
	{"table.new", `return table.new(1e9, 1e9)`},
	{"tables without end", `local t = {} while true do t = {t} end`},
	{"tables with fields without end", `local t = {} while true do t = {a = t, b = 1, c = 2, d = 3, e = 4, f = 5, g = 6, h = 7, i = 8} end`},
	{"many new keys", `local t = {} for i = 1, 1e9 do t[i + 0.5] = i end`},
	{"many globals' fields", `x = {} for i = 1, 1e9 do x["k" .. i] = true end`},
	{"closures without end", `local t = {} while true do local a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p t[#t + 1] = function() return a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p end end`},
	{"many open upvalues", `local function f(n) local a, b, c, d, e, g, h, i = 1, 2, 3, 4, 5, 6, 7, 8 local function u() return a, b, c, d, e, g, h, i, n end if n > 0 then return 1 + f(n - 1) end while true do pcall(error) local function v() return a, b end end end f(600)`},
	{"closures over deep variables", `local function f(n) local a, b, c, d, e, g, h, i = 1, 2, 3, 4, 5, 6, 7, 8 local function u() return a, b, c, d, e, g, h, i, n end if n > 0 then return 1 + f(n - 1) end while true do local function v() return a, b end end end f(500)`},
	{"table.insert far away", `local t = {} while true do table.insert(t, 1e15, 1) table.insert(t, -1e15, 1) end`},
	{"table.insert at the front", `local t = {} while true do table.insert(t, 1, 1) end`},
	{"table.move of a range", `return table.move({1}, 1, 1e15, 2)`},
	{"table.move upwards", `return table.move({1}, 1, 2^53, 3, {})`},
	{"unpack of a range", `return unpack({}, 1, 1e9)`},
	{"unpack without end", `while true do select("#", unpack({}, 1, 7000)) end`},
	{"select", `while true do select(-1, unpack({}, 1, 8000)) end`},
	{"byte of a range", `while true do (("x"):rep(7000)):byte(1, -1) end`},
	{"constructors of calls", `local t = {} while true do t[#t + 1] = {unpack({}, 1, 5000)} end`},
	{"varargs without end", `local function f(...) return f(1, ...) end f()`},
	{"pack", `local t = {} while true do t[#t + 1] = table.pack(unpack({}, 1, 5000)) end`},
	{"comparison of long strings", `local a = ("x"):rep(3e6) .. "a" local b = ("x"):rep(3e6) .. "a" while true do local x = a < b end`},
	{"equality of long strings", `local a = ("x"):rep(3e6) .. "a" local b = ("x"):rep(3e6) .. "a" while true do local x = a == b end`},
	{"long strings as keys", `local a, t = ("x"):rep(4e6), {} while true do local x = t[a] end`},
	{"long strings as keys of a table with fields", `local a, t = ("x"):rep(4e6), {b = 1} while true do local x = t[a] end`},
	{"long keys in a chain of tables", `local a, t = ("x"):rep(1e6), {b = 1} for i = 1, 11 do t = setmetatable({b = 1}, {__index = t}) end while true do local x = t[a] end`},
	{"long keys in constructors", `local a = ("x"):rep(1e6) while true do local t = {[a] = 1} end`},
	{"long keys that are set", `local a, t = ("x"):rep(1e6), {b = 1} while true do t[a] = 1 t[a] = nil end`},
	{"long keys in rawget", `local a, t = ("x"):rep(1e6), {b = 1} while true do rawget(t, a) end`},
	{"pairs of long keys", `local t = {} for i = 1, 10 do t[("x"):rep(1e6) .. i] = 1 end while true do for k in pairs(t) do end end`},
	{"gsub by a table with long keys", `local a, t = ("x"):rep(1e6), {b = 1} while true do a:gsub("x*", t) end`},
	{"long names of modules", `local a = ("x"):rep(1e6) while true do pcall(require, a) end`},
	{"long strings as numbers", `local a = ("1"):rep(4e6) while true do local x = a + 1 end`},
	{"tonumber of long strings", `local a = ("1"):rep(4e6) while true do local x = tonumber(a) end`},
	{"os.date", `return os.date(("%c"):rep(1e6))`},
	{"os.date of dates", `local s = "%c" while true do s = os.date(s):rep(50):gsub("%d", "%%c") end`},
	{"error with a table", `error({})`},
	{"error with level -1", `error("x", -1)`},
	{"error with a huge level", `error("x", 2^53)`},
	{"error with a long text", `error(("x"):rep(1e6))`},
	{"error in a loop of levels", `while true do pcall(error, "x", 100) end`},
	{"errors with long keys", `local k = ("x"):rep(4e6) while true do pcall(function() local a return a[k] end) end`},
	{"errors with long keys in coroutines", `local k = ("x"):rep(4e6) while true do coroutine.resume(coroutine.create(function() local a return a[k] end)) end`},
	{"coroutines with deep stacks", `local t = {} local function f(n) local a1, a2, a3, a4, a5, a6, a7, a8, a9, b1, b2, b3, b4, b5, b6, b7, b8, b9, c1, c2, c3, c4, c5, c6, c7, c8, c9, d1, d2, d3, d4, d5, d6, d7, d8, d9 if n == 0 then coroutine.yield() end return 1 + f(n - 1) end while true do t[#t + 1] = coroutine.create(f) coroutine.resume(t[#t], 95) end`},
	{"pcalls with deep stacks", `local function f(n) local a1, a2, a3, a4, a5, a6, a7, a8, a9, b1, b2, b3, b4, b5, b6, b7, b8, b9 if n == 0 then error() end return 1 + f(n - 1) end while true do pcall(f, 150) end`},
	{"yield outside", `coroutine.yield()`},
	{"yield across pcall", `coroutine.wrap(function() assert(pcall(coroutine.yield)) end)()`},
	{"yield across a metamethod", `coroutine.wrap(function() return setmetatable({}, {__index = coroutine.yield}).x end)()`},
	{"yield across __lt", `local mt = {__lt = function() coroutine.yield() end} coroutine.wrap(function() return setmetatable({}, mt) < setmetatable({}, mt) end)()`},
	{"yield across an iterator", `coroutine.wrap(function() for x in coroutine.yield do end end)()`},
	{"yield across sort", `coroutine.wrap(function() table.sort({1, 2, 3}, coroutine.yield) end)()`},
	{"yield across gsub", `coroutine.wrap(function() ("x"):gsub("x", coroutine.yield) end)()`},
	{"yield across tostring", `coroutine.wrap(function() tostring(setmetatable({}, {__tostring = coroutine.yield})) end)()`},
	{"library through assignment", `string.rep = nil`},
	{"library through rawset", `rawset(string, "rep", nil)`},
	{"library through table.insert", `table.insert(math, 1)`},
	{"library through table.clear", `table.clear(string)`},
	{"library through setmetatable", `setmetatable(table, {})`},
	{"library through its metatable", `getmetatable(table).__index = nil`},
	{"library through strings' metatable", `getmetatable("").__index = nil`},
	{"library through __newindex", `setmetatable({}, {__newindex = string}).rep = 1`},
	{"library through a method", `function string:rep() end`},
	{"library through table.move", `table.move({1}, 1, 1, 1, string)`},
	{"library through table.sort", `table.sort(string)`},
	{"metatable of strings", `setmetatable("", {})`},
}

// hostileLimits are those of hostile chunks. It is not the clock that ends them.
var hostileLimits = Limits{Instructions: 100_000, Bytes: 16 << 20, Time: time.Minute}

func TestHostileChunksEndAndHarmNobody(t *testing.T) {
	if n := len(hostile); n < 20 {
		t.Fatal(n)
	}
	good, err := Compile("good", `return function(s) return string.rep(s, 2) .. #table.concat({1, 2}) end`)
	if err != nil {
		t.Fatal(err)
	}
	s := New(hostileLimits)
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			p, err := Compile("hostile", h.source)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Run(p)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("no Error but %v", err)
			}
			if strings.Contains(e.Text, "machine") && h.name != "varargs without end" {
				t.Error("the machine failed: ", err)
			}
			if errors.Is(s.budget.spent, errTime) {
				t.Error("only the clock ended it")
			}
			if !s.Reusable() {
				s = New(hostileLimits)
			}
			f, err := s.Run(good)
			if err != nil {
				t.Fatal(err)
			}
			v, err := s.Call(f.(*glua.LFunction), glua.LString("x"))
			if err != nil || v != glua.LString("xx2") {
				t.Fatalf("the next call: %v, %v", v, err)
			}
		})
	}
}
