package record_test

import (
	"testing"
	"time"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
)

const none = "\x00none" // no key, as opposed to an empty one

func keyOf(t *testing.T, k record.KeyOptions, r *request.Request) string {
	t.Helper()
	records, err := recordsOf(t, record.Options{Key: k}, r)
	if err != nil || len(records) != 1 {
		t.Fatal(records, err)
	}
	if records[0].Key == nil {
		return none
	}
	return string(records[0].Key)
}

func keyParts(parts ...record.KeyPart) record.KeyOptions {
	return record.KeyOptions{Parts: parts, Separator: "|"}
}

func TestKeyIsTheFirstValueOfAQueryArgument(t *testing.T) {
	for query, want := range map[string]string{
		"":                       none,
		"k":                      none, // Kong's true
		"k&k=a":                  none,
		"k=":                     "",
		"k=a":                    "a",
		"k=a&k=b":                "a",
		"x=1&k=%C3%BC+b%2":       "ü b%2",
		"%6b=a":                  "a",
		"K=a":                    none,
		"kk=a&k%3d=b":            none,
		"k=%ff%00":               "\xff\x00",
		long("a&", 1000) + "k=1": none, // Kong's limit
	} {
		r := &request.Request{Query: []byte(query)}
		if got := keyOf(t, keyParts(record.KeyPart{From: record.FromQuery, Name: "k"}), r); got != want {
			t.Errorf("%.30s: %q, want %q", query, got, want)
		}
	}
	if got := keyOf(t, keyParts(record.KeyPart{From: record.FromQuery, Name: "100%+"}), &request.Request{Query: []byte("100%%2b=a")}); got != "a" {
		t.Errorf("a name with a percent sign: %q", got)
	}
}

func TestKeyIsTheFirstValueOfAHeader(t *testing.T) {
	for _, row := range []struct {
		lines []string
		want  string
	}{
		{nil, none},
		{[]string{"x-key: a", "x-key: b"}, "a"},
		{[]string{"x-key: "}, ""},
		{[]string{"x-keys: a"}, none},
	} {
		if got := keyOf(t, keyParts(record.KeyPart{From: record.FromHeader, Name: "X-Key"}), &request.Request{Headers: headers(row.lines...)}); got != row.want {
			t.Errorf("%q: %q", row.lines, got)
		}
	}
}

func TestKeyIsAValueOfTheBody(t *testing.T) {
	const (
		jsonBody = "application/json; charset=utf-8"
		form     = "application/x-www-form-urlencoded"
		parts    = "multipart/form-data; boundary=b"
	)
	object := `{"a":{"b":[10,{"c":"x\u00fcy\n\ud83d\ude00"},true]},"id":" 7","n":null,"":"empty","m~n":1,"a/b":2,"num":-1.50E+3,"id2":1,"id2":2}`
	multi := "--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nv\xff1\r\n--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nv2\r\n--b--\r\n"
	for i, row := range []struct{ contentType, body, name, want string }{
		{jsonBody, object, "/a/b/1/c", "xüy\n😀"},
		{jsonBody, object, "/a/b/0", "10"},
		{jsonBody, object, "/a/b/2", "true"},
		{jsonBody, object, "/a/b/3", none},
		{jsonBody, object, "/a/b/-", none},
		{jsonBody, object, "/a/b/00", none},
		{jsonBody, object, "/a/b", none}, // an array
		{jsonBody, object, "/a", none},   // an object
		{jsonBody, object, "/n", none},
		{jsonBody, object, "/n/x", none},
		{jsonBody, object, "/id/x", none},
		{jsonBody, object, "/absent", none},
		{jsonBody, object, "/", "empty"},
		{jsonBody, object, "/m~0n", "1"},
		{jsonBody, object, "/a~1b", "2"},
		{jsonBody, object, "/num", "-1.50E+3"},
		{jsonBody, object, "/id2", "2"}, // the last one, as in the message
		{jsonBody, object, "id", " 7"},
		{jsonBody, ` { "\u0069d" : "x" } `, "/id", "x"},
		{jsonBody, `"text"`, "", "text"},
		{jsonBody, `""`, "", ""},
		{jsonBody, "", "/id", none},
		{"application/vnd.api+json", `{"id":"1"}`, "/id", "1"},
		{"text/plain", object, "/id", none},
		{"", object, "/id", none},
		{form, "a=1&f=%ff+x&f=2", "f", "\xff x"},
		{form, "f", "f", none},
		{form, "f=", "f", ""},
		{form, "/f=1", "/f", "1"},
		{parts, multi, "f", "v\xff1"},
		{parts, multi, "g", none},
	} {
		r := &request.Request{Body: []byte(row.body), Headers: headers("content-type: " + row.contentType)}
		k := keyParts(record.KeyPart{From: record.FromBody, Name: row.name})
		if got := keyOf(t, k, r); got != row.want {
			t.Errorf("%d: %s of %.20s is %q, want %q", i, row.name, row.body, got, row.want)
		}
	}
	coded := &request.Request{Body: []byte(`{"id":1}`), Headers: headers("content-type: application/json", "content-encoding: gzip")}
	if got := keyOf(t, keyParts(record.KeyPart{From: record.FromBody, Name: "/id"}), coded); got != none {
		t.Errorf("of a body with a coding: %q", got)
	}
}

func TestKeyOfABodyThatIsNotJSONIsRejected(t *testing.T) {
	for body, want := range map[string]string{
		`{"id":1`:           "invalid json body",
		`{"id":1}{}`:        "invalid json body",
		`{"id":1,"x":tru}`:  "invalid json body",
		"{\"id\":\"\xff\"}": "json body is not utf-8",
		long("[", 1000):     "json body is nested too deep",
		`{"a":` + long("[", 999) + long("]", 999) + `}`: "json body is nested too deep",
	} {
		o := record.Options{BodyValue: true, Key: keyParts(record.KeyPart{From: record.FromBody, Name: "/id"})}
		_, err := recordsOf(t, o, post(body))
		if reason(err) != want {
			t.Errorf("%.30q: %v", body, err)
		}
	}
}

func TestKeyIsOfTheConsumerOrTheRoute(t *testing.T) {
	r := &request.Request{Facts: []request.FactValue{
		{Fact: request.Fact{Call: "kong.client.get_consumer"}, Value: map[string]any{"id": "1", "username": "alice", "created_at": 1.0}},
		{Fact: request.Fact{Call: "kong.request.get_uri_captures"}, Value: map[string]any{"named": map[string]any{"region": "eu"}, "unnamed": []any{"eu", "7"}}},
	}}
	for _, row := range []struct {
		from       record.Source
		name, want string
	}{
		{record.FromConsumer, "id", "1"}, {record.FromConsumer, "username", "alice"}, {record.FromConsumer, "custom_id", none},
		{record.FromURICapture, "region", "eu"}, {record.FromURICapture, "zone", none},
		{record.FromURICapture, "1", "eu"}, {record.FromURICapture, "2", "7"}, {record.FromURICapture, "3", none},
	} {
		k := keyParts(record.KeyPart{From: row.from, Name: row.name})
		if got := keyOf(t, k, r); got != row.want {
			t.Errorf("%s %s: %q", row.from, row.name, got)
		}
		if got := keyOf(t, k, &request.Request{}); got != none {
			t.Errorf("%s %s of a request without: %q", row.from, row.name, got)
		}
	}
}

func TestKeyOfSeveralPartsNeedsAllOfThem(t *testing.T) {
	k := keyParts(record.KeyPart{From: record.Constant, Name: "v1"}, record.KeyPart{From: record.FromHeader, Name: "a"}, record.KeyPart{From: record.FromQuery, Name: "b"})
	if got := keyOf(t, k, &request.Request{Headers: headers("a: x"), Query: []byte("b=")}); got != "v1|x|" {
		t.Errorf("%q", got)
	}
	lacks := &request.Request{Headers: headers("a: x")}
	if got := keyOf(t, k, lacks); got != none {
		t.Errorf("without a part: %q", got)
	}
	k.Required = true
	if _, err := recordsOf(t, record.Options{Key: k}, lacks); reason(err) != "the request lacks a part of its record key" {
		t.Errorf("required: %v", err)
	}
}

func TestKeyAndHeadersHaveMemoryOfTheirOwn(t *testing.T) {
	o := record.Options{Key: keyParts(record.KeyPart{From: record.FromHeader, Name: "a"}), Headers: record.HeaderOptions{Forward: true, All: true}}
	for _, body := range []string{"{}", `{"a":"` + long("x", 100<<10) + `"}`} {
		r := post(body)
		r.Headers = append(r.Headers, headers("a: xyz")...)
		records, err := recordsOf(t, o, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range r.Headers {
			clear(h.Name)
			clear(h.Value)
		}
		clear(r.Body)
		again := post("{}")
		again.Headers = append(again.Headers, headers("a: 123", "b: 456")...)
		if _, err := recordsOf(t, o, again); err != nil {
			t.Fatal(err)
		}
		got := records[0]
		if string(got.Key) != "xyz" || len(got.Headers) != 2 || got.Headers[1].Key != "a" || string(got.Headers[1].Value) != "xyz" || string(got.Headers[0].Value) != "application/json" {
			t.Errorf("%.100q", got)
		}
		if cap(got.Key) != len(got.Key) || cap(got.Value) > len(got.Value)+len(got.Value)/8 {
			t.Errorf("a key of %d in %d bytes, a value of %d in %d", len(got.Key), cap(got.Key), len(got.Value), cap(got.Value))
		}
	}
}

// A key, and headers, count as the value does.
func TestKeyAndHeadersCountAgainstTheLimits(t *testing.T) {
	o := record.Options{BodyValue: true, MaxValue: 100, Key: keyParts(record.KeyPart{From: record.FromQuery, Name: "k"}), Headers: record.HeaderOptions{Forward: true, All: true}}
	r := func(n int) *request.Request {
		return &request.Request{Query: []byte("k=" + long("x", 30)), Headers: headers("abc: " + long("y", n)), Body: make([]byte, 30)}
	}
	if _, err := recordsOf(t, o, r(37)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := recordsOf(t, o, r(38)); err != request.ErrTooLarge {
		t.Errorf("above the limit: %v", err)
	}
	o.MaxValue = 1 << 20
	b, err := record.NewBuilder(o, jsonmsg.Encoder{})
	if err != nil {
		t.Fatal(err)
	}
	large := &request.Request{Query: []byte("k=" + long("x", 40<<10))}
	if _, _, err := b.Append(nil, large, time.Time{}, new(limit)); err != memory.ErrFull {
		t.Errorf("a large key without memory: %v", err)
	}
}
