package jsonmsg

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"kafka-upstream/internal/request"
)

// A message that is made in memory of the size that Size gives is never moved.
func TestSizeIsEnoughForTheMessageAndNotMuchMore(t *testing.T) {
	long := strings.Repeat
	for kind, bodies := range map[string][]string{
		"text/plain":                               {"", "x", long("x", 1e5), long(`"\`, 5e4), long("\n\x01", 5e4), long("é", 5e4), long("\xff", 1e5)},
		"application/json":                         {`{}`, `[` + long(`{"id":1,"name":"some"},`, 4000) + `1]`, `"` + long("x", 1e5) + `"`, "1"},
		"application/octet-stream":                 {"", "xx", long("\x00\xff", 5e4)},
		"application/x-www-form-urlencoded":        {long("a=b&", 25000), "a=" + long("x", 1e5), "a=" + long("%41", 3e4)},
		"multipart/form-data; boundary=b":          {"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n" + long("x", 1e5) + "\r\n--b--\r\n"},
		"multipart/form-data; boundary=\"binary\"": {"--binary\r\nContent-Disposition: form-data; name=a\r\n\r\n" + long("\xff", 1e5) + "\r\n--binary--\r\n"},
	} {
		for i, body := range bodies {
			t.Run(fmt.Sprintf("%.20s/%d", kind, i), func(t *testing.T) {
				r := &request.Request{Method: []byte("POST"), URI: []byte("/a?b=c"), Query: []byte("b=c"), Body: []byte(body),
					Headers: []request.Header{{Name: []byte("content-type"), Value: []byte(kind)}, {Name: []byte("x"), Value: bytes.Repeat([]byte("y"), 3000)}}}
				for _, parts := range []request.Fields{{Body: true}, {Method: true, URI: true, Headers: true, Body: true}, {Method: true, URI: true, Headers: true}} {
					least, most := Size(r, parts)
					memory := make([]byte, 0, most)
					message, err := Append(memory, r, parts)
					if err != nil {
						t.Fatal(err)
					}
					if len(message) < least || cap(message) != most {
						t.Errorf("%d bytes, want %d to %d", len(message), least, most)
					}
					if text := kind == "text/plain" && parts.Body; text && most > len(message)+len(message)/8+2*4096 {
						t.Errorf("memory for %d bytes for a message of %d", most, len(message))
					}
				}
			})
		}
	}
}

func FuzzEscapedLen(f *testing.F) {
	f.Add([]byte("\x00\x1f\x20\"\\\x7f\x80\xff\n\t\"\"\"\"\\\\\\\\!#[]"))
	f.Fuzz(func(t *testing.T, s []byte) {
		if got, want := escapedLen(s), len(appendEscaped(nil, s)); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	})
}

func BenchmarkSize(b *testing.B) {
	for name, body := range map[string]string{"clean": strings.Repeat("x", 1<<20), "json": strings.Repeat(`{"id":1,"name":"some"},`, 1<<20/23)} {
		b.Run(name, func(b *testing.B) {
			r := &request.Request{Body: []byte(body), Headers: []request.Header{{Name: []byte("content-type"), Value: []byte("application/json")}}}
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				Size(r, request.Fields{Body: true})
			}
		})
	}
}
