package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What the load generator replies is what a genuine Kong replied to the same
// request, byte by byte; only the order of headers is Lua's.
func TestRepliesAreThoseOfKong(t *testing.T) {
	for _, name := range []string{"post-json", "get-query", "get-plain", "put-text", "post-form"} {
		b, err := os.ReadFile(filepath.Join("..", "testdata", "replies", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var recording struct {
			Request []byte
			Calls   []struct {
				Method      string
				Args, Reply []byte
			}
		}
		if err := json.Unmarshal(b, &recording); err != nil {
			t.Fatal(err)
		}
		r := parseRequest(string(recording.Request))
		replies := r.replies()
		compared := 0
		for _, c := range recording.Calls {
			f, ok := replies[ask(c.Method, c.Args)]
			if !ok || c.Method == "kong.request.get_query" && r.Query != "" {
				continue // it knows no repeated arguments
			}
			compared++
			got, want := string(f.content), string(c.Reply)
			if c.Method == "kong.request.get_headers" || c.Method == "kong.request.get_query" {
				got, want = sorted(f.content), sorted(c.Reply)
			}
			if got != want {
				t.Errorf("%s: %s(%q) is %q, and Kong replied %q", name, c.Method, c.Args, got, want)
			}
		}
		if compared < 15 {
			t.Errorf("%s: only %d replies were compared", name, compared)
		}
	}
}

// parseRequest reads a raw HTTP request.
func parseRequest(raw string) *httpRequest {
	head, body, _ := strings.Cut(raw, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	line := strings.Fields(lines[0])
	r := &httpRequest{Method: line[0], Body: []byte(body)}
	r.Path, r.Query, _ = strings.Cut(line[1], "?")
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ": ")
		r.Headers = append(r.Headers, [2]string{strings.ToLower(name), value})
	}
	return r
}

// sorted is a Struct with its fields in order.
func sorted(b []byte) string {
	fields := make(map[string]bool)
	for len(b) > 0 {
		entry, ok := fieldOf(b, 1)
		if !ok {
			return "no Struct"
		}
		fields[string(entry)] = true
		b = b[len(bytesField(1, string(entry))):]
	}
	return strings.Join(slices.Sorted(maps.Keys(fields)), "|")
}

func TestBodyHasItsSizeAndIsJSON(t *testing.T) {
	for _, n := range []int{100, 128, 512, 513, 1024, 8 << 10, 1 << 20} {
		r := jsonRequest(n)
		if len(r.Body) != n || !json.Valid(r.Body) {
			t.Errorf("%d bytes: %.200s", len(r.Body), r.Body)
		}
		if len(r.Headers) != 10 {
			t.Errorf("%d headers", len(r.Headers))
		}
	}
	if n := len(baselineRequest().withHeaders(1000).Headers); n != 1000 {
		t.Errorf("%d headers", n)
	}
}

func FuzzMessagesOfThePlugin(f *testing.F) {
	f.Add([]byte("\x08\xc8\x01"))
	f.Add(bytesField(33, "\x10\x07"))
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = exitStatus(b)
		_, _ = instanceOf(b)
	})
}
