package jsonmsg

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

const testdata = "../../../testdata"

// recording is what a genuine Kong answered to the calls of one request.
type recording struct {
	Request        []byte `json:"request"`
	BodyInTempFile bool   `json:"body_in_temp_file"`
	Calls          []struct {
		Method string `json:"method"`
		Args   []byte `json:"args"`
		Reply  []byte `json:"reply"`
	} `json:"calls"`
}

func TestMessagesOfRecordedRequests(t *testing.T) {
	var rows []struct {
		Case, Flags string
		Status      int
		Message     json.RawMessage
	}
	readJSON(t, filepath.Join(testdata, "expected.json"), &rows)
	if len(rows) == 0 {
		t.Fatal("no expected messages")
	}
	parts := map[string]request.Fields{
		"all":     {Method: true, URI: true, Headers: true, Body: true},
		"default": {Body: true},
	}
	for _, row := range rows {
		t.Run(row.Case+"/"+row.Flags, func(t *testing.T) {
			p, ok := parts[row.Flags]
			if !ok {
				t.Fatalf("unknown flags %q", row.Flags)
			}
			got, err := Append(nil, recordedRequest(t, row.Case), p)
			if row.Status != 200 {
				var bad *record.BadRequest
				if row.Status != 400 || !errors.As(err, &bad) || len(got) != 0 {
					t.Fatalf("got %q, %v; want status %d", got, err, row.Status)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkStrict(t, got)
			if g, w := decoded(t, got), decoded(t, row.Message); !reflect.DeepEqual(g, w) {
				t.Errorf("got  %s\nwant %s", got, row.Message)
			}
		})
	}
}

// TestEveryRecordedRequestIsExpected keeps a new recording from going untested.
func TestEveryRecordedRequestIsExpected(t *testing.T) {
	var rows []struct{ Case, Flags string }
	readJSON(t, filepath.Join(testdata, "expected.json"), &rows)
	seen := map[string]int{}
	for _, row := range rows {
		seen[row.Case]++
	}
	files, err := filepath.Glob(filepath.Join(testdata, "replies", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings", err)
	}
	for _, file := range files {
		name := filepath.Base(file[:len(file)-len(".json")])
		if seen[name] != 2 {
			t.Errorf("%s has %d expected messages, want 2", name, seen[name])
		}
		delete(seen, name)
	}
	for name := range seen {
		t.Errorf("%s is expected but not recorded", name)
	}
}

// recordedRequest builds the request that Kong's replies tell of.
func recordedRequest(t testing.TB, name string) *request.Request {
	t.Helper()
	var rec recording
	readJSON(t, filepath.Join(testdata, "replies", name+".json"), &rec)
	reply := func(method, args string) []byte {
		t.Helper()
		for _, c := range rec.Calls {
			if c.Method == method && string(c.Args) == args {
				return c.Reply
			}
		}
		t.Fatalf("%s: no reply to %s", name, method)
		return nil
	}
	r := &request.Request{
		Method: bytesField(t, reply("kong.request.get_method", ""), 1),
		URI:    bytesField(t, reply("kong.request.get_path_with_query", ""), 1),
		Query:  bytesField(t, reply("kong.request.get_raw_query", ""), 1),
		Body:   bytesField(t, reply("kong.request.get_raw_body", ""), 1),
	}
	if rec.BodyInTempFile {
		_, r.Body, _ = bytes.Cut(rec.Request, []byte("\r\n\r\n"))
	}
	// google.protobuf.Struct: a map of names to Values, which are a string or a
	// list of strings. Int 1000 is the most headers that Kong hands out.
	for _, entry := range fields(t, reply("kong.request.get_headers", "\x08\xe8\x07"), 1) {
		name := bytesField(t, entry, 1)
		value := bytesField(t, entry, 2)
		values := fields(t, value, 3)
		for _, list := range fields(t, value, 6) {
			for _, element := range fields(t, list, 1) {
				values = append(values, fields(t, element, 3)...)
			}
		}
		for _, v := range values {
			r.Headers = append(r.Headers, request.Header{Name: name, Value: v})
		}
	}
	return r
}

// fields returns the values of every length-delimited field with that number.
func fields(t testing.TB, message []byte, number protowire.Number) (values [][]byte) {
	t.Helper()
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(num, typ, message[n:])
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		if num == number && typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message[n:])
			values = append(values, value)
		}
		message = message[n+size:]
	}
	return values
}

// bytesField returns the last value of the field with that number.
func bytesField(t testing.TB, message []byte, number protowire.Number) []byte {
	t.Helper()
	values := fields(t, message, number)
	if len(values) == 0 {
		return nil
	}
	return values[len(values)-1]
}

func readJSON(t testing.TB, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// decoded reads JSON, with numbers as their text.
func decoded(t testing.TB, text []byte) (value any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return value
}
