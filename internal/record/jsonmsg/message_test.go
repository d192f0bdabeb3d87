package jsonmsg

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

var all = request.Fields{Method: true, URI: true, Headers: true, Body: true}

// headers makes headers of "name: value" lines.
func headers(lines ...string) (h []request.Header) {
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			panic("not a header: " + line)
		}
		h = append(h, request.Header{Name: []byte(name), Value: []byte(value)})
	}
	return h
}

// mustAppend returns the message of r.
func mustAppend(t testing.TB, r *request.Request, parts request.Fields) string {
	t.Helper()
	got, err := Append(nil, r, parts)
	if err != nil {
		t.Fatal(err)
	}
	checkStrict(t, got)
	return string(got)
}

func TestFieldsStandInOneOrder(t *testing.T) {
	r := &request.Request{
		Method:  []byte("POST"),
		URI:     []byte("/a?b=c"),
		Query:   []byte("b=c"),
		Headers: headers("host: h"),
		Body:    []byte("x"),
	}
	want := `{"method":"POST","headers":{"host":"h"},"uri":"/a?b=c","uri_args":{"b":"c"},"body":"eA==","body_args":{},"body_base64":true}`
	if got := mustAppend(t, r, all); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFlagThatIsOffLeavesItsFieldsOut(t *testing.T) {
	r := &request.Request{
		Method:  []byte("GET"),
		URI:     []byte("/u?a"),
		Query:   []byte("a"),
		Headers: headers("content-type: text/plain"),
		Body:    []byte("t"),
	}
	field := []string{
		`"method":"GET"`,
		`"headers":{"content-type":"text/plain"}`,
		`"uri":"/u?a","uri_args":{"a":true}`,
		`"body":"t","body_args":{}`,
	}
	for set := range 16 {
		var want []string
		for i, f := range field {
			if set>>i&1 == 1 {
				want = append(want, f)
			}
		}
		parts := request.Fields{Method: set&1 > 0, Headers: set&2 > 0, URI: set&4 > 0, Body: set&8 > 0}
		if got, want := mustAppend(t, r, parts), "{"+strings.Join(want, ",")+"}"; got != want {
			t.Errorf("%+v:\ngot  %s\nwant %s", parts, got, want)
		}
	}
}

func TestEmptyRequestHasEveryFieldAndNoNull(t *testing.T) {
	want := `{"method":"","headers":{},"uri":"","uri_args":{},"body":"","body_args":{},"body_base64":true}`
	if got := mustAppend(t, &request.Request{}, all); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAppendKeepsWhatDstHolds(t *testing.T) {
	r := &request.Request{Method: []byte("GET")}
	if got, _ := Append([]byte("before"), r, request.Fields{Method: true}); string(got) != `before{"method":"GET"}` {
		t.Errorf("got %s", got)
	}
	r.Headers, r.Body = headers("content-type: application/json"), []byte("{")
	got, err := Append([]byte("before"), r, all)
	if err == nil || string(got) != "before" {
		t.Errorf("after a fault: got %s, %v", got, err)
	}
}

func TestAppendLeavesTheRequestAsItWas(t *testing.T) {
	r := &request.Request{
		Query:   []byte("a%20b=+%41&a+b=\xff"),
		Headers: headers("content-type: multipart/form-data; boundary=b"),
		Body:    []byte("--b\r\ncontent-disposition: form-data;\r\n name=\"a\\\"\xff\"\r\n\r\n\xff\r\n--b--"),
	}
	before := fmt.Sprintf("%q", r)
	mustAppend(t, r, all)
	if after := fmt.Sprintf("%q", r); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
}

func TestMethodIsAsKongGivesIt(t *testing.T) {
	for _, c := range [][2]string{{"GET", `"GET"`}, {"purge", `"purge"`}, {"M\xe9\"", `"Mé\""`}} {
		got := mustAppend(t, &request.Request{Method: []byte(c[0])}, request.Fields{Method: true})
		if want := `{"method":` + c[1] + `}`; got != want {
			t.Errorf("%q: got %s, want %s", c[0], got, want)
		}
	}
}

func TestURI(t *testing.T) {
	for _, c := range []struct{ name, uri, want string }{
		{"is undecoded", "/a%2Fb%20c/%7Euser?z=%zz", `/a%2Fb%20c/%7Euser?z=%zz`},
		{"is text as long as it is UTF-8", "/é?ü", `/é?ü`},
		{"is percent-encoded from 0x80 on if it is not UTF-8", "/p\xff\xfe?x=\xe9", `/p%FF%FE?x=%E9`},
		{"is percent-encoded as a whole, UTF-8 too", "/é\xff", `/%C3%A9%FF`},
		{"keeps its own escapes beside those", "/%ff\xff%", `/%ff%FF%`},
		{"is a JSON string", "/\"\\\x01\xff\"", `/\"\\\u0001%FF\"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := `{"uri":"` + c.want + `","uri_args":{}}`
			if got := mustAppend(t, &request.Request{URI: []byte(c.uri)}, request.Fields{URI: true}); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestArgumentsComeFromTheQueryAndNotFromTheURI(t *testing.T) {
	r := &request.Request{URI: []byte("/a?sent=1"), Query: []byte("changed=1")}
	want := `{"uri":"/a?sent=1","uri_args":{"changed":"1"}}`
	if got := mustAppend(t, r, request.Fields{URI: true}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers []request.Header
		want    string
	}{
		{"are strings", headers("a: 1", "b: "), `{"a":"1","b":""}`},
		{"that repeat are arrays", headers("a: 1", "b: 1", "b: ", "b: 3", "c: 1"), `{"a":"1","b":["1","","3"],"c":"1"}`},
		{"that are not UTF-8 are read as ISO-8859-1", headers("a: caf\xe9\x80", "b: café"), `{"a":"café` + "\u0080" + `","b":"café"}`},
		{"that mix are ISO-8859-1 as a whole", headers("a: é\xff"), `{"a":"Ã©ÿ"}`},
		{"have names that are ISO-8859-1 too", headers("x-\xe9: 1"), `{"x-é":"1"}`},
		{"whose names become one are one", headers("x: 0", "x-\xe9: 1", "x-\xe9: 2", "y: 3", "x-é: \xe9"), `{"x":"0","x-é":["1","2","é"],"y":"3"}`},
		{"are JSON strings", headers("a\": \\\t\x7f"), `{"a\"":"\\\t` + "\x7f" + `"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := `{"headers":` + c.want + `}`
			if got := mustAppend(t, &request.Request{Headers: c.headers}, request.Fields{Headers: true}); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestOnlyWhatJSONDemandsIsEscaped(t *testing.T) {
	for c := range rune(0x100) {
		want := string(c)
		switch {
		case c == '"' || c == '\\':
			want = `\` + want
		case c == '\b':
			want = `\b`
		case c == '\f':
			want = `\f`
		case c == '\n':
			want = `\n`
		case c == '\r':
			want = `\r`
		case c == '\t':
			want = `\t`
		case c < 0x20:
			want = fmt.Sprintf(`\u%04x`, c)
		}
		// At each place of a word, and in what is left behind the last word.
		for before := range 17 {
			pad := strings.Repeat("é", before/2) + strings.Repeat("~", before%2)
			text := pad + string(c) + "z"
			if got := string(appendString(nil, []byte(text))); got != `"`+pad+want+`z"` {
				t.Fatalf("%q became %s", text, got)
			}
		}
	}
	for _, s := range []string{"</script>&", "\u2028\u2029", "\U0001F600", "\ufffd\uffff", "\x7f"} {
		if got := string(appendString(nil, []byte(s))); got != `"`+s+`"` {
			t.Errorf("%q became %s", s, got)
		}
	}
}

func TestEscapableFindsTheFirst(t *testing.T) {
	for _, fill := range []byte{0x1f, ' ', '"', '\\', 0x7f, 0x80, 0xff} {
		for pair := range 1 << 16 {
			for at := range 7 {
				word := [8]byte{fill, fill, fill, fill, fill, fill, fill, fill}
				word[at], word[at+1] = byte(pair), byte(pair>>8)
				want := slices.IndexFunc(word[:], func(c byte) bool { return c < 0x20 || c == '"' || c == '\\' })
				if want < 0 {
					want = 8
				}
				if got := escapable(binary.LittleEndian.Uint64(word[:])); got != want {
					t.Fatalf("% x: got %d, want %d", word, got, want)
				}
			}
		}
	}
}

func TestTextThatIsAllEscapesFits(t *testing.T) {
	for n := range 200 {
		text := strings.Repeat("\x00", n)
		want := `"` + strings.Repeat(`\u0000`, n) + `"`
		if got := string(appendString(nil, []byte(text))); got != want {
			t.Fatalf("%d: got %s", n, got)
		}
	}
}

func TestBody(t *testing.T) {
	const (
		plainText = "text/plain"
		form      = "application/x-www-form-urlencoded"
		jsonType  = "application/json"
	)
	empty := `,"body_args":{}`
	text := func(s string) string { return `{"body":"` + s + `"` }
	base64 := func(s string) string { return text(base64.StdEncoding.EncodeToString([]byte(s))) }
	coded := `,"body_base64":true`

	for _, c := range []struct {
		name        string
		contentType string // none if empty
		body        string
		want        string
	}{
		{"text/plain is text", plainText, "a\nb", text(`a\nb`) + empty},
		{"text/html is text", "text/html", "<p>", text("<p>") + empty},
		{"application/xml is text", "application/xml", "<a/>", text("<a/>") + empty},
		{"text/xml is text", "text/xml", "<a/>", text("<a/>") + empty},
		{"application/soap+xml is text", "application/soap+xml", "<a/>", text("<a/>") + empty},
		{"text has no arguments", plainText, `{"a":1}`, text(`{\"a\":1}`) + empty},
		{"text that is empty", plainText, "", text("") + empty},
		{"text keeps its white space", plainText, " \t\r\n", text(` \t\r\n`) + empty},

		{"parameters are cut off", "text/plain; charset=iso-8859-1", "é", text("é") + empty},
		{"parameters are cut off without a space", "text/plain;charset=utf-8", "x", text("x") + empty},
		{"space around the type is cut off", "\t text/plain \t;", "x", text("x") + empty},
		{"case does not count", "TEXT/Plain", "x", text("x") + empty},
		{"only ASCII case is folded", "application/jſon", "{}", base64("{}") + empty + coded},

		{"no content type is base64", "", "foo=bar", base64("foo=bar") + empty + coded},
		{"no content type and no body", "", "", text("") + empty + coded},
		{"unknown type is base64", "application/octet-stream", "\x00\x01\xff", text("AAH/") + empty + coded},
		{"unknown type is base64 though UTF-8", "text/csv", "a,b", base64("a,b") + empty + coded},
		{"vendor's JSON is base64", "application/vnd.api+json", "{}", base64("{}") + empty + coded},
		{"type that only begins like one is base64", "text/plainer", "x", base64("x") + empty + coded},
		{"list of types is base64", "text/plain, text/html", "x", base64("x") + empty + coded},

		{"text that is not UTF-8 is base64", plainText, "caf\xe9", base64("caf\xe9") + empty + coded},
		{"UTF-8 cut short is base64", plainText, "\xe2\x82", base64("\xe2\x82") + empty + coded},
		{"surrogates are not UTF-8", plainText, "\xed\xa0\x80", base64("\xed\xa0\x80") + empty + coded},
		{"zero byte is text", plainText, "\x00", text(`\u0000`) + empty},
		{"byte order mark is text", plainText, "\ufeffx", text("\ufeffx") + empty},

		{"form is its arguments", form, "a=1&b=%C3%A9&a", text("a=1&b=%C3%A9&a") + `,"body_args":{"a":["1",true],"b":"é"}`},
		{"form that is empty", form, "", text("") + empty},
		{"form with charset", form + "; charset=UTF-8", "a=1", text("a=1") + `,"body_args":{"a":"1"}`},
		{"form that is not UTF-8 is base64 and its arguments", form, "a=\xff", base64("a=\xff") + `,"body_args":{"a":"` + "\ufffd" + `"}` + coded},

		{"JSON object", jsonType, `{"a":1}`, text(`{\"a\":1}`) + `,"body_args":{"a":1}`},
		{"JSON array", jsonType, `[1,[]]`, text(`[1,[]]`) + `,"body_args":[1,[]]`},
		{"JSON of nothing", jsonType, `{}`, text(`{}`) + empty},
		{"JSON keeps all digits", jsonType, `[12345678901234567890,1.10,1E400,-0]`,
			text(`[12345678901234567890,1.10,1E400,-0]`) + `,"body_args":[12345678901234567890,1.10,1E400,-0]`},
		{"JSON keeps escapes and order", jsonType, `{"b":"\u00e9\/","a":1}`,
			text(`{\"b\":\"\\u00e9\\/\",\"a\":1}`) + `,"body_args":{"b":"\u00e9\/","a":1}`},
		{"JSON is compact and of one meaning in body_args alone", jsonType, "{\"b\" : 1,\n\"a\":\"\\ud800\",\"b\":2}",
			text(`{\"b\" : 1,\n\"a\":\"\\ud800\",\"b\":2}`) + `,"body_args":{"a":"\ufffd","b":2}`},
		{"JSON loses the white space around it in body_args alone", jsonType, "\r\n\t {} \n", text(`\r\n\t {} \n`) + empty},
		{"JSON with charset", jsonType + ";charset=utf-8", `{}`, text(`{}`) + empty},
		{"JSON string has no body_args", jsonType, `"s"`, text(`\"s\"`)},
		{"JSON number has no body_args", jsonType, `-1.5e3`, text(`-1.5e3`)},
		{"JSON boolean has no body_args", jsonType, `true`, text(`true`)},
		{"JSON false has no body_args", jsonType, `false`, text(`false`)},
		{"JSON null has no body_args", jsonType, ` null `, text(` null `)},
		{"JSON that is empty", jsonType, "", text("") + empty},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &request.Request{Body: []byte(c.body)}
			if c.contentType != "" {
				r.Headers = headers("host: h", "content-type: "+c.contentType)
			}
			for _, method := range []string{"POST", "GET"} { // the method is not looked at
				r.Method = []byte(method)
				if got := mustAppend(t, r, request.Fields{Body: true}); got != c.want+"}" {
					t.Errorf("got  %s\nwant %s}", got, c.want)
				}
			}
		})
	}
}

func TestFirstContentTypeCounts(t *testing.T) {
	for _, c := range []struct {
		headers []request.Header
		want    string
	}{
		{headers("content-type: text/plain", "content-type: application/json"), `{"body":"{","body_args":{}}`},
		{headers("content-type: ", "content-type: text/plain"), `{"body":"ew==","body_args":{},"body_base64":true}`},
	} {
		if got := mustAppend(t, &request.Request{Headers: c.headers, Body: []byte("{")}, request.Fields{Body: true}); got != c.want {
			t.Errorf("%q: got %s, want %s", c.headers, got, c.want)
		}
	}
}

func TestContentEncoding(t *testing.T) {
	const (
		asItIs = `{"body":"{}","body_args":{}}`
		coded  = `{"body":"e30=","body_args":{},"body_base64":true}`
	)
	for _, c := range []struct {
		name    string
		headers []request.Header
		want    string
	}{
		{"gzip is base64", headers("content-encoding: gzip"), coded},
		{"unknown is base64", headers("content-encoding: x"), coded},
		{"identity is as it is", headers("content-encoding: identity"), asItIs},
		{"identity in any case", headers("content-encoding:  Identity "), asItIs},
		{"empty value is none", headers("content-encoding: "), asItIs},
		{"empty elements are none", headers("content-encoding: , ,identity,"), asItIs},
		{"any element of the list counts", headers("content-encoding: identity, br"), coded},
		{"any header counts", headers("content-encoding: identity", "content-encoding: deflate"), coded},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &request.Request{Body: []byte("{}")}
			r.Headers = append(headers("content-type: application/json"), c.headers...)
			if got := mustAppend(t, r, request.Fields{Body: true}); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestCodedBodyIsNotParsed(t *testing.T) {
	for _, contentType := range []string{"application/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"} {
		for _, body := range []string{"\x1f\x8b{", "a=b", ""} {
			r := &request.Request{
				Headers: headers("content-encoding: gzip", "content-type: "+contentType),
				Body:    []byte(body),
			}
			want := `{"body":"` + base64.StdEncoding.EncodeToString(r.Body) + `","body_args":{},"body_base64":true}`
			if got := mustAppend(t, r, request.Fields{Body: true}); got != want {
				t.Errorf("%s %q: got %s, want %s", contentType, body, got, want)
			}
		}
	}
}

func TestBodyThatIsNotWhatItsTypeSaysIsRefused(t *testing.T) {
	const (
		invalid    = "invalid json body"
		notUTF8    = "json body is not utf-8"
		deep       = "json body is nested too deep"
		noBoundary = "multipart body without boundary"
		unclosed   = "multipart body without closing boundary"
	)
	for _, c := range []struct{ contentType, body, reason string }{
		{"application/json", `{"a":`, invalid},
		{"application/json", `a=b`, invalid},
		{"application/json", ` `, invalid},
		{"application/json", "\ufeff{}", invalid},
		{"application/json", `{} {}`, invalid},
		{"Application/JSON; charset=utf-8", `nul`, invalid},
		{"application/json", "[\"\xff\"]", notUTF8},
		{"application/json; charset=iso-8859-1", "[\"\xe9\"]", notUTF8},
		{"application/json", strings.Repeat("[", 1000) + strings.Repeat("]", 1000), deep},
		{"application/json", strings.Repeat("[", 1<<20), deep},
		{"multipart/form-data", "--b--", noBoundary},
		{"multipart/form-data; boundary=", "--b--", noBoundary},
		{`multipart/form-data; boundary=""`, "--b--", noBoundary},
		{"multipart/form-data; boundary=b", "", unclosed},
		{"multipart/form-data; boundary=b", "--b\r\n\r\nx", unclosed},
		{"multipart/form-data; boundary=b", "--b\r\ncontent-disposition: form-data; name=a\r\n\r\nx\r\n--b\r\n", unclosed},
	} {
		r := &request.Request{Headers: headers("content-type: " + c.contentType), Body: []byte(c.body)}
		got, err := Append(nil, r, all)
		var bad *record.BadRequest
		if !errors.As(err, &bad) || bad.Reason != c.reason || len(got) != 0 {
			t.Errorf("%s %.20q: got %q, %v; want %s", c.contentType, c.body, got, err, c.reason)
		}
		if err != nil && !strings.Contains(err.Error(), c.reason) {
			t.Errorf("error without its reason: %v", err)
		}
		if _, err := Append(nil, r, request.Fields{Method: true, URI: true, Headers: true}); err != nil {
			t.Errorf("%s %.20q: refused though the body is not wanted: %v", c.contentType, c.body, err)
		}
	}
}

func TestBodyNestsUpToTheLimit(t *testing.T) {
	for _, pair := range [][2]string{{"[", "]"}, {`{"a":`, "}"}, {`[{"a":`, "}]"}} {
		levels := strings.Count(pair[0], "[") + strings.Count(pair[0], "{")
		n := maxNesting / levels
		body := strings.Repeat(pair[0], n) + "1" + strings.Repeat(pair[1], n)
		r := &request.Request{Headers: headers("content-type: application/json"), Body: []byte(body)}
		if got := mustAppend(t, r, request.Fields{Body: true}); !strings.HasSuffix(got, `,"body_args":`+body+"}") {
			t.Errorf("%s: got %.60s", pair[0], got)
		}
	}
}

func TestExcludedHeadersAreLeftOutOfTheMessage(t *testing.T) {
	r := &request.Request{Headers: headers("authorization: a", "cookie: b", "cookie: c", "x: 1", "apikey: d", "y\xff: 2")}
	for _, row := range []struct {
		excluded []string
		want     string
	}{
		{nil, `{"headers":{"authorization":"a","cookie":["b","c"],"x":"1","apikey":"d","yÿ":"2"}}`},
		{[]string{"Authorization", "COOKIE", "absent"}, `{"headers":{"x":"1","apikey":"d","yÿ":"2"}}`},
		{[]string{"authorization", "cookie", "x", "apikey"}, `{"headers":{"yÿ":"2"}}`},
	} {
		d := &record.Draft{Request: r}
		got, err := NewEncoder(request.Fields{Headers: true}, row.excluded).Append(nil, d)
		if err != nil || !reflect.DeepEqual(decoded(t, got), decoded(t, []byte(row.want))) {
			t.Errorf("without %q: %s, %v", row.excluded, got, err)
		}
	}
}
