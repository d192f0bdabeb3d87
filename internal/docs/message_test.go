package docs

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
)

// The examples are pairs of blocks: a request as http, and after it, as json, the
// message or the answer that refuses it. What the message holds says which
// forward_* fields are meant.
func TestExamplesOfMessages(t *testing.T) {
	for name, least := range map[string]int{"docs/message.md": 10, "README.md": 1} {
		n := 0
		fences := find(t, name).fences
		for i, f := range fences {
			if f.lang != "http" {
				continue
			}
			n++
			if i+1 == len(fences) || fences[i+1].lang != "json" {
				t.Errorf("%s: no json follows\n%s", name, f.text)
				continue
			}
			checkExample(t, name, f.text, fences[i+1].text)
		}
		if n < least {
			t.Errorf("%s has %d examples of messages, at least %d are expected", name, n, least)
		}
	}
}

func checkExample(t *testing.T, name, raw, example string) {
	t.Helper()
	r, err := parseRequest(raw)
	if err != nil {
		t.Errorf("%s: %v in\n%s", name, err, raw)
		return
	}
	want, ok := decode(t, name, example).(map[string]any)
	if !ok {
		t.Errorf("%s: the message is no object:\n%s", name, example)
		return
	}
	has := func(key string) bool { _, ok := want[key]; return ok }
	got, err := jsonmsg.Append(nil, r, request.Fields{Method: has("method"), URI: has("uri"), Headers: has("headers"), Body: has("body") || has("error")})
	if bad, ok := errors.AsType[*record.BadRequest](err); ok {
		if want["message"] != "Bad Request" || want["error"] != bad.Reason {
			t.Errorf("%s: the answer is 400 %s, not\n%s", name, bad.Reason, example)
		}
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	if !reflect.DeepEqual(decode(t, name, string(got)), any(want)) {
		t.Errorf("%s: of the request\n%s\nbecomes\n%s\nnot\n%s", name, raw, got, example)
	}
}

func decode(t *testing.T, name, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Errorf("%s: %v in\n%s", name, err, text)
	}
	return v
}

// parseRequest reads a request as a document has it. The line end before the
// block's end is none of the body's, but in multipart, where lines end with CRLF.
func parseRequest(raw string) (*request.Request, error) {
	head, body, _ := strings.Cut(raw, "\n\n")
	lines := strings.Split(strings.TrimSuffix(head, "\n"), "\n")
	words := strings.Fields(lines[0])
	if len(words) != 3 || words[2] != "HTTP/1.1" {
		return nil, errors.New("no request line")
	}
	_, query, _ := strings.Cut(words[1], "?")
	r := &request.Request{Method: []byte(words[0]), URI: []byte(words[1]), Query: []byte(query)}
	multipart := false
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ": ")
		if !ok || strings.ToLower(name) != name {
			return nil, errors.New("a header that Kong would not give: " + line)
		}
		r.Headers = append(r.Headers, request.Header{Name: []byte(name), Value: []byte(value)})
		multipart = multipart || name == "content-type" && strings.HasPrefix(value, "multipart/")
	}
	if multipart {
		body = strings.ReplaceAll(body, "\n", "\r\n")
	} else {
		body = strings.TrimSuffix(body, "\n")
	}
	r.Body = []byte(body)
	return r, nil
}

// What the document says of sizes is what the program's refusal says.
func TestContentLengthOfExamplesIsRight(t *testing.T) {
	for _, d := range documents(t) {
		for _, f := range d.fences {
			if f.lang != "http" {
				continue
			}
			r, err := parseRequest(f.text)
			if err != nil {
				t.Fatal(err)
			}
			if n := r.Header("content-length"); n != nil && string(n) != itoa(len(r.Body)) {
				t.Errorf("%s: content-length is %s, and the body has %d bytes:\n%s", d.name, n, len(r.Body), f.text)
			}
		}
	}
}
