package jsonmsg

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/media"
	"kafka-upstream/internal/request"
)

func FuzzArguments(f *testing.F) {
	for _, s := range []string{
		"", "a=1&a&a=", "foo&bar&baz=&=v&&q=%20x+y", "a%20b=c%26d&%C3%A9=%C3%BC&x[]=1&x[]=2",
		"%ff=%fe&%fe=1&%=%4&%zz=%%41", "a=\xe9%C3\xa9\x00\"\\", strings.Repeat("a%41=1&b&", 40), strings.Repeat("&", 1001) + "a",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		before := bytes.Clone(query)
		got, want := string(appendArguments(nil, query)), referenceArguments(string(query))
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if !bytes.Equal(before, query) {
			t.Error("the query was changed")
		}
	})
}

// oddDisposition finds what the parameters of a part are deliberately read
// otherwise for than mime.ParseMediaType does: the extended form of a name, and
// backslashes before anything but a quote or backslash.
var oddDisposition = regexp.MustCompile(`\*|\\[^"\\]|\\$`)

// pieces are what multipart bodies are made of, for a fuzzer to put together.
var pieces = []string{
	"--b", "--b\r\n", "--b\n", "--b--", "\r\n--b\r\n", "\r\n--b--\r\n", "\n--b--\n", "\r\n", "\n", "\r", " ", "\t", "--", "-", "b", ":",
	"Content-Disposition: form-data; name=a\r\n\r\n", "content-disposition:", "form-data", "; name=", ";name=\"", "\"", "\\", ";", "=",
	"X: y\r\n", "filename=\"x\"", "a", "\xc3\xa9", "\xff", "\x00",
}

func FuzzMultipart(f *testing.F) {
	f.Add("b", false, []byte(part(`name="a"`, "1")+part(`name=b; filename="x"`, "\x00\xff")+closing))
	f.Add("b", false, []byte("preamble\r\n"+part(`name="a\"b\\"`, "--b")+"--b--epilogue"))
	f.Add("b", false, []byte(strings.ReplaceAll(part("name=a", "")+part("name=a", "2\r")+closing, "\r\n", "\n")))
	f.Add("X BOUND", false, []byte("--X BOUND \t\r\nA: b\r\n c\r\nContent-Disposition:\r\n form-data;\r\n name=a\r\n\n--X BOUND--"))
	f.Add("b", false, []byte("--b\n")) // mime/multipart takes it for a whole body
	f.Add("--", false, []byte("----\r\n\r\n\r\n------"))
	f.Add("b", true, []byte{1, 16, 27, 4, 16, 28, 5})
	f.Add("b", true, []byte{2, 17, 18, 20, 27, 21, 8, 8, 27, 6})
	f.Fuzz(func(t *testing.T, boundary string, inPieces bool, body []byte) {
		if boundary == "" || strings.ContainsAny(boundary, "\r\n\"\\:") || strings.Trim(boundary, " \t") != boundary {
			t.Skip() // with a colon a boundary may be taken for a header line by mime/multipart
		}
		if inPieces {
			boundary, body = "b", joinPieces(body)
		}
		compareMultipart(t, boundary, body)
	})
}

// TestMultipartIsReadAsByMimeMultipart puts pieces together at random, mostly in
// an order that makes sense, so that many bodies are whole.
func TestMultipartIsReadAsByMimeMultipart(t *testing.T) {
	const seed, bodies = 1, 10000
	random := rand.New(rand.NewPCG(seed, 0))
	compared := 0
	for range bodies {
		var body []byte
		for range random.IntN(4) {
			junk := make([]byte, random.IntN(4))
			for i := range junk {
				junk[i] = byte(random.IntN(len(pieces)))
			}
			body = append(body, "--b\r\n"...)
			if random.IntN(4) > 0 {
				body = append(body, "Content-Disposition: form-data; name=\"a\"\r\n"...)
			}
			if random.IntN(4) > 0 {
				body = append(body, "\r\n"...)
			}
			body = append(append(body, joinPieces(junk)...), "\r\n"...)
		}
		body = append(body, "--b--"...)
		if random.IntN(4) == 0 {
			body = bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))
		}
		if compareMultipart(t, "b", body) {
			compared++
		}
		if t.Failed() {
			t.Fatalf("seed %d, body %q", seed, body)
		}
	}
	if compared < bodies/10 {
		t.Errorf("mime/multipart took only %d of %d bodies", compared, bodies)
	}
	t.Logf("%d of %d bodies compared", compared, bodies)
}

func joinPieces(numbers []byte) (body []byte) {
	for _, n := range numbers {
		body = append(body, pieces[int(n)%len(pieces)]...)
	}
	return body
}

// compareMultipart compares the arguments of a body with what mime/multipart
// reads from it, and tells whether that could be done.
func compareMultipart(t *testing.T, boundary string, body []byte) bool {
	t.Helper()
	got, err := appendMultipart(nil, body, []byte(`multipart/form-data; boundary="`+boundary+`"`))
	if err == nil && (!json.Valid(got) || !utf8.Valid(got)) {
		t.Errorf("not JSON: %q", got)
	}
	want, parts, ok := standardMultipart(body, boundary)
	if !ok {
		return false
	}
	// A body that breaks off where a part's header is due ends like a whole
	// one there. A whole one stays so, whatever comes behind.
	_, withLF, okLF := standardMultipart(append(bytes.Clone(body), "\nX"...), boundary)
	_, withCRLF, okCRLF := standardMultipart(append(bytes.Clone(body), "\r\nX"...), boundary)
	if !(okLF && withLF == parts || okCRLF && withCRLF == parts) {
		return false
	}
	if parts > 0 && regexp.MustCompile(`(^|\n)--`+regexp.QuoteMeta(boundary)+"--[ \t]*\n").Match(body) {
		return false // a closing boundary with LF before all parts: no boundary there, an empty form here
	}
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	return true
}

// standardMultipart makes the arguments of what mime/multipart reads from a
// body, and is not ok if that reads no parts from it, or reads them otherwise
// than is meant here.
func standardMultipart(body []byte, boundary string) (arguments []byte, parts int, ok bool) {
	o := newObject()
	defer o.free()
	for reader := multipart.NewReader(bytes.NewReader(body), boundary); ; parts++ {
		p, err := reader.NextRawPart()
		if err == io.EOF {
			return o.appendTo(nil), parts, true
		}
		if err != nil {
			return nil, 0, false
		}
		content, err := io.ReadAll(p)
		if err != nil {
			return nil, 0, false
		}
		disposition := p.Header.Get("Content-Disposition")
		if _, _, err := mime.ParseMediaType(disposition); disposition != "" && err != nil || oddDisposition.MatchString(disposition) {
			return nil, 0, false // it has no name there, and may have one here
		}
		if name := p.FormName(); name != "" && parts < maxArguments {
			o.add(o.utf8Name([]byte(name)), content, bytesValue)
		}
	}
}

func FuzzAppend(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(testdata, "replies", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatal("no recordings", err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Size() > 20<<10 {
			continue
		}
		r := recordedRequest(f, strings.TrimSuffix(filepath.Base(file), ".json"))
		var lines []string
		for _, h := range r.Headers {
			lines = append(lines, string(h.Name)+":"+string(h.Value))
		}
		f.Add(uint8(15), r.Method, r.URI, r.Query, []byte(strings.Join(lines, "\n")), r.Body)
	}
	f.Add(uint8(15), []byte("\xff"), []byte("/\xff\""), []byte("%ff&%fe"), []byte("x-\xe9:\xe9\nx-é:1\ncontent-type:application/x-www-form-urlencoded\ncontent-encoding: , identity"), []byte("a=\xff"))
	f.Fuzz(func(t *testing.T, set uint8, method, uri, query, headerLines, body []byte) {
		r := &request.Request{Method: method, URI: uri, Query: query, Headers: adjacent(headerLines), Body: body}
		parts := request.Fields{Method: set&1 > 0, URI: set&2 > 0, Headers: set&4 > 0, Body: set&8 > 0}
		before := fmt.Sprintf("%q", r)
		got, err := Append([]byte("dst"), r, parts)
		again, errAgain := Append([]byte("dst"), r, parts)
		if !bytes.Equal(got, again) || !errors.Is(errAgain, err) {
			t.Fatalf("two messages of one request:\n%s, %v\n%s, %v", got, err, again, errAgain)
		}
		if fmt.Sprintf("%q", r) != before {
			t.Fatal("the request was changed")
		}
		got, ok := bytes.CutPrefix(got, []byte("dst"))
		if !ok {
			t.Fatalf("dst is gone: %q", got)
		}
		if err != nil {
			var bad *record.BadRequest
			if !errors.As(err, &bad) || bad.Reason == "" || !parts.Body || len(got) > 0 {
				t.Fatalf("%q, %v", got, err)
			}
			return
		}
		checkStrict(t, got)
		isJSON := media.KindOf(r.Headers) == media.JSON

		var message struct {
			Method   *string
			Headers  map[string]any
			URI      *string
			URIArgs  map[string]any `json:"uri_args"`
			Body     *string
			BodyArgs json.RawMessage `json:"body_args"`
			Base64   *bool           `json:"body_base64"`
		}
		if err := json.Unmarshal(got, &message); err != nil {
			t.Fatal(err)
		}
		if parts.Method != (message.Method != nil) || parts.URI != (message.URI != nil && message.URIArgs != nil) ||
			parts.Headers != (message.Headers != nil) || parts.Body != (message.Body != nil) {
			t.Fatalf("%+v became %s", parts, got)
		}
		if parts.URI && utf8.Valid(uri) && *message.URI != string(uri) {
			t.Fatalf("uri %q became %q", uri, *message.URI)
		}
		values := 0
		for _, v := range message.Headers {
			if list, ok := v.([]any); ok {
				values += len(list)
			} else {
				values++
			}
		}
		if parts.Headers && values != len(r.Headers) {
			t.Fatalf("%d of %d headers in %s", values, len(r.Headers), got)
		}
		if !parts.Body {
			return
		}
		text := *message.Body
		if message.Base64 != nil {
			decoded, err := base64.StdEncoding.Strict().DecodeString(text)
			if !*message.Base64 || err != nil {
				t.Fatalf("body_base64 with %q, %v", text, err)
			}
			text = string(decoded)
		}
		if text != string(body) {
			t.Fatalf("body %q became %q", body, text)
		}
		if isJSON && len(message.BodyArgs) > 0 && len(body) > 0 && string(message.BodyArgs) != compactSlowly(string(body)) {
			t.Fatalf("body_args %s of %s", message.BodyArgs, body)
		}
	})
}

// adjacent makes headers of lines, those of one name one after another.
func adjacent(lines []byte) (headers []request.Header) {
	seen := map[string]bool{}
	split := bytes.Split(lines, []byte("\n"))
	for _, line := range split {
		name, _, _ := bytes.Cut(line, []byte{':'})
		if seen[string(name)] {
			continue
		}
		seen[string(name)] = true
		for _, other := range split {
			if n, value, _ := bytes.Cut(other, []byte{':'}); bytes.Equal(n, name) {
				headers = append(headers, request.Header{Name: name, Value: value})
			}
		}
	}
	return headers
}
