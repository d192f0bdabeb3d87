package lua

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"kafka-upstream/internal/record"
)

// hostile are functions that never end, take all memory, or break what is not theirs.
var hostile = []string{
	`while true do end`,
	`while true do pcall(function() while true do end end) end`,
	`local function f() return f() end return f()`,
	`local function f() return 1 + f() end return f()`,
	`local function f() pcall(f) pcall(f) end f()`,
	`coroutine.wrap(function() while true do end end)()`,
	`local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end`,
	`local function f() return coroutine.wrap(f)() end return f()`,
	`local s = "x" while true do s = s .. s end`,
	`return ("x"):rep(2^40)`,
	`return ("a"):rep(40):find(("a?"):rep(26) .. ("a"):rep(40) .. "b")`,
	`local t = {} for i = 1, 2^40 do t[i] = i end`,
	`local t = {} for i = 1, 5000 do t = {t} end return t`,
	`local t = {} t.t = t return t`,
	`setmetatable(string, {__index = function() return 1 end}) return string.foo`,
	`string.rep = nil return 1`,
	`kong.request.get_header = print return 1`,
	`error("x", -1)`,
	`require("cjson").array_mt.__index = function() while true do end end return require("cjson").encode(setmetatable({}, require("cjson").array_mt))[1].x`,
	`local c = require("cjson") local t = c.decode(("["):rep(999) .. ("]"):rep(999)) while true do c.encode(t) end`,
	`local c = require("cjson") local s = c.encode(("x"):rep(100000)) while true do c.decode(s) end`,
	`local t = setmetatable({}, {__tostring = function(t) return tostring(t) end}) kong.log.err(t)`,
	`return table.concat(setmetatable({}, {__len = function() return 2^30 end}), "x", 1, 2^30)`,
	`while true do kong.log.err(("x"):rep(1000)) end`,
	`while true do kong.request.get_headers() end`,
	`while true do kong.log.inspect({("x"):rep(1e6)}) end`,
	`local u = require("kong.tools.uri") local s = "/" .. ("../"):rep(1e5) while true do u.normalize(s, true) end`,
	`local u = require("kong.tools.uri") local s = ("a/"):rep(1e5) .. ("./"):rep(1e5) while true do u.normalize(s) end`,
	`local u = require("kong.tools.uri") local s = ("\\255"):rep(1e5) while true do u.escape(s) end`,
	`local t = {} for i = 1, 3000 do t[i] = 1.7976931348623157e308 / i end while true do table.concat(t, ",") end`,
}

// hostileSets are what the chunks of hostileLoops work on: each puts its locals before them.
const hostileSets = `
local long = ("x"):rep(1e6) local mid = ("x"):rep(2e4) local short = "abc"
local odd = ("\0\"\\/\n\255"):rep(1000) local digits = ("1234567890"):rep(1000)
local list = {} for i = 1, 3000 do list[i] = i end
local names = {} for i = 1, 1000 do names["k" .. i] = i end
local floats = {} for i = 1, 1000 do floats[i] = 1.7976931348623157e308 / i end
local json, re, uri = require("cjson"), ngx.re, require("kong.tools.uri")
local function nop() end
`

// hostileLoops are run forever, each by itself: every function of the libraries with what
// makes it slowest.
var hostileLoops = strings.Split(strings.TrimSpace(`
local t = {}
local t = {1}
local t = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
local t = {a = 1}
local t = {a = 1, b = 2, c = 3, d = 4}
local t = {} t.a = 1 t[1] = 2 t[nop] = 3
local t = {} t[true] = 1
local t = {} t[1] = 1
local t = {} t[20] = 1
local t = {} t[500] = 1
local f = function() return t end
local a, b, c, d, e, g = 1, 2, 3, 4, 5, 6 local f = function() return a, b, c, d, e, g end
local s = short .. short
local s = 1.5 .. "x"
local s = 1.7976931348623157e308 .. ""
local s = mid .. mid
local s = short .. 1 .. short .. 2 .. short .. 3 .. short .. 4
names["x"] = 1 names["x"] = nil
names[short .. #list] = 1 list[#list + 1] = 1
list[#list + 1] = 1
list[#list] = nil
list[#list + 1] = {}
names[#list] = 1
names[1 / 3] = 1
local x = names.k1
local x = list[1] + list[2]
local x = #list
local x = 2 ^ 0.3
local x = 5.5 % 3
local x = -1e308 % 3
local x = short < "abd"
local x = short == "abd"
local x = list == names
local x = "10" + 5
local x = "1.7976931348623157e308" + 5
local x = "0x1.8p1000" + 5
local x = digits + 5
nop()
local x = names[long]
local x = names[mid]
local x = names[("x"):rep(60000)]
names[long] = 1 local x = names[long]
local k = long .. "y" names[k] = 1 names[k] = nil
rawget(names, long)
local t = {} for i = 1, 10 do t[long .. i] = i end while true do for k in pairs(t) do end end
local t = {} for i = 1, 10 do t[long .. i] = i end while true do for k in next, t do end end
local t = {[long] = 1}
local t = {a = 1} for i = 1, 11 do t = setmetatable({a = 1}, {__index = t}) end while true do local x = t[long] end
string.gsub(long, ".*", names)
pcall(function() return list[long].x end)
kong.ctx.shared[long] = 1
pcall(require, long)
bit[long] = 1
string.format("%s", long)
string.format("%.3s", long)
string.len(long)
tostring(long)
type(long)
select("#", long, long)
nop(unpack(list, 1, 200))
short:len()
assert(true)
select("#", unpack(list, 1, 3000))
select(-1, unpack(list, 1, 3000))
local t = {unpack(list, 1, 3000)}
local t = {select(2, unpack(list, 1, 3000))}
(function(...) return ... end)(unpack(list, 1, 1000))
(function(...) local t = {...} end)(unpack(list, 1, 1000))
pcall(nop)
pcall(error)
pcall(error, "x")
pcall(error, {})
pcall(function() error("x", 2) end)
pcall(function() local x = nil + 1 end)
pcall(function() local x = list.a.b end)
pcall(function() return list < names end)
pcall(function() list() end)
pcall(pcall, pcall, pcall, nop)
xpcall(nop, nop)
xpcall(error, nop)
xpcall(error, error)
pcall(unpack, list, 1, 3000)
pcall(string.rep)
pcall(string.rep, {})
pcall(string.foo)
coroutine.create(nop)
coroutine.resume(coroutine.create(nop))
coroutine.wrap(nop)()
coroutine.wrap(function() coroutine.yield(1) end)()
pcall(coroutine.yield)
coroutine.running()
coroutine.status(coroutine.create(nop))
local c = coroutine.wrap(function() while true do coroutine.yield() end end) for i = 1, 1000 do c() end
local c = coroutine.wrap(function(...) while true do coroutine.yield(...) end end) for i = 1, 1000 do c(unpack(list, 1, 100)) end
local t = setmetatable({}, {__index = function(t, k) return k end}) for i = 1, 100 do local x = t[i] end
local t = setmetatable({}, {__index = list}) for i = 1, 100 do local x = t[i] end
local t = setmetatable({}, {__newindex = function(t, k, v) rawset(t, k, v) end}) for i = 1, 100 do t[i] = i end
local t = setmetatable({}, {__call = nop}) for i = 1, 100 do t() end
local t = setmetatable({}, {__add = nop}) for i = 1, 100 do local x = t + t end
local t = setmetatable({}, {__concat = nop}) for i = 1, 100 do local x = t .. t end
local t = setmetatable({}, {__concat = nop}) for i = 1, 100 do local x = 1.5 .. (1 / 3) .. t end
local t = setmetatable({}, {__eq = nop}) local u = setmetatable({}, getmetatable(t)) for i = 1, 100 do local x = t == u end
local mt = {__lt = nop} local t, u = setmetatable({}, mt), setmetatable({}, mt) for i = 1, 100 do local x = t <= u end
local t = setmetatable({}, {__len = nop}) for i = 1, 100 do local x = #t end
local t = setmetatable({}, {__unm = nop}) for i = 1, 100 do local x = -t end
local t = setmetatable({}, {__tostring = function() return long end}) for i = 1, 100 do local x = tostring(t) end
for i = 1, 22 do list = setmetatable({}, {__index = list}) end while true do local x = list.y end
getmetatable("")
setmetatable({}, {})
rawequal(list, names)
rawequal(mid .. "a", mid .. "b")
rawget(list, 1)
rawset(list, 1, 1)
rawset({}, "a", 1)
type(list)
tostring(1.7976931348623157e308)
tostring(1 / 3)
tostring(12345678)
tostring({})
tostring(nop)
tostring(nil)
tonumber("1.7976931348623157e308")
tonumber(short)
tonumber(digits)
tonumber(("1"):rep(400) .. "." .. ("1"):rep(400))
tonumber(digits, 10)
tonumber(digits, 36)
tonumber("zzz", 36)
tonumber("0x" .. digits)
for k, v in pairs(names) do end
for k, v in pairs(list) do end
for k, v in ipairs(list) do end
for k, v in next, names do end
next(names)
next(names, "k500")
next({})
print(1.5, 1 / 3, "x", nil)
print({})
require("cjson")
require("pl.tablex")
pcall(require, long)
string.byte(short)
string.byte(mid, 1, 5000)
string.char(1)
string.char(unpack(list, 1, 255))
string.find(short, "b")
string.find(short, "b", 1, true)
string.find(mid, "y")
string.find(mid, "y", 1, true)
string.find(mid, ("x"):rep(100) .. "y", 1, true)
string.find(long, "xy", 1, true)
string.find(short, "(a)(b)(c)")
string.find(mid, "x*y")
string.find(mid, "[^y]*y")
string.find(mid, "[%w%s]-y")
string.find(mid, "%f[y]")
string.find(mid, "(x*)%1y")
string.find(mid, "%bxy")
string.find(mid, ".-y")
string.find(mid, "^(.-)%s*$")
string.find(short, ("a?"):rep(100))
string.find(short, ("()"):rep(31))
string.format("%d", 5)
string.format("%5.1f", 1 / 3)
string.format("%.14g", 1 / 3)
string.format("%.99f", 1e308)
string.format("%99.99e", 1e-308)
string.format("%.20g", 1 / 3)
string.format("%a", 1 / 3)
string.format("%x %X %o %u %c", 255, 255, 255, 255, 65)
string.format("%s", short)
string.format("%99s", short)
string.format("%s%s%s%s%s", 1, 2, 3, 4, 5)
string.format("%q", odd)
string.format(mid)
string.format(("%%"):rep(1000))
string.format(("%d"):rep(200), unpack(list, 1, 200))
string.format(("%s"):rep(200), unpack(floats, 1, 200))
string.format("%s", list)
string.gmatch(short, "b")
for w in string.gmatch(mid, "x") do end
for w in string.gmatch(mid, "()") do end
for a, b in string.gmatch(mid, "(x)(x)") do end
string.gsub(short, "b", "c")
string.gsub(mid, "x", "yy")
string.gsub(mid, "x", "%0%0%0%0")
string.gsub(mid, "x", nop)
string.gsub(mid, "x", names)
string.gsub(mid, "(x)(x)", "%2%1")
string.gsub(mid, "", "-")
string.gsub(mid, "y", "z")
string.gsub(digits, "%d", function(d) return d + 1 end)
string.gsub(digits, "(%d)", {["1"] = 1.7976931348623157e308, ["2"] = 1 / 3})
string.lower(mid)
string.upper(mid)
string.upper(short)
string.len(short)
string.match(short, "b")
string.match(mid, "^x*$")
string.match(mid, "(x)(x)(x)(x)(x)(x)(x)(x)(x)(x)")
string.rep("x", 2e4)
string.rep("x", 2e4, "y")
string.rep("", 1e9)
string.rep(short, 5)
string.reverse(mid)
string.reverse(short)
string.sub(mid, 2)
string.sub(short, 2)
table.concat(list)
table.concat(list, ",")
table.concat(floats, ",")
table.concat({1 / 3})
table.concat({}, mid)
table.foreach(names, nop)
table.foreachi(list, nop)
table.getn(list)
table.insert(list, 1)
table.insert(list, 1, 1)
table.insert({}, 1)
table.insert(list, 2999, 1)
table.insert(list, 5000, 1)
table.insert(list, -5, 1)
table.maxn(names)
table.maxn(list)
table.move(list, 1, 3000, 2)
table.move(list, 1, 3000, 1, {})
table.move(names, 1, 3000, 1, {})
table.new(1000, 0)
table.new(0, 1000)
table.new(10, 10)
table.nkeys(names)
table.nkeys(list)
table.isarray(list)
table.isempty(names)
table.clone(names)
table.clone(list)
table.clear({})
table.pack(unpack(list, 1, 1000))
table.pack()
table.remove(list, 1)
table.remove(list, 1) table.insert(list, 1)
table.remove(list)
table.sort(list)
table.sort(list, function(a, b) return a > b end)
table.sort(list, function(a, b) return true end)
table.sort({long .. "b", long .. "a"})
table.sort({3, 2, 1})
table.unpack(list, 1, 3000)
unpack(list)
unpack({}, 1, 7000)
math.random()
math.random(1, 10)
math.sin(1e300)
math.tan(1e300)
math.exp(1.5)
math.log(1.5, 3)
math.pow(1.1, 300.5)
math.fmod(1e308, 1e-308)
math.ldexp(1, 1000)
math.max(unpack(floats))
math.min(unpack(list, 1, 3000))
math.floor("1.7976931348623157e308")
math.floor(digits)
bit.band(unpack(list, 1, 3000))
bit.bxor(1e300, 1e300)
bit.tohex(255, 254)
bit.lshift("5", "6")
os.time()
os.time({year = 2024, month = 1, day = 1})
os.time({year = 2147483647, month = -2147483647, day = 2147483647})
os.clock()
os.date()
os.date("*t")
os.date("!%c %x %X")
os.date("%V", 1e12)
os.date(("%c"):rep(100))
os.date(("x"):rep(1000))
os.difftime(1, 2)
pcall(function() jit.foo = nil end)
io.type(list)
json.encode(list)
json.encode(floats)
json.encode(names)
json.encode(odd)
json.encode(mid)
json.encode(short)
json.encode({{{{{{{}}}}}}})
json.encode({1, 2, {a = 1}})
json.encode(1 / 3)
json.decode("[]")
json.decode('{"a":1}')
json.decode("[" .. ("1,"):rep(1000) .. "1]")
json.decode("[" .. ("{},"):rep(1000) .. "1]")
json.decode("[" .. ("[],"):rep(1000) .. "1]")
json.decode("[" .. ("1.7976931348623157e308,"):rep(1000) .. "1]")
json.decode("[" .. ("123456789012345678901234567890,"):rep(1000) .. "1]")
json.decode("[" .. ("0.1234567891,"):rep(1000) .. "1]")
json.decode("[" .. ('"a",'):rep(1000) .. "1]")
json.decode("{" .. ('"a":1,'):rep(1000) .. '"b":2}')
json.decode('"' .. ("\\u00e9"):rep(5000) .. '"')
json.decode('"' .. ("\\n"):rep(5000) .. '"')
json.decode('"' .. mid .. '"')
json.decode((" "):rep(20000) .. "1")
json.decode(("["):rep(900) .. ("]"):rep(900))
json.decode(digits)
json.decode("0." .. digits)
pcall(json.decode, ("["):rep(1001))
pcall(json.decode, "[" .. ("1,"):rep(1000))
pcall(json.decode, '"\\x' .. mid)
json.new()
local x = json.decode("123456789012345678901234567890") .. ""
local n = json.decode("123456789012345678901234567890") for i = 1, 100 do local x = n + 1 end
local n = json.decode("123456789012345678901234567890") for i = 1, 100 do local x = n < n end
local n = json.decode("123456789012345678901234567890e250") for i = 1, 100 do local x = n < 1.7976931348623157e-290 end
local n = json.decode("123456789012345678901234567890") for i = 1, 100 do local x = n == n end
local n = json.decode("1." .. digits) for i = 1, 100 do local x = tostring(n) .. n end
local n = json.decode("1." .. digits) for i = 1, 100 do local x = string.rep(n, 1) end
require("kong.tools.cjson").decode("[" .. ("[],"):rep(1000) .. "1]")
require("kong.tools.cjson").encode(odd)
re.match(short, "b")
re.match(mid, "y")
re.match(mid, "[a-z]+y", "jo")
re.match(mid, "(x+x+)+y")
re.match(mid, "(.*)(.*)(.*)y")
re.match(mid, "x{0,900}y")
re.match(mid, "((((((((((x))))))))))*y")
re.match(odd, "\\\\p{L}+", "u")
re.match(short, "b" .. #list) list[#list + 1] = 1
re.match(short, "[a-z]{1,100}" .. #list) list[#list + 1] = 1
re.match(short, ("\\\\p{L}"):rep(100) .. #list, "u") list[#list + 1] = 1
re.match(short, ("(?i:é)"):rep(100) .. #list, "u") list[#list + 1] = 1
re.match(short, ("[^a]"):rep(300) .. #list, "iu") list[#list + 1] = 1
re.match(short, ("(a|b)"):rep(60) .. #list) list[#list + 1] = 1
re.match(short, ("a|"):rep(1000) .. #list) list[#list + 1] = 1
re.match(short, "(")
re.match(short, ("("):rep(999))
re.match(short, ("(?:"):rep(900) .. (")"):rep(900) .. #list) list[#list + 1] = 1
re.find(mid, "y")
re.find(mid, "$")
re.find(mid, "(?:x|xx|xxx)*y")
re.gmatch(short, "b")
for m in re.gmatch(mid, "x") do end
for m in re.gmatch(mid, "(x)(x)(x)(x)") do end
re.sub(mid, "x", "y")
re.sub(mid, "x", ("$0"):rep(1000))
re.gsub(mid, "x", "y")
re.gsub(mid, "x", "$0$0$0$0")
pcall(re.gsub, mid, "x", nop)
re.gsub(mid, "x", function() return "z" end)
re.gsub(mid, "", "-")
re.gsub(mid, "\\\\b", "-", "u")
require("ngx.re").split(mid, "x")
require("ngx.re").split(mid, "(x)")
ngx.now()
ngx.time()
ngx.today()
ngx.localtime()
ngx.utctime()
ngx.http_time(1e9)
ngx.cookie_time(1e9)
ngx.parse_http_time("Mon, 02-Jan-2006 15:04:05 GMT")
ngx.parse_http_time("Sunday, 06-Nov-94 08:49:37 GMX")
ngx.encode_base64(mid)
ngx.encode_base64(short)
ngx.decode_base64(mid)
ngx.decode_base64(("!"):rep(20000))
ngx.escape_uri(mid)
ngx.escape_uri(odd)
ngx.escape_uri(("\255"):rep(20000))
ngx.unescape_uri(("%41"):rep(7000))
ngx.unescape_uri(mid)
ngx.encode_args(names)
ngx.encode_args({a = list})
ngx.encode_args({a = 1 / 3})
ngx.decode_args(("a=1&"):rep(5000), 0)
ngx.decode_args(("a=1&"):rep(5000))
ngx.decode_args(("&"):rep(20000), 0)
ngx.decode_args(mid)
ngx.quote_sql_str(odd)
ngx.quote_sql_str(mid)
ngx.md5(mid)
ngx.md5(short)
ngx.md5_bin(mid)
ngx.sha1_bin(mid)
ngx.hmac_sha1(short, short)
ngx.hmac_sha1(mid, mid)
ngx.crc32_long(mid)
ngx.crc32_short(short)
ngx.req.get_headers()
ngx.req.get_uri_args()
ngx.req.get_body_data()
ngx.req.get_post_args()
ngx.req.get_method()
ngx.log(ngx.ERR, 1 / 3, "x", nil)
ngx.log(ngx.ERR, long)
pcall(function() return ngx.var.foo1 end)
local x = ngx.HTTP_OK
pcall(function() ngx.var.x = 1 end)
pcall(function() return ngx.foo end)
kong.log.err(short)
kong.log.err(unpack(floats))
kong.log.err(long)
kong.log.inspect(list)
kong.log.inspect(names)
kong.log.inspect(odd)
kong.log.inspect(long)
kong.log.inspect({{{{}}}}, 1, 2, 3)
kong.request.get_headers()
kong.request.get_header("x_y-Z")
kong.request.get_header(long)
kong.request.get_query()
kong.request.get_query_arg("a")
kong.request.get_body()
kong.request.get_raw_body()
kong.request.get_method()
kong.request.get_path_with_query()
kong.client.get_consumer()
kong.node.get_hostname()
kong.plugin.get_id()
kong.table.merge(names, names)
kong.table.merge(list, list)
kong.table.merge({}, {})
kong.table.new(10, 10)
kong.ctx.plugin.a = 1
kong.ctx.shared["x" .. #list] = 1 list[#list + 1] = 1
local x = kong.ctx.shared
ngx.ctx["x" .. #list] = 1 list[#list + 1] = 1
require("kong.tools.gzip").deflate_gzip(short)
require("kong.tools.gzip").deflate_gzip(long)
require("kong.tools.gzip").deflate_gzip(digits)
require("kong.tools.gzip").inflate_gzip(short)
require("kong.tools.gzip").inflate_gzip(require("kong.tools.gzip").deflate_gzip(long))
local z = require("kong.tools.gzip").deflate_gzip(long) while true do require("kong.tools.gzip").inflate_gzip(z) end
local z = require("kong.tools.gzip").deflate_gzip(short) while true do require("kong.tools.gzip").inflate_gzip(z) end
local s = {} for i = 1, 5000 do s[i] = math.random(0, 255) end s = string.char(unpack(s)) local z = require("kong.tools.gzip").deflate_gzip(s) while true do require("kong.tools.gzip").inflate_gzip(z) end
local s = {} for i = 1, 5000 do s[i] = math.random(0, 255) end s = string.char(unpack(s)) while true do require("kong.tools.gzip").deflate_gzip(s) end
require("kong.tools.ip").is_valid_ip("2001:db8::ffff:ffff:255.255.255.255")
require("kong.tools.ip").is_valid_ip_or_cidr("2001:db8:1111:2222:3333:4444:5555:6666/128x")
require("kong.tools.ip").hostname_type((":"):rep(1000))
require("kong.tools.ip").normalize_ipv4(("1."):rep(500))
require("kong.tools.ip").normalize_ipv4("1.2.3.4:5")
require("kong.tools.ip").normalize_ipv6("2001:db8::1")
require("kong.tools.ip").check_hostname(("a."):rep(500))
require("kong.tools.mime_type").parse_mime_type("a/b" .. (";c=d"):rep(1000))
require("kong.tools.mime_type").parse_mime_type(mid)
require("kong.tools.rand").get_rand_bytes(10000)
require("kong.tools.rand").get_rand_bytes(1)
require("kong.tools.rand").random_string()
require("kong.tools.sha1").sha1_hex(mid)
require("kong.tools.sha256").sha256_hex(mid)
require("kong.tools.sha256").sha256_base64url(short)
require("kong.tools.string").strip((" "):rep(20000))
require("kong.tools.string").strip(mid)
require("kong.tools.string").validate_utf8(("é"):rep(10000))
require("kong.tools.string").replace_dashes(("-"):rep(20000))
require("kong.tools.string").replace_dashes_lower(mid)
require("kong.tools.string").split(mid, "x")
require("kong.tools.table").deep_copy(names)
require("kong.tools.table").table_merge(list, names)
require("kong.tools.time").time_ns()
require("kong.tools.timestamp").get_timestamps()
require("kong.tools.timestamp").get_timetable()
uri.normalize(mid)
uri.normalize("/" .. ("../"):rep(5000))
uri.normalize(("/a"):rep(5000), true)
uri.normalize(("/"):rep(10000), true)
uri.normalize(("%41"):rep(5000))
uri.normalize(("%2f"):rep(5000))
uri.normalize(("./"):rep(5000))
uri.escape(mid)
uri.escape(("\255"):rep(20000))
uri.escape(("~"):rep(20000))
require("kong.tools.uuid").uuid()
require("kong.tools.uuid").is_valid_uuid("123e4567-e89b-12d3-a456-426614174000")
require("resty.jit-uuid").generate_v5("123e4567-e89b-12d3-a456-426614174000", mid)
require("resty.jit-uuid").generate_v3("123e4567-e89b-12d3-a456-426614174000", short)
require("resty.random").bytes(1000)
require("resty.sha512"):new():final()
require("resty.string").to_hex(mid)
require("resty.string").atoi((" "):rep(20000))
require("ngx.base64").decode_base64mime(("é"):rep(10000))
require("ngx.base64").decode_base64mime(mid)
require("ngx.base64").encode_base64url(mid)
require("ngx.base64").decode_base64url(mid)
require("pl.stringx").split(mid, "x")
require("pl.stringx").rfind(mid, "x")
require("pl.stringx").strip((" "):rep(5000))
require("pl.tablex").deepcompare(names, names)
local b = require("string.buffer").new() for i = 1, 100 do b:put(short) b:tostring() end
local b = require("string.buffer").new() for i = 1, 100 do b:put(mid) b:get(1) end
local d = ("\\z"):rep(3) local t = {} for i = 1, 200 do t = {t} end json.encode(t)
local t = {} for i = 1, 10 do t = {t, t} end json.encode(t)
for k in pairs(list) do list[k] = nil end for i = 1, 3000 do list[i] = i end
for i = 1, 100 do local t = {} for j = 1, 33 do t[j] = j end end
for i = 1, 100 do local t = {} for j = 1, 9 do t["a" .. j] = j end end
local t = {} for i = 3000, 1, -1 do t[i] = i end
local s = "" for i = 1, 1000 do s = s .. "x" end
local function f(n) if n > 0 then return 1 + f(n - 1) end return 1 end f(150)
local function f(n, ...) if n > 0 then return f(n - 1, n, ...) end end f(100)
local t = {} for i = 1, 300 do t[i] = function() return t[i] end end
local t = {} for i = 1, 100 do t[i] = coroutine.wrap(function() coroutine.yield(i) end) t[i]() end
`), "\n")

// hostileFunctions are all of them.
func hostileFunctions() []string {
	all := append([]string(nil), hostile...)
	for _, body := range hostileLoops {
		all = append(all, hostileSets+"while true do "+body+" end")
	}
	return all
}

// exampleDraft is what they are given. They know the request by what their sources name.
func exampleDraft() *record.Draft {
	return &record.Draft{Request: exampleRequest(), Message: []byte("{}")}
}

// Bad functions end in good time, and disturb nobody.
func TestHostileFunctionsEndAndHarmNobody(t *testing.T) {
	good := compile(t, budgetExample)
	want := draft(t, exampleRequest())
	if err := good.Transform(want); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			for range 20 {
				d := draft(t, exampleRequest())
				if err := good.Transform(d); err != nil || len(d.Message) != len(want.Message) || !strings.Contains(string(d.Message), "REDACTED") {
					t.Errorf("%s, %v", d.Message, err)
				}
			}
		})
	}
	var bad []*Functions
	for _, body := range hostile {
		bad = append(bad, compile(t, "return function(m) "+body+" end"))
	}
	for i, f := range bad {
		wg.Go(func() {
			d := exampleDraft()
			if err := f.Transform(d); !errors.As(err, new(*record.TransformError)) {
				t.Errorf("%s: %.100s, %v", hostile[i], d.Message, err)
			}
		})
	}
	wg.Wait()
}
