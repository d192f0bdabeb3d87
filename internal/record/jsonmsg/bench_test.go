package jsonmsg

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"kafka-upstream/internal/request"
)

// benchmarkRequests are what a gateway sees, and the ends of what it may see.
var benchmarkRequests = []benchmark{
	{"JSON1KiB", benchmarkRequest("application/json", jsonBytes(1<<10))},
	{"Text16KiB", benchmarkRequest("text/plain", textBytes(16<<10))},
	{"Base64_1MiB", benchmarkRequest("application/octet-stream", bytes.Repeat([]byte{0, 0xff, 'x', 0x80}, 1<<18))},
	{"JSON1MiB", benchmarkRequest("application/json", jsonBytes(1<<20))},
	{"Headers100", withHeaders(benchmarkRequest("text/plain", nil), 90)},
	{"Arguments1000", withQuery(benchmarkRequest("text/plain", nil), func(i int) string { return fmt.Sprintf("name%d=value%%20%d", i, i) })},
	{"Arguments1000OfOneName", withQuery(benchmarkRequest("text/plain", nil), func(i int) string { return fmt.Sprintf("name=value%%20%d", i) })},
	{"Form", benchmarkRequest("application/x-www-form-urlencoded", []byte("name=Jane+Doe&city=K%C3%B6ln&item=1&item=2&note="))},
	{"Multipart", benchmarkRequest("multipart/form-data; boundary=b", []byte(part(`name="a"`, "1")+part(`name="file"; filename="x.bin"`, string(textBytes(8<<10)))+closing))},
}

type benchmark struct {
	name string
	r    *request.Request
}

func benchmarkRequest(contentType string, body []byte) *request.Request {
	return &request.Request{
		Method: []byte("POST"),
		URI:    []byte("/orders/v1/items?source=web&trace=on"),
		Query:  []byte("source=web&trace=on"),
		Headers: headers(
			"host: api.example.com",
			"user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
			"accept: */*",
			"accept-encoding: gzip, deflate, br",
			"content-type: "+contentType,
			fmt.Sprintf("content-length: %d", len(body)),
			"x-forwarded-for: 203.0.113.7",
			"x-consumer-username: shop",
			"x-request-id: 0123456789abcdef0123456789abcdef",
			`if-none-match: "33a64df551425fcc55e4d42a148795d9f25f89d4"`,
		),
		Body: body,
	}
}

func withHeaders(r *request.Request, n int) *request.Request {
	for i := range n {
		r.Headers = append(r.Headers, headers(fmt.Sprintf("x-header-%d: value of header %d", i, i))...)
	}
	return r
}

func withQuery(r *request.Request, pair func(i int) string) *request.Request {
	var pairs []string
	for i := range 1000 {
		pairs = append(pairs, pair(i))
	}
	r.Query = []byte(strings.Join(pairs, "&"))
	r.URI = append([]byte("/?"), r.Query...)
	return r
}

// jsonBytes returns an order with enough items to make about n bytes.
func jsonBytes(n int) []byte {
	text := []byte(`{"order_id":"0b0f3f0e-3d53-4d4c-8f0e-8a7c3c7d2b11","customer":{"id":48213,"name":"Zoë Müller","vip":true},"items":[`)
	for i := 0; len(text) < n-90; i++ {
		if i > 0 {
			text = append(text, ',')
		}
		text = fmt.Appendf(text, `{"sku":"A-%06d","quantity":%d,"price":%d.95,"note":null,"tags":["new","it\"s"]}`, i, i%9+1, i%1000)
	}
	return append(text, `],"total":1234.50}`...)
}

func textBytes(n int) []byte {
	return bytes.Repeat([]byte("The quick brown fox jumps over the lazy dog.\n"), n/45+1)[:n]
}

func BenchmarkAppend(b *testing.B) {
	for _, bm := range benchmarkRequests {
		b.Run(bm.name, func(b *testing.B) {
			var dst []byte
			b.SetBytes(int64(len(bm.r.Body)))
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = Append(dst[:0], bm.r, all)
			}
		})
	}
}

// BenchmarkBaseline is what one would write first: maps, encoding/json, net/url
// and mime/multipart.
func BenchmarkBaseline(b *testing.B) {
	for _, bm := range benchmarkRequests {
		b.Run(bm.name, func(b *testing.B) {
			b.SetBytes(int64(len(bm.r.Body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := baseline(bm.r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBodyArgs makes body_args of JSON by the one pass of this package, by
// the two that it took before members with equal names were looked for (check,
// then copy as it is), and by those of the standard library, which look for none
// either.
func BenchmarkBodyArgs(b *testing.B) {
	for _, bm := range jsonBodies {
		for _, way := range []struct {
			name   string
			append func(dst, s []byte) ([]byte, error)
		}{{"onepass", appendCompactJSON}, {"checkcopy", appendCheckedJSON}, {"std", appendStandardJSON}} {
			b.Run(bm.name+"/"+way.name, func(b *testing.B) {
				var dst []byte
				b.SetBytes(int64(len(bm.text)))
				b.ReportAllocs()
				for b.Loop() {
					var err error
					if dst, err = way.append(dst[:0], bm.text); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

var jsonBodies = []struct {
	name string
	text []byte
}{
	{"200B", jsonBytes(200)},
	{"1KiB", jsonBytes(1 << 10)},
	{"64KiB", jsonBytes(64 << 10)},
	{"Pretty64KiB", indented(jsonBytes(40 << 10))},
	{"Members10", membersOf(10)},
	{"Members100", membersOf(100)},
	{"Members10000", membersOf(10_000)},
}

// membersOf returns an object of n members.
func membersOf(n int) []byte {
	text := []byte{'{'}
	for i := range n {
		if i > 0 {
			text = append(text, ',')
		}
		text = fmt.Appendf(text, `"member%d":%d`, i, i)
	}
	return append(text, '}')
}

func indented(text []byte) []byte {
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		panic(err)
	}
	return pretty.Bytes()
}

func appendCheckedJSON(dst, s []byte) ([]byte, error) {
	if err := checkJSON(s); err != nil {
		return dst, err
	}
	return append(dst, trimJSONSpace(s)...), nil
}

func appendStandardJSON(dst, s []byte) ([]byte, error) {
	if !json.Valid(s) {
		return dst, errJSON
	}
	b := bytes.NewBuffer(dst)
	err := json.Compact(b, s)
	return b.Bytes(), err
}

// BenchmarkEscape has the two ways to escape side by side: storing whole words,
// and copying the runs between the bytes to escape.
func BenchmarkEscape(b *testing.B) {
	for _, c := range []struct {
		name string
		text []byte
	}{
		{"JSON1KiB", jsonBytes(1 << 10)},
		{"Text16KiB", textBytes(16 << 10)},
		{"Header", []byte("Mozilla/5.0 (X11; Linux x86_64; rv:140.0)")},
		{"Name", []byte("host")},
	} {
		for _, way := range []struct {
			name   string
			escape func(dst, s []byte) []byte
		}{{"words", appendEscaped}, {"runs", appendEscapedByRuns}} {
			b.Run(c.name+"/"+way.name, func(b *testing.B) {
				var dst []byte
				b.SetBytes(int64(len(c.text)))
				for b.Loop() {
					dst = way.escape(dst[:0], c.text)
				}
			})
		}
	}
}

func appendEscapedByRuns(dst, s []byte) []byte {
	from := 0
	for i, c := range s {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', "01"[c>>4], "0123456789abcdef"[c&15])
		}
	}
	return append(dst, s[from:]...)
}

func TestBothWaysToEscapeAgree(t *testing.T) {
	for _, s := range [][]byte{jsonBytes(1 << 10), textBytes(1000), []byte("\x00\x1f\x20\b\f\n\r\t\"\\/é\x7f")} {
		if a, b := appendEscaped(nil, s), appendEscapedByRuns(nil, s); !bytes.Equal(a, b) {
			t.Errorf("%s\n%s", a, b)
		}
	}
	// Escapes at all places of a word, alone and beside others.
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		s := make([]byte, r.IntN(40))
		for i := range s {
			s[i] = "aaaaaaa\"\\\n\x00\x1f !#[]\x7f\x80\xa2\xdc\xff"[r.IntN(22)]
		}
		dst := []byte("kept")
		if a, b := appendEscaped(dst, s), appendEscapedByRuns(dst, s); !bytes.Equal(a, b) {
			t.Fatalf("%q becomes\n%q, want\n%q", s, a, b)
		}
	}
}

func TestBase64IsThatOfTheStandardLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		s := make([]byte, n)
		for i := range s {
			s[i] = byte(r.Uint32())
		}
		for _, dst := range [][]byte{nil, []byte("kept"), make([]byte, 3, 1000)} {
			if got, want := appendBase64(dst, s), base64.StdEncoding.AppendEncode(dst, s); !bytes.Equal(got, want) {
				t.Fatalf("%x becomes %s, want %s", s, got, want)
			}
		}
	}
}

func BenchmarkBase64(b *testing.B) {
	s := bytes.Repeat([]byte{0, 0xff, 'x', 0x80}, 1<<18)
	for name, encode := range map[string]func(dst, s []byte) []byte{"own": appendBase64, "std": base64.StdEncoding.AppendEncode} {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			b.SetBytes(int64(len(s)))
			for b.Loop() {
				dst = encode(dst[:0], s)
			}
		})
	}
}

func TestBaselineMakesTheSameMessages(t *testing.T) {
	for _, bm := range benchmarkRequests {
		want, err := baseline(bm.r)
		if err != nil {
			t.Fatal(err)
		}
		if got := mustAppend(t, bm.r, all); !reflect.DeepEqual(decoded(t, []byte(got)), decoded(t, want)) {
			t.Errorf("%s:\ngot  %.300s\nwant %.300s", bm.name, got, want)
		}
	}
}

func baseline(r *request.Request) ([]byte, error) {
	message := map[string]any{"method": string(r.Method), "uri": string(r.URI)}

	headers := map[string][]string{}
	for _, h := range r.Headers {
		headers[string(h.Name)] = append(headers[string(h.Name)], string(h.Value))
	}
	message["headers"] = single(headers)

	query, err := url.ParseQuery(string(r.Query))
	if err != nil {
		return nil, err
	}
	message["uri_args"] = single(query)

	mediaType, parameters, err := mime.ParseMediaType(string(r.Header("content-type")))
	if err != nil {
		return nil, err
	}
	message["body"], message["body_args"] = string(r.Body), map[string]any{}
	switch mediaType {
	case "application/json":
		var value any
		d := json.NewDecoder(bytes.NewReader(r.Body))
		d.UseNumber()
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		message["body_args"] = value
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(r.Body))
		if err != nil {
			return nil, err
		}
		message["body_args"] = single(form)
	case "multipart/form-data":
		form := map[string][]string{}
		for reader := multipart.NewReader(bytes.NewReader(r.Body), parameters["boundary"]); ; {
			p, err := reader.NextRawPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
			content, err := io.ReadAll(p)
			if err != nil {
				return nil, err
			}
			form[p.FormName()] = append(form[p.FormName()], string(content))
		}
		message["body_args"] = single(form)
	case "text/plain":
	default:
		message["body"], message["body_base64"] = base64.StdEncoding.EncodeToString(r.Body), true
	}
	return json.Marshal(message)
}

func single(lists map[string][]string) map[string]any {
	values := make(map[string]any, len(lists))
	for name, list := range lists {
		if values[name] = list; len(list) == 1 {
			values[name] = list[0]
		}
	}
	return values
}
