package request

import "testing"

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

func FuzzParseLine(f *testing.F) {
	f.Add([]byte("GET /a?b HTTP/1.1"))
	f.Add([]byte("GET http://host/ HTTP/1.1"))
	f.Fuzz(func(t *testing.T, line []byte) {
		method, target, _, certain := parseLine(line)
		if !certain {
			return
		}
		if whole := string(method) + " " + string(target) + " "; string(line[:len(whole)]) != whole {
			t.Fatalf("%q and %q are not the start of %q", method, target, line)
		}
	})
}
