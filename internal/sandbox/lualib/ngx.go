package lualib

import (
	"os"
	"sync"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

// ngxNumbers are the constants of ngx: those of lua-nginx-module, and nginx's numbers of
// methods.
var ngxNumbers = map[string]glua.LNumber{
	"OK": 0, "ERROR": -1, "AGAIN": -2, "DONE": -4, "DECLINED": -5,

	"STDERR": 0, "EMERG": 1, "ALERT": 2, "CRIT": 3, "ERR": 4, "WARN": 5, "NOTICE": 6, "INFO": 7, "DEBUG": 8,

	"HTTP_GET": 1 << 1, "HTTP_HEAD": 1 << 2, "HTTP_POST": 1 << 3, "HTTP_PUT": 1 << 4,
	"HTTP_DELETE": 1 << 5, "HTTP_MKCOL": 1 << 6, "HTTP_COPY": 1 << 7, "HTTP_MOVE": 1 << 8,
	"HTTP_OPTIONS": 1 << 9, "HTTP_PROPFIND": 1 << 10, "HTTP_PROPPATCH": 1 << 11,
	"HTTP_LOCK": 1 << 12, "HTTP_UNLOCK": 1 << 13, "HTTP_PATCH": 1 << 14, "HTTP_TRACE": 1 << 15,

	"HTTP_CONTINUE": 100, "HTTP_SWITCHING_PROTOCOLS": 101,
	"HTTP_OK": 200, "HTTP_CREATED": 201, "HTTP_ACCEPTED": 202, "HTTP_NO_CONTENT": 204, "HTTP_PARTIAL_CONTENT": 206,
	"HTTP_SPECIAL_RESPONSE": 300, "HTTP_MOVED_PERMANENTLY": 301, "HTTP_MOVED_TEMPORARILY": 302,
	"HTTP_SEE_OTHER": 303, "HTTP_NOT_MODIFIED": 304, "HTTP_TEMPORARY_REDIRECT": 307, "HTTP_PERMANENT_REDIRECT": 308,
	"HTTP_BAD_REQUEST": 400, "HTTP_UNAUTHORIZED": 401, "HTTP_PAYMENT_REQUIRED": 402, "HTTP_FORBIDDEN": 403,
	"HTTP_NOT_FOUND": 404, "HTTP_NOT_ALLOWED": 405, "HTTP_NOT_ACCEPTABLE": 406, "HTTP_REQUEST_TIMEOUT": 408,
	"HTTP_CONFLICT": 409, "HTTP_GONE": 410, "HTTP_UPGRADE_REQUIRED": 426, "HTTP_TOO_MANY_REQUESTS": 429,
	"HTTP_CLOSE": 444, "HTTP_ILLEGAL": 451,
	"HTTP_INTERNAL_SERVER_ERROR": 500, "HTTP_NOT_IMPLEMENTED": 501, "HTTP_METHOD_NOT_IMPLEMENTED": 501,
	"HTTP_BAD_GATEWAY": 502, "HTTP_SERVICE_UNAVAILABLE": 503, "HTTP_GATEWAY_TIMEOUT": 504,
	"HTTP_VERSION_NOT_SUPPORTED": 505, "HTTP_INSUFFICIENT_STORAGE": 507,

	"ESCAPE_URI": escapeURI, "ESCAPE_URI_COMPONENT": escapeComponent,
}

var ngxFunctions = map[string]glua.LGFunction{
	"now": ngxNow, "time": ngxTime, "today": ngxToday, "localtime": ngxLocaltime, "utctime": ngxUtctime,
	"http_time": ngxHTTPTime, "cookie_time": ngxCookieTime, "parse_http_time": ngxParseHTTPTime,
	"update_time": func(*glua.LState) int { return 0 }, // now is never out of date

	"encode_base64": ngxEncodeBase64, "decode_base64": ngxDecodeBase64,
	"escape_uri": ngxEscapeURI, "unescape_uri": ngxUnescapeURI,
	"encode_args": ngxEncodeArgs, "decode_args": ngxDecodeArgs,
	"quote_sql_str": ngxQuoteSQL,

	"md5": ngxHash("md5", true), "md5_bin": ngxHash("md5", false), "sha1_bin": ngxHash("sha1", false),
	"hmac_sha1": ngxHmacSHA1, "crc32_long": ngxCRC32("crc32_long"), "crc32_short": ngxCRC32("crc32_short"),

	"get_phase": func(l *glua.LState) int { return pushString(l, "access") },
}

var reFunctions = map[string]glua.LGFunction{
	"find": reFind, "match": reMatch, "gmatch": reGmatch, "sub": reSub, "gsub": reGsub,
}

// workerFunctions: to scripts this process is one worker of Kong's.
var workerFunctions = map[string]glua.LGFunction{
	"id":      constant(glua.LNumber(0)),
	"pid":     constant(glua.LNumber(os.Getpid())),
	"count":   constant(glua.LNumber(1)),
	"exiting": constant(glua.LFalse),
}

func constant(v glua.LValue) glua.LGFunction {
	return func(l *glua.LState) int {
		l.Push(v)
		return 1
	}
}

// sharedNgx are the members of ngx, which all states share: nobody writes to them.
var sharedNgx = sync.OnceValue(func() map[string]glua.LValue {
	m := map[string]glua.LValue{}
	for name, n := range ngxNumbers {
		m[name] = n
	}
	for name, f := range ngxFunctions {
		m[name] = newFunction(f)
	}
	s := new(sandbox.State) // Library does not use it
	m["re"] = s.Library("ngx.re", reFunctions, nil)
	m["worker"] = s.Library("ngx.worker", workerFunctions, nil)
	m["config"] = s.Library("ngx.config", nil, map[string]glua.LValue{
		"subsystem": glua.LString("http"), "debug": glua.LFalse,
		"nginx_version": glua.LNumber(1025003), "ngx_lua_version": glua.LNumber(10026),
	})
	return m
})
