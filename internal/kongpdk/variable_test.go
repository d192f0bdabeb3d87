package kongpdk

import (
	"bytes"
	"strings"
	"testing"
)

func TestRequestLineIsTakenApart(t *testing.T) {
	for line, want := range map[string][3]string{
		"GET / HTTP/1.1":            {"GET", "/", ""},
		"POST /a/b?c=d?e HTTP/1.1":  {"POST", "/a/b?c=d?e", "c=d?e"},
		"PURGE /? HTTP/1.0":         {"PURGE", "/?", ""},
		"PUT /\xff?x=\xe9 HTTP/2.0": {"PUT", "/\xff?x=\xe9", "x=\xe9"},
		"M-SEARCH //x HTTP/1.1":     {"M-SEARCH", "//x", ""},
	} {
		method, target, query, certain := parseLine([]byte(line))
		if got := [3]string{string(method), string(target), string(query)}; got != want || !certain {
			t.Errorf("%q: %q, %v", line, got, certain)
		}
	}
}

func TestLinesThatAreNotCertainAreLeftToKong(t *testing.T) {
	for _, line := range []string{
		"", "GET", "GET /", "GET  / HTTP/1.1", "GET /a b HTTP/1.1", "GET / HTTP/1.1 ", "GET / HTTP/0.9", " / HTTP/1.1", "get / HTTP/1.1",
		"GET http://host/abs?x=1 HTTP/1.1", "OPTIONS * HTTP/1.1", "CONNECT host:1 HTTP/1.1", "GET /a#b HTTP/1.1", "GET  HTTP/1.1",
	} {
		if _, _, _, certain := parseLine([]byte(line)); certain {
			t.Errorf("%q is taken for certain", line)
		}
	}
}

// What nginx 1.22 makes of "$request_method $request_uri\n$args", for requests that
// are hard to read off their line, and after a plugin has changed the method and the
// query.
func TestDefinedVariableIsTakenApart(t *testing.T) {
	for value, want := range map[string][3]string{
		"GET /a?b=c\nb=c":                      {"GET", "/a?b=c", "b=c"},
		"GET /\n":                              {"GET", "/", ""},
		"GET /a?\n":                            {"GET", "/a?", ""},
		"PUT /a?b=c\nz&added=1%202":            {"PUT", "/a?b=c", "z&added=1%202"},
		"GET ?x=1\nx=1":                        {"GET", "?x=1", "x=1"}, // http://host?x=1
		"GET /a#frag?x\n":                      {"GET", "/a#frag?x", ""},
		"GET /?a#b\na":                         {"GET", "/?a#b", "a"},
		"GET /a%0ab?x=%0a\xff\nx=%0a\xff":      {"GET", "/a%0ab?x=%0a\xff", "x=%0a\xff"},
		"GET /a b HTTP/1.1\nx=\n \ny HTTP/1.1": {"GET", "/a b HTTP/1.1", "x=\n \ny HTTP/1.1"}, // a plugin may set any query
	} {
		method, target, query, certain := parseVariable([]byte(value))
		if got := [3]string{string(method), string(target), string(query)}; got != want || !certain {
			t.Errorf("%q: %q, %v", value, got, certain)
		}
	}
}

func TestVariablesThatAreNotCertainAreLeftToKong(t *testing.T) {
	for _, value := range []string{"", "\n", "GET\n", " /\n", "\nGET / HTTP/1.1", "GET /"} {
		if _, _, _, certain := parseVariable([]byte(value)); certain {
			t.Errorf("%q is taken for certain", value)
		}
	}
}

func FuzzParseVariable(f *testing.F) {
	f.Add([]byte("GET /a?b HTTP/1.1"))
	f.Add([]byte("GET http://host/ HTTP/1.1"))
	f.Add([]byte("GET /a?b\nb=c"))
	f.Fuzz(func(t *testing.T, value []byte) {
		method, target, query, certain := parseVariable(value)
		if !certain {
			return
		}
		start := string(method) + " " + string(target)
		if bytes.IndexByte(value, '\n') < 0 {
			start += " "
		} else {
			start += "\n" + string(query)
		}
		if !strings.HasPrefix(string(value), start) {
			t.Fatalf("%q, %q and %q are not the start of %q", method, target, query, value)
		}
	})
}
