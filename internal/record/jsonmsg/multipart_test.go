package jsonmsg

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// part makes a part of a body with the boundary b.
func part(header, content string) string {
	return "--b\r\nContent-Disposition: form-data; " + header + "\r\n\r\n" + content + "\r\n"
}

const closing = "--b--\r\n"

func TestMultipart(t *testing.T) {
	a := part("name=a", "1")
	for _, c := range []struct{ name, body, want string }{
		{"is names and contents", part(`name="a"`, "1") + part(`name="b"`, "two") + closing, `{"a":"1","b":"two"}`},
		{"has files' contents too", part(`name="f"; filename="x.bin"`+"\r\nContent-Type: application/octet-stream", "\x00\xff\xfe") + closing, `{"f":"\u0000` + "\ufffd\ufffd" + `"}`},
		{"that repeats a name has an array", a + part("name=b", "") + part("name=a", "2") + closing, `{"a":["1","2"],"b":""}`},
		{"without parts is empty", closing, `{}`},
		{"without parts is empty, with LF", "--b--\n", `{}`},
		{"may end with the closing boundary", a + "--b--", `{"a":"1"}`},
		{"may have a preamble", "before\r\nnot --b\r\n--bb\r\n" + a + closing, `{"a":"1"}`},
		{"may have an epilogue", a + closing + "after\r\n" + part("name=c", "3"), `{"a":"1"}`},
		{"may have white space behind boundaries", "--b \t\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b-- \t\r\n", `{"a":"1"}`},
		{"may have bare LF", strings.ReplaceAll(a+part("name=b", "2\r")+closing, "\r\n", "\n"), `{"a":"1","b":"2\r"}`},
		{"with CRLF has LF in its contents", part("name=a", "1\n--b--\n2\r\r\n") + closing, `{"a":"1\n--b--\n2\r\r\n"}`},
		{"has no boundary amid a line", part("name=a", "1--b--2\r\n --b--\r\n--b-\r\n--b --\r\n--bb") + closing, `{"a":"1--b--2\r\n --b--\r\n--b-\r\n--b --\r\n--bb"}`},
		{"has empty contents", part("name=a", "") + "--b\r\ncontent-disposition:form-data;name=b\r\n\r\n--b--", `{"a":"","b":""}`},
		{"has contents of line ends", part("name=a", "\r\n\r\n") + closing, `{"a":"\r\n\r\n"}`},
		{"has a part that is a header alone", "--b\r\nContent-Disposition: form-data; name=a\r\n--b--", `{"a":""}`},

		{"leaves out a part without header", "--b\r\n\r\n1\r\n--b\r\n--b\r\n" + a[len("--b\r\n"):] + closing, `{"a":"1"}`},
		{"leaves out a part without name", part(`filename="x"`, "1") + a + closing, `{"a":"1"}`},
		{"leaves out a part with an empty name", part(`name=""`, "1") + part("name=", "2") + part("name", "3") + a + closing, `{"a":"1"}`},
		{"leaves out a part that is not form-data", "--b\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n" + closing, `{}`},
		{"leaves out a part with the extended form of a name", part(`name*=UTF-8''a`, "1") + closing, `{}`},
		{"takes the first Content-Disposition", part("name=a\r\nContent-Disposition: form-data; name=b", "1") + closing, `{"a":"1"}`},
		{"takes the first name", part("name=a; name=b", "1") + closing, `{"a":"1"}`},
		{"passes over what is no header line", "--b\r\n???\r\n: x\r\n" + a[len("--b\r\n"):] + closing, `{"a":"1"}`},
		{"takes headers in any case", "--b\r\nCONTENT-disposition:FORM-Data ; NAME = \"a\"\r\n\r\n1\r\n" + closing, `{"a":"1"}`},
		{"unfolds headers", "--b\r\nX: y\r\n content-disposition: form-data; name=x\r\nContent-Disposition: form-data;\r\n\tname=\"a\r\n  b\"\r\n\r\n1\r\n" + closing, `{"a b":"1"}`},
		{"does not decode a Content-Transfer-Encoding", part("name=a\r\nContent-Transfer-Encoding: base64", "MQ==") + part("name=b\r\nContent-Transfer-Encoding: quoted-printable", "=31") + closing, `{"a":"MQ==","b":"=31"}`},

		{"has names in quotes", part(`name="a;b=c: d"`, "1") + closing, `{"a;b=c: d":"1"}`},
		{"has escaped quotes and backslashes in names", part(`name="a\"b\\c"`, "1") + closing, `{"a\"b\\c":"1"}`},
		{"has other backslashes as they are", part(`name="C:\x\"; filename=y`, "1") + closing, `{"C:\\x\"; filename=y":"1"}`},
		{"has %22 in names as it is", part(`name="a%22%0D"`, "1") + closing, `{"a%22%0D":"1"}`},
		{"has names without quotes", part(`filename=über uns.txt; name=a b/c `, "1") + closing, `{"a b/c":"1"}`},
		{"has names in unclosed quotes", part(`name="a; b`, "1") + closing, `{"a; b":"1"}`},
		{"has names after odd parameters", part(`; =; x; filename="a;\"name=b" ; name="c"`, "1") + closing, `{"c":"1"}`},
		{"has UTF-8 names", part(`name="é"`, "é") + closing, `{"é":"é"}`},
		{"has U+FFFD in names that are not", part("name=\"\xe9\"", "1") + part("name=\xe8", "2") + part("name=\ufffd", "3") + closing, `{"` + "\ufffd" + `":["1","2","3"]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := appendMultipart(nil, []byte(c.body), []byte("multipart/form-data; boundary=b"))
			if err != nil || string(got) != c.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
			}
		})
	}
}

func TestMultipartBoundary(t *testing.T) {
	for _, c := range []struct {
		contentType, boundary string // no boundary if empty
	}{
		{"multipart/form-data; boundary=b", "b"},
		{"multipart/form-data;boundary=b;charset=utf-8", "b"},
		{"Multipart/Form-Data; charset=utf-8; BOUNDARY = b ", "b"},
		{`multipart/form-data; boundary="b; c"`, "b; c"},
		{`multipart/form-data; boundary="b\"c"`, `b"c`},
		{"multipart/form-data; boundary=----=_Part_1:2/3?(4)", "----=_Part_1:2/3?(4)"},
		{`multipart/form-data; x="; boundary=no"; boundary=b`, "b"},
		{"multipart/form-data; boundary=b; boundary=c", "b"},
		{"multipart/form-data; boundary=" + strings.Repeat("b", 500), strings.Repeat("b", 500)},
		{"multipart/form-data; boundary=\xff", "\xff"},
		{"multipart/form-data", ""},
		{"multipart/form-data;", ""},
		{"multipart/form-data; boundary", ""},
		{"multipart/form-data; boundary=;", ""},
		{`multipart/form-data; boundary=""`, ""},
		{"multipart/form-data; xboundary=b", ""},
		{"multipart/form-data; boundary*=b", ""},
		{"multipart/form-data; boundary=\"b\r\n\"", ""},
	} {
		body := strings.ReplaceAll(part("name=a", "1")+closing, "--b", "--"+c.boundary)
		got, err := appendMultipart(nil, []byte(body), []byte(c.contentType))
		if c.boundary == "" {
			if !errors.Is(err, errNoBoundary) {
				t.Errorf("%q: got %s, %v", c.contentType, got, err)
			}
		} else if err != nil || string(got) != `{"a":"1"}` {
			t.Errorf("%q: got %s, %v", c.contentType, got, err)
		}
	}
}

func TestMultipartWithoutClosingBoundaryIsRefused(t *testing.T) {
	whole := part("name=a", "1") + part("name=b", "2") + "--b--"
	for n := range len(whole) {
		if got, err := appendMultipart(nil, []byte(whole[:n]), []byte("multipart/form-data; boundary=b")); !errors.Is(err, errUnclosed) {
			t.Errorf("%q: got %s, %v", whole[:n], got, err)
		}
	}
	for _, body := range []string{
		whole + "b", whole + "-", part("name=a", "1") + " --b--", part("name=a", "1\n--b--\nx"),
		strings.Repeat(part("name=a", "1"), maxArguments+1),
		"--b\r\nContent-Disposition: form-data;\r\n name=a",
	} {
		if got, err := appendMultipart(nil, []byte(body), []byte("multipart/form-data; boundary=b")); !errors.Is(err, errUnclosed) {
			t.Errorf("%.60q: got %.60s, %v", body, got, err)
		}
	}
}

func TestPartsBeyondTheLimitAreLeftOut(t *testing.T) {
	var body strings.Builder
	for i := range maxArguments + 5 {
		if i == 0 {
			body.WriteString(part("filename=x", "without a name, and counts"))
		}
		body.WriteString(part(fmt.Sprintf("name=%d", i), "x"))
	}
	body.WriteString(closing)
	got, err := appendMultipart(nil, []byte(body.String()), []byte("multipart/form-data; boundary=b"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(decoded(t, got).(map[string]any)); n != maxArguments-1 {
		t.Errorf("%d parts, want %d", n, maxArguments-1)
	}
}

// BenchmarkHostileMultipart shows whether what a client can send makes a cost that
// grows with the square of it.
func BenchmarkHostileMultipart(b *testing.B) {
	hyphens := strings.Repeat("-", 8000)
	for _, c := range []struct{ name, boundary, body string }{
		{"boundaries that are none", "b", part("name=a", strings.Repeat("\r\n--bb", 1<<17)) + closing},
		{"preamble of boundaries that are none", "b", strings.Repeat("\n--bb", 1<<17) + closing},
		{"parts", "b", strings.Repeat("--b\r\n", 1<<17) + closing},
		{"long boundary", hyphens, strings.Repeat("\r\n"+hyphens, 1000) + strings.Repeat("-", 1<<20)},
		{"long header", "b", part("name="+strings.Repeat(`"\`, 1<<19), "") + closing},
		{"parameters", "b", part(strings.Repeat(`x="\\";`, 1<<17)+"name=a", "") + closing},
		{"folded lines", "b", part(strings.Repeat("\r\n \r\n\tx;", 1<<17)+"name=a", "") + closing},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.body)))
			for b.Loop() {
				appendMultipart(nil, []byte(c.body), []byte("multipart/form-data; boundary="+c.boundary))
			}
		})
	}
}
