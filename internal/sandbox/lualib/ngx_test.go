package lualib

import (
	"strings"
	"testing"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

func TestNgxDoesWhatOpenRestyDocuments(t *testing.T) {
	check(t, []example{
		{`ngx.HTTP_OK, ngx.HTTP_NOT_FOUND, ngx.HTTP_GATEWAY_TIMEOUT, ngx.HTTP_GET, ngx.HTTP_TRACE`, "200,404,504,2,32768"},
		{`ngx.OK, ngx.ERROR, ngx.AGAIN, ngx.DONE, ngx.DECLINED`, "0,-1,-2,-4,-5"},
		{`ngx.STDERR, ngx.EMERG, ngx.ERR, ngx.WARN, ngx.DEBUG`, "0,1,4,5,8"},
		{`type(ngx.null)`, "userdata"},
		{`ngx.get_phase(), ngx.worker.id(), ngx.worker.count(), ngx.worker.exiting(), ngx.worker.pid() > 0`, "access,0,1,false,true"},
		{`ngx.config.subsystem`, "http"},

		{`ngx.encode_base64("hello"), ngx.encode_base64("hello", true), ngx.encode_base64(nil), ngx.encode_base64(32), ngx.encode_base64(true)`, "aGVsbG8=,aGVsbG8,,MzI=,dHJ1ZQ=="},
		{`ngx.decode_base64("aGVsbG8="), ngx.decode_base64("aGVsbG8"), ngx.decode_base64("~"), ngx.decode_base64("")`, "hello,hello,nil,"},

		{`ngx.escape_uri("a 你"), ngx.escape_uri("a+b/c?d=e&f"), ngx.escape_uri("-._~!*'()")`, "a%20%E4%BD%A0,a%2Bb%2Fc%3Fd%3De%26f,-._~!*'()"},
		{`ngx.escape_uri("https://a.b/c d?e=f#g%h", 0), ngx.escape_uri("a b", 2), ngx.escape_uri(nil), ngx.escape_uri(12.5)`, "https://a.b/c%20d%3Fe=f%23g%25h,a%20b,,12.5"},
		{`ngx.unescape_uri("b%20r56+7"), ngx.unescape_uri("try %search%%20%again%"), ngx.unescape_uri("%e4%bd%A0")`, "b r56 7,try %search% %again%,你"},

		{`ngx.encode_args({foo = 3})`, "foo=3"},
		{`ngx.encode_args({["b r"] = "hello world"})`, "b%20r=hello%20world"},
		{`ngx.encode_args({baz = {32, "hello"}})`, "baz=32&baz=hello"},
		{`ngx.encode_args({a = true}), ngx.encode_args({a = false}), ngx.encode_args({a = {}}), ngx.encode_args({})`, "a,,,"},
		{`local t = {} t.a = true t.b = 1 return ngx.encode_args(t)`, "a&b=1"},
		{`local t = ngx.decode_args("a=1&b&c=%20x&a=2&=y&&d=") return t.a[1], t.a[2], t.b, t.c, t.d, t[""]`, "1,2,true, x,,nil"},
		{`local t, err = ngx.decode_args("a=1&b=2&c=3", 2) return t.a, t.b, t.c, err`, "1,2,nil,truncated"},
		{`local t, err = ngx.decode_args(("a=1&"):rep(100) .. "b=2") return #t.a, t.b, err`, "100,nil,truncated"},
		{`local t, err = ngx.decode_args(("a=1&"):rep(200), 0) return #t.a, err`, "200,nil"},

		{`ngx.md5("hello"), ngx.md5("")`, "5d41402abc4b2a76b9719d911017c592,d41d8cd98f00b204e9800998ecf8427e"},
		{`#ngx.md5_bin("hello"), #ngx.sha1_bin("hello"), ngx.encode_base64(ngx.sha1_bin("hello"))`, "16,20,qvTGHdzF6KLavt4PO0gs2a6pQ00="},
		{`ngx.encode_base64(ngx.hmac_sha1("thisisverysecretstuff", "some string we want to sign"))`, "R/pvxzHC4NLtj7S+kXFg/NePTmk="},
		{`ngx.crc32_long("hello"), ngx.crc32_short("hello"), ngx.crc32_short("")`, "907060870,907060870,0"},
		{`ngx.quote_sql_str("a\n\r\t\\'\"\0\b\26b$")`, `'a\n\r\t\\\'\"\0\b\Zb$'`},
	})
}

func TestTimesAreWrittenAndReadAsNginxDoes(t *testing.T) {
	check(t, []example{
		{`ngx.http_time(1290079655), ngx.parse_http_time("Thu, 18 Nov 2010 11:27:35 GMT")`, "Thu, 18 Nov 2010 11:27:35 GMT,1290079655"},
		{`ngx.cookie_time(1290079655), ngx.cookie_time(2290079655)`, "Thu, 18-Nov-10 11:27:35 GMT,Sun, 27-Jul-2042 13:14:15 GMT"},
		{`ngx.parse_http_time(ngx.http_time(0)), ngx.parse_http_time("Thursday, 18-Nov-10 11:27:35 GMT"), ngx.parse_http_time("Thu Nov 18 11:27:35 2010"), ngx.parse_http_time("never")`, "0,1290079655,1290079655,nil"},
		{`ngx.today():match("^%d%d%d%d%-%d%d%-%d%d$") ~= nil, ngx.localtime():match("^%d+%-%d+%-%d+ %d%d:%d%d:%d%d$") ~= nil, #ngx.utctime()`, "true,true,19"},
		{`ngx.update_time() return math.abs(ngx.now() - os.time()) <= 1, ngx.time() - os.time() <= 1`, "true,true"},
		{`local t = ngx.now() * 1000 return math.abs(t - math.floor(t + 0.5)) < 0.01`, "true"},
	})
}

func TestWrongArgumentsFailAsInOpenResty(t *testing.T) {
	checkErrors(t, []example{
		{`ngx.decode_base64(1)`, "string argument only"},
		{`ngx.encode_base64("a", 1)`, "bad no_padding: boolean expected, got number"},
		{`ngx.escape_uri("a", "b")`, `"esc_type" is not number`},
		{`ngx.escape_uri("a", 1)`, "the types 0 and 2 are available"},
		{`ngx.encode_args("a")`, "bad argument #1 to 'encode_args' (table expected, got string)"},
		{`ngx.encode_args({a = print})`, "attempt to use function as query arg value"},
		{`ngx.encode_args({1})`, "attempt to use a non-string key"},
		{`ngx.decode_args()`, "bad argument #1 to 'decode_args' (string expected, got no value)"},
		{`ngx.hmac_sha1("a")`, "expecting 2 arguments"},
		{`ngx.crc32_long()`, "expecting one argument"},
		{`ngx.crc32_long({})`, "bad argument #1 to 'crc32_long' (string expected, got table)"},
		{`ngx.quote_sql_str()`, "expecting one argument"},
		{`ngx.http_time("x")`, "bad argument #1 to 'http_time' (number expected, got string)"},
		{`ngx.http_time(1e300)`, "out of range"},
		{`ngx.re.match("a", "a", "q")`, `unknown flag "q" (flags "q")`},
	})
}

func TestWhatNgxDoesNotHaveFailsWithItsName(t *testing.T) {
	checkErrors(t, []example{
		{`ngx.sleep(1)`, "ngx.sleep is not available in message functions"},
		{`ngx.socket.tcp()`, "ngx.socket is not available in message functions"},
		{`ngx.re.opt("a", 1)`, "ngx.re.opt is not available in message functions"},
		{`ngx.worker.foo`, "ngx.worker.foo is not available in message functions"},
		{`ngx.OK = 1 return 1`, "ngx cannot be changed"},
		{`require "resty.http" return 1`, "module 'resty.http' is not available in message functions"},
		{`require("kong.tools.uri").foo`, "kong.tools.uri.foo is not available in message functions"},
		{`require("pl.tablex").foo`, "pl.tablex.foo is not available in message functions"},
		{`require("pl.tablex").map = 1 return 1`, "pl.tablex cannot be changed"},
		{`require("pl.tablex").update(string, {len = 1}) return 1`, "string cannot be changed"},
		{`require("kong.constants").HEADERS.VIA = 1 return 1`, "kong.constants.HEADERS cannot be changed"},
	})
}

// The pure part of what Kong's strict mode allows.
func TestAllThatStrictModeAllowsIsThere(t *testing.T) {
	for _, name := range strings.Fields(`
		ngx.null ngx.now ngx.time ngx.today ngx.localtime ngx.utctime ngx.http_time ngx.cookie_time
		ngx.parse_http_time ngx.update_time ngx.encode_base64 ngx.decode_base64 ngx.escape_uri
		ngx.unescape_uri ngx.encode_args ngx.decode_args ngx.md5 ngx.md5_bin ngx.sha1_bin
		ngx.hmac_sha1 ngx.crc32_long ngx.crc32_short ngx.quote_sql_str ngx.re.find ngx.re.match
		ngx.re.gmatch ngx.re.sub ngx.re.gsub ngx.get_phase ngx.worker.id ngx.worker.pid
		ngx.worker.count ngx.worker.exiting
		bit.arshift bit.band bit.bnot bit.bor bit.bswap bit.bxor bit.lshift bit.rol bit.ror
		bit.rshift bit.tobit bit.tohex
		table.clear table.clone table.concat table.foreach table.foreachi table.getn table.insert
		table.isarray table.isempty table.maxn table.move table.new table.nkeys table.pack
		table.remove table.sort table.unpack`) {
		if got := eval(t, "return "+name+" ~= nil"); got != "true" {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, name := range strings.Fields(`
		bit string.buffer table.new table.clear table.clone table.nkeys table.isarray table.isempty
		kong.constants kong.meta kong.tools.gzip kong.tools.ip kong.tools.mime_type kong.tools.rand
		kong.tools.sha1 kong.tools.sha256 kong.tools.string kong.tools.table kong.tools.time
		kong.tools.timestamp kong.tools.uri kong.tools.utils kong.tools.uuid kong.tools.yield
		ngx.base64 ngx.re pl.stringx pl.tablex resty.jit-uuid resty.md5 resty.random resty.sha1
		resty.sha224 resty.sha256 resty.sha384 resty.sha512 resty.string`) {
		if got := eval(t, "return require('"+name+"') == require('"+name+"')"); got != "true" {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, name := range strings.Fields(`lyaml kong.tools.jose ngx.req ngx.resp ngx.semaphore resty.aes
		resty.lock resty.upload resty.lrucache resty.cookie resty.openssl.digest socket.url xmlua`) {
		if got := eval(t, "require '"+name+"'"); !strings.Contains(got, "module '"+name+"' is not available in message functions") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestMembersOfTheRequestAreAddedToNgx(t *testing.T) {
	s := sandbox.New(testLimits)
	Open(s, glua.LNil, map[string]glua.LValue{"status": glua.LNumber(7), "OK": glua.LNumber(9)})
	got, err := run(t, s, "return ngx.status, ngx.OK, ngx.ERROR")
	if err != nil || got != "7,9,-1" {
		t.Error(got, err)
	}
}

func BenchmarkOpen(b *testing.B) {
	s := sandbox.New(testLimits)
	Open(s, glua.LNil, nil)
	b.ReportAllocs()
	for b.Loop() {
		Open(s, glua.LNil, nil)
	}
}
