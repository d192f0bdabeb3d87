package lualib

import (
	"strings"
	"testing"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

func TestModulesOfKong(t *testing.T) {
	check(t, []example{
		{`require("kong.meta")._VERSION, tostring(require("kong.meta")._VERSION_TABLE), require("kong.meta")._NAME`, "3.9.3,3.9.3,kong"},
		{`local c = require "kong.constants" return c.HEADERS.CONSUMER_ID, c.LOG_LEVELS.error, c.LOG_LEVELS[ngx.WARN], c.RATELIMIT.PERIODS[2], c.PROTOCOLS[1]`, "X-Consumer-ID,4,warn,minute,grpc"},

		{`local g = require "kong.tools.gzip" local s = ("hello "):rep(10000) local z = g.deflate_gzip(s) return #z < 1000, g.inflate_gzip(z) == s`, "true,true"},
		{`local g = require "kong.tools.gzip" return g.inflate_gzip(g.deflate_gzip(""))`, ""},
		{`require("kong.tools.gzip").inflate_gzip("no")`, "nil,INFLATE: data error"},
		{`local g = require "kong.tools.gzip" return g.inflate_gzip((g.deflate_gzip("hello hello")):sub(1, -5))`, "nil,INFLATE: data error"},

		{`local ip = require "kong.tools.ip" return ip.is_valid_ipv4("1.2.3.4"), ip.is_valid_ipv4("1.2.3"), ip.is_valid_ipv6("::1"), ip.is_valid_ip("::1"), ip.is_valid_ip("a"), ip.is_valid_ip(nil)`, "true,false,true,true,false,false"},
		{`local ip = require "kong.tools.ip" return ip.is_valid_cidr("1.2.3.0/24"), ip.is_valid_cidr("1.2.3.0/33"), ip.is_valid_cidr_v6("::/0"), ip.is_valid_ip_or_cidr("1.1.1.1"), ip.is_valid_ip_or_cidr_v4("::1")`, "true,false,true,true,false"},
		{`local ip = require "kong.tools.ip" return ip.hostname_type("123.123.123.123"), ip.hostname_type("::1"), ip.hostname_type("some::thing"), ip.hostname_type("a.b"), ip.hostname_type("1.2.3.4:80")`, "ipv4,ipv6,ipv6,name,ipv4"},
		{`local ip = require "kong.tools.ip" return ip.format_host(ip.normalize_ip("001.002.003.004:123")), ip.format_host(ip.normalize_ip("::1")), ip.format_host("::1", 80), (ip.format_host(ip.check_hostname("//bad .. name\\")))`, "1.2.3.4:123,[0000:0000:0000:0000:0000:0000:0000:0001],[0000:0000:0000:0000:0000:0000:0000:0001]:80,nil"},
		{`local ip = require "kong.tools.ip" return ip.normalize_ipv6("[::1]:80")`, "0000:0000:0000:0000:0000:0000:0000:0001,80"},
		{`local ip = require "kong.tools.ip" return ip.normalize_ipv4("1.2.3.4:99999")`, "nil,invalid port number"},
		{`local ip = require "kong.tools.ip" local t = ip.normalize_ip("example.com:8080") return t.type, t.host, t.port`, "name,example.com,8080"},

		{`local m = require "kong.tools.mime_type" local a, b, p = m.parse_mime_type("application/json; Charset=utf-8; Key=\"Va;lue\"") return a, b, p.charset, p.key`, "application,json,utf-8,Va;lue"},
		{`local m = require "kong.tools.mime_type" return m.parse_mime_type("nonsense"), (m.parse_mime_type("*/*")), (m.parse_mime_type("a/b;"))`, "nil,*,nil"},
		{`local m = require "kong.tools.mime_type" return m.includes({type = "*"}, {}), m.includes({type = "a", subtype = "*"}, {type = "a", subtype = "b"}), m.includes({type = "application", subtype = "json"}, {type = "application", subtype = "problem+json"}), m.includes({type = "a", subtype = "b"}, {type = "a", subtype = "c"})`, "true,true,true,false"},

		{`local r = require "kong.tools.rand" return #r.get_rand_bytes(7), #r.random_string(), r.random_string() ~= r.random_string(), r.random_string():match("^%w+$") ~= nil`, "7,32,true,true"},
		{`require("kong.tools.sha256").sha256_hex("hello")`, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
		{`local s = require("kong.tools.sha256") return s.sha256_base64("hello"), s.sha256_base64url("hello"), #s.sha256_bin("hello")`, "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=,LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ,32"},
		{`require("kong.tools.sha1").sha1_hex("hello")`, "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"},

		{`local s = require "kong.tools.string" return s.strip("  a b\n"), s.strip(nil), s.strip(12), s.join("-", {1, 2}), table.concat(s.split("a.b.c", "."), "|")`, "a b,,12,1-2,a|b|c"},
		{`local s = require "kong.tools.string" return s.bytes_to_str(5497558), s.bytes_to_str(5497558, "m"), s.bytes_to_str(5497558, "G", 3), s.parse_ngx_size("10k"), s.parse_ngx_size("1M"), s.parse_ngx_size("x")`, "5497558,5.24 MiB,0.005 GiB,10240,1048576,0"},
		{`local s = require "kong.tools.string" return s.validate_utf8("é"), s.validate_utf8("a\255")`, "true,false,2"},
		{`local s = require "kong.tools.string" return s.replace_dashes("My-Header"), s.replace_dashes_lower("My-Header"), s.try_decode_base64("aGVsbG8="), s.try_decode_base64("~"), s.try_decode_base64({"YQ", "~"})[1]`, "My_Header,my_header,hello,~,a"},

		{`local k = require "kong.tools.time" return k.nginx_conf_time_to_seconds("1h 30m"), k.nginx_conf_time_to_seconds("1y2d"), k.nginx_conf_time_to_seconds("10"), k.nginx_conf_time_to_seconds("5s")`, "5400,31708800,10,5"},
		{`local k = require "kong.tools.time" return k.time_ns() > 1e18, math.abs(k.get_now_ms() / 1000 - ngx.now()) < 1, k.get_updated_now() > 0, k.get_updated_monotonic_ms() >= 0`, "true,true,true,true"},
		{`local s = require("kong.tools.timestamp").get_timestamps(1290079655123) return ("%d %d %d %d %d %d"):format(s.second, s.minute, s.hour, s.day, s.month, s.year)`, "1290079655000 1290079620000 1290078000000 1290038400000 1288569600000 1262304000000"},
		{`local k = require("kong.tools.timestamp") return k.get_utc() % 1000, k.get_timetable(0).year, k.get_timetable(951782400):timestamp(), k.timestamp_table_fields[3]`, "0,1970,951782400,hour"},
		{`local u = require "kong.tools.uri" return u.normalize("/a/./b/../c%2e/%41%2f"), u.normalize("//a//b", true), u.normalize("/../x/.."), u.escape("/a b%\255é")`, "/a/c./A%2F,/a/b,/,/a%20b%%FF%C3%A9"},
		{`local u = require "kong.tools.utils" return #u.uuid(), u.is_valid_ipv4("1.1.1.1"), u.strip(" a "), u.table_contains({1, 2}, 2), #u.random_string()`, "36,true,a,true,32"},
		{`local u = require "kong.tools.uuid" return u.is_valid_uuid(u.uuid()), u.is_valid_uuid("x"), u.is_valid_uuid(nil), u.uuid():match("^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$") ~= nil`, "true,false,false,true"},
		{`local y = require "kong.tools.yield" y.yield(true) return y.in_yieldable_phase(), y.in_yieldable_phase("log")`, "true,nil"},
	})
}

func TestTablesOfKong(t *testing.T) {
	check(t, []example{
		{`local k = require "kong.tools.table" local m = k.table_merge({a = 1, b = 1}, {b = 2}) return m.a, m.b`, "1,2"},
		{`local k = require "kong.tools.table" local m = k.null_aware_table_merge({a = 1}, {a = ngx.null, b = ngx.null}) return m.a, m.b == ngx.null`, "1,true"},
		{`local k = require "kong.tools.table" return k.is_array({1, 2}), k.is_array({1, nil, 3}), k.is_array({a = 1}), k.is_array("x"), k.is_lapis_array({["1"] = 1}), k.is_array({}, "fast")`, "true,false,false,false,true,true"},
		{`local k = require "kong.tools.table" local a = {b = {c = 1}} local d = k.deep_copy(a) d.b.c = 2 local s = k.shallow_copy(a) return a.b.c, s.b == a.b, s ~= a`, "1,true,true"},
		{`local k = require "kong.tools.table" local m = k.deep_merge({a = {b = 1}, x = 1}, {a = {c = 2}}) return m.a.b, m.a.c, m.x`, "1,2,1"},
		{`local k = require "kong.tools.table" local a = {} a.a = a local c = k.cycle_aware_deep_copy(a) return c ~= a, c.a == c, k.cycle_aware_deep_merge({a = {b = 1}}, {a = {c = 2}}).a.b`, "true,true,1"},
		{`local k = require "kong.tools.table" local e = k.add_error(nil, "a", "x") e = k.add_error(e, "a", "y") return e.a[1], e.a[2], k.table_path({a = {b = 3}}, {"a", "b"}), k.table_path({}, {"a", "b"})`, "x,y,3,nil"},
		{`local k = require "kong.tools.table" local p = k.pack(1, nil, 3) return p.n, select("#", k.unpack(p)), #k.concat({1}, {2, 3})`, "3,3,3"},
		{`local k = require "kong.tools.table" return pcall(function() k.EMPTY.x = 1 end)`, "false,Attempt to modify read-only table"},
	})
}

func TestModulesOfOpenResty(t *testing.T) {
	check(t, []example{
		{`require("bit").band(255, 15), require("table.new")(1, 1) ~= nil, require("table.nkeys")({a = 1}), require("table.isarray")({1}), require("table.isempty")({}), #require("table.clone")({1, 2})`, "15,true,1,true,true,2"},
		{`local t = {1} require("table.clear")(t) return #t`, "0"},
		{`local b = require("string.buffer").new(10) b:put("a", 1, "b"):putf("%03d", 7) return tostring(b), #b, b:get(2), b:get(), #b, tostring(b:set("xyz"):skip(1)), b .. "!"`, "a1b007,6,a1,b007,0,yz,yz!"},
		{`local b = require "ngx.base64" return b.encode_base64url("\255\254~"), b.decode_base64url("__5-"), b.decode_base64url("!"), b.encode_base64url(1)`, "__5-,\xff\xfe~,nil,nil,must provide a string"},
		{`require("ngx.base64").decode_base64mime("aGVs\r\nbG8=")`, "hello"},
		{`table.concat(require("ngx.re").split("a,b,c,d", ","), "|")`, "a|b|c|d"},
		{`table.concat(require("ngx.re").split("a,b,c,d", "(,)"), "|")`, "a|,|b|,|c|,|d"},
		{`table.concat(require("ngx.re").split("a,b,c,d", ",", nil, {pos = 5}), "|"), table.concat(require("ngx.re").split("a,b,c,d", ",", "jo", nil, 3), "|")`, "c|d,a|b|c,d"},
		{`table.concat(require("ngx.re").split("abcd", ""), "|"), #require("ngx.re").split("", ","), table.concat(require("ngx.re").split("a,b,", ","), "|")`, "a|b|c|d,0,a|b|"},
		{`local h = require("resty.md5"):new() h:update("hel") h:update("lo") local s = require "resty.string" local d = s.to_hex(h:final()) h:reset() h:update("a") return d, s.to_hex(h:final()), s.atoi(" 12x")`, "5d41402abc4b2a76b9719d911017c592,0cc175b9c0f1b6a831c399e269772661,12"},
		{`local s, n = require "resty.string", {} for _, h in ipairs{"sha1", "sha224", "sha256", "sha384", "sha512"} do local x = require("resty." .. h):new() x:update("abc") n[#n + 1] = s.to_hex(x:final()):sub(1, 8) end return table.concat(n, " ")`, "a9993e36 23097d22 ba7816bf cb00753f ddaf35a1"},
		{`#require("resty.random").bytes(16), #require("resty.random").bytes(5, true)`, "16,5"},
		{`local u = require "resty.jit-uuid" u.seed() return u.is_valid(u()), u.is_valid(u.generate_v4()), u.is_valid("no"), u() ~= u()`, "true,true,false,true"},
		{`local u = require "resty.jit-uuid" local ns = "6ba7b810-9dad-11d1-80b4-00c04fd430c8" return u.generate_v5(ns, "www.example.com"), u.generate_v3(ns, "www.example.com"), u.factory_v5(ns)("www.example.com") == u.generate_v5(ns, "www.example.com"), u.generate_v5("x", "y")`, "2ed6657d-e927-568b-95e1-2665a8aea6a2,5df41881-3aed-3515-88a7-2f4a814cf09e,true,nil,namespace must be a valid UUID"},
	})
}

func TestPenlight(t *testing.T) {
	check(t, []example{
		{`local x = require "pl.stringx" return x.strip(" a "), x.lstrip("xxa", "x"), x.rstrip("a]]", "]"), x.startswith("abc", "ab"), x.endswith("abc", {"x", "bc"}), x.isdigit("12"), x.isalpha("a1")`, "a,a,a,true,true,true,false"},
		{`local x = require "pl.stringx" return #x.split("a b  c"), table.concat(x.split("a,b,c", ",", 2), "|"), #x.split("", ","), #x.split(",", ","), table.concat(x.splitlines("a\r\nb\n\nc"), "|")`, "3,a|b,c,1,2,a|b||c"},
		{`local x = require "pl.stringx" return x.replace("a.b.c", ".", "-"), x.replace("a.b.c", ".", "-", 1), x.count("aaa", "a"), x.rfind("a.b.c", "."), x.lfind("a.b", "."), x.partition("a=b=c", "=")`, "a-b-c,a-b.c,3,4,2,a,=,b=c"},
		{`local x = require "pl.stringx" return x.rpartition("a=b=c", "="), x.ljust("a", 3) .. "|", x.rjust("a", 3, "0"), x.center("a", 3), x.title("hello WORLD"), x.shorten("abcdefgh", 6), x.join(",", {1, 2}), x.at("abc", 2), x.expandtabs("a\tb", 4)`, "a=b,a  |,00a, a ,Hello World,abc...,1,2,b,a   b"},
		{`local x = require "pl.tablex" local f = x.filter({1, 2, 3, 4}, function(v) return v % 2 == 0 end) return #f, x.find({5, 6}, 6), x.reduce(function(a, b) return a + b end, {1, 2, 3}), x.size({a = 1, b = 2}), x.deepcompare({1, {2}}, {1, {2}}), x.deepcompare({1}, {1, 2})`, "2,2,6,2,true,false"},
		{`local x = require "pl.tablex" local m = x.map(function(v, n) return v * n end, {a = 1, b = 2}, 10) return m.a, m.b, #x.keys(m), #x.values(m), x.index_map({"p", "q"}).q, x.makeset({"p"}).p`, "10,20,2,2,2,true"},
		{`local x = require "pl.tablex" local d = x.deepcopy({a = {b = 1}}) return d.a.b, x.union({a = 1}, {b = 2}).b, x.intersection({a = 1, c = 1}, {a = 2}).a, x.difference({a = 1, b = 1}, {a = 1}).b, #x.range(1, 5, 2), table.concat(x.sub({1, 2, 3, 4}, 2, -2), ","), x.count_map({"a", "a"}).a`, "1,2,1,1,3,2,3,2"},
		{`local x, n = require "pl.tablex", {} for k, v in x.sort({b = 2, a = 1}) do n[#n + 1] = k .. v end for k, v in x.sortv({b = 1, a = 2}) do n[#n + 1] = k .. v end return table.concat(n, " ")`, "a1 b2 b1 a2"},
		{`local x = require "pl.tablex" local z = x.zip({1, 2}, {3, 4}) local t = {1, 5} x.insertvalues(t, 2, {2, 3}) x.removevalues(t, 1) x.transform(function(v) return v + 1 end, t) return z[2][2], table.concat(t, ","), x.find_if({3, 4}, function(v) return v > 3 end)`, "4,3,4,6,2,true"},
	})
}

func TestWrongArgumentsOfModulesFail(t *testing.T) {
	checkErrors(t, []example{
		{`require("pl.stringx").split(1, ",")`, "argument 1 expected a 'string' got a 'number'"},
		{`require("pl.tablex").map("+", {1})`, "argument 1 must be a function in message functions"},
		{`require("kong.tools.time").nginx_conf_time_to_seconds("1x")`, "bad argument #1 'str'"},
		{`require("kong.tools.time").get_start_time_ms()`, "ngx.req is not available in message functions"},
		{`require("resty.random").bytes(1e9)`, "a number from 0 to 1048576 expected"},
		{`require("kong.tools.rand").get_rand_bytes(-1)`, "a number from 0 to 1048576 expected"},
		{`require("string.buffer").new():put({})`, "bad argument #1 to 'put'"},
		{`require("kong.tools.string").bytes_to_str(1, "x")`, "invalid unit 'x'"},
	})
}

func TestHostileUseOfModulesEndsWithinTheBudget(t *testing.T) {
	for name, source := range map[string]string{
		"a bomb":         `local g, s = require "kong.tools.gzip", ("\0"):rep(10^5) local z = g.deflate_gzip(s) while true do g.inflate_gzip(z) end`,
		"hashes":         `local s = ("a"):rep(2^20) for i = 1, 1000 do ngx.md5(s) end`,
		"base64":         `local s = ("a"):rep(2^20) while true do s = ngx.encode_base64(s) end`,
		"escapes":        `local s = (" "):rep(2^20) while true do s = ngx.escape_uri(s) end`,
		"arguments":      `return ngx.decode_args(("a=1&"):rep(2^20), 0)`,
		"random":         `while true do require("resty.random").bytes(2^20) end`,
		"uuids":          `while true do require("resty.jit-uuid")() end`,
		"buffers":        `local b = require("string.buffer").new() while true do b:put(("x"):rep(1000)) end`,
		"padding":        `return require("pl.stringx").ljust("a", 1e9)`,
		"deep copies":    `local x, t = require "pl.tablex", {} for i = 1, 1e5 do t = {t} end return x.deepcopy(t)`,
		"compressors":    `while true do require("kong.tools.gzip").deflate_gzip("") end`,
		"replaced texts": `local x, s = require "pl.stringx", "a" while true do s = x.replace(s, "a", "aa") end`,
	} {
		_, err := run(t, newState(), source)
		if e, ok := err.(*sandbox.Error); !ok || !e.Budget {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What one state keeps of a module is not another's, and cannot be changed.
func TestStatesShareNothingThatScriptsCanChange(t *testing.T) {
	_, err := run(t, newState(), `getmetatable(require("resty.md5"):new()).__index.final = nil`)
	if err == nil {
		t.Error("the methods of resty.md5 can be changed")
	}
	_, err = run(t, newState(), `getmetatable(require("string.buffer").new()).__index.put = nil`)
	if err == nil {
		t.Error("the methods of string.buffer can be changed")
	}
}

func TestRequireWorksWithinProtectedCallsAndCoroutines(t *testing.T) {
	check(t, []example{
		{`local ok, m = pcall(require, "kong.tools.string") return ok, m.strip(" a ")`, "true,a"},
		{`local co = coroutine.wrap(function() local s = require "kong.tools.string" coroutine.yield(s.strip(" b ")) return require("pl.tablex").size({}) end) return co(), co()`, "b,0"},
		{`local ok, err = pcall(require, "nothing") return ok, (err:gsub("^.*: ", ""))`, "false,module 'nothing' is not available in message functions"},
	})
}

func FuzzTools(f *testing.F) {
	for _, s := range []string{"1.2.3.4:80", "[::1]:80", "a-b.example:1", `a/b; c="d\"e"; f=g`, "/a/../%2e/b", "1h 30m", "Thu, 18 Nov 2010 11:27:35 GMT", "*"} {
		f.Add(s)
	}
	p, err := sandbox.Compile("fuzz", `return function(s)
		local ip, uri = require "kong.tools.ip", require "kong.tools.uri"
		ip.normalize_ip(s:sub(1, 1000)) ip.is_valid_ip_or_cidr(s)
		require("kong.tools.mime_type").parse_mime_type(s)
		uri.normalize(s) uri.normalize(s, true) uri.escape(s)
		pcall(require("kong.tools.time").nginx_conf_time_to_seconds, s)
		require("kong.tools.gzip").inflate_gzip(s)
		require("kong.tools.string").validate_utf8(s)
		require("resty.jit-uuid").is_valid(s) require("kong.tools.uuid").is_valid_uuid(s)
		ngx.parse_http_time(s) ngx.decode_args(s) ngx.decode_base64(s)
		if ngx.unescape_uri(ngx.escape_uri(s)) ~= s then error("escaping is not undone") end
		return true
	end`)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1<<12 {
			return
		}
		state := newState()
		fn, err := state.Run(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := state.Call(fn.(*glua.LFunction), glua.LString(s)); err != nil && !strings.Contains(err.Error(), "more") {
			t.Fatal(err)
		}
	})
}
