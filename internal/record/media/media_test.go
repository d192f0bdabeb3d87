package media

import (
	"testing"

	"kafka-upstream/internal/request"
)

func headers(pairs ...string) (h []request.Header) {
	for i := 0; i < len(pairs); i += 2 {
		h = append(h, request.Header{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return h
}

func TestKindIsThatOfTheFirstContentTypeWithoutACoding(t *testing.T) {
	for i, row := range []struct {
		headers []request.Header
		want    Kind
	}{
		{nil, Binary},
		{headers("content-type", " Application/JSON ; charset=utf-8"), JSON},
		{headers("content-type", "application/x+json"), Binary}, // no JSON to the message
		{headers("content-type", "text/plain", "content-type", "application/json"), Text},
		{headers("content-encoding", "gzip", "content-type", "application/json"), Binary},
		{headers("content-type", "application/json", "content-encoding", "identity, ,Identity"), JSON},
		{headers("content-type", "application/json", "content-encoding", "identity", "content-encoding", "br"), Binary},
		{headers("content-type", "multipart/form-data; boundary=x"), Multipart},
		{headers("content-type", "application/x-www-form-urlencoded"), Form},
	} {
		if got := KindOf(row.headers); got != row.want {
			t.Errorf("%d: %d", i, got)
		}
	}
}

func TestJSONIsWhatItsNameSays(t *testing.T) {
	for name, want := range map[string]bool{
		"application/json": true, "APPLICATION/JSON": true, "application/vnd.api+json": true, "a/b+JSON": true, "text/json": true,
		"": false, "json": false, "+json": false, "application/+json": false, "application/jsonx": false, "application/json-patch": false,
	} {
		if got := IsJSON([]byte(name)); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestPairsAreCutAndDecoded(t *testing.T) {
	name, value, ok, rest := CutPair([]byte("a%3d+b=c=d&e;f&"))
	if string(name) != "a%3d+b" || string(value) != "c=d" || !ok || string(rest) != "e;f&" {
		t.Errorf("%s, %s, %v, %s", name, value, ok, rest)
	}
	if got := AppendDecoded([]byte("x"), name); string(got) != "xa= b" || !Encoded(name) {
		t.Errorf("%s", got)
	}
	if name, value, ok, rest = CutPair(rest); string(name) != "e;f" || value != nil || ok || len(rest) != 0 {
		t.Errorf("%s, %s, %v, %s", name, value, ok, rest)
	}
	for s, want := range map[string]string{"%": "%", "%4": "%4", "%4g%zz%41": "%4g%zzA", "100%": "100%"} {
		if got := AppendDecoded(nil, []byte(s)); string(got) != want {
			t.Errorf("%s: %s", s, got)
		}
	}
}
