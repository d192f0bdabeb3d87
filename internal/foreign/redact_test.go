package foreign

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// writings are ways in which a peer may write a text that it was sent.
var writings = map[string]func(string) string{
	"as it is":        func(s string) string { return s },
	"Go":              strconv.Quote,
	"Go, ASCII":       strconv.QuoteToASCII,
	"Go, bytes":       func(s string) string { return fmt.Sprint([]byte(s)) },
	"JSON":            func(s string) string { b, _ := json.Marshal(s); return string(b) },
	"Java, bytes":     func(s string) string { return strings.ReplaceAll(fmt.Sprint(signed(s)), " ", ", ") },
	"base64":          func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64, URL":     func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64, 2nd":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte("x" + s + "yz")) },
	"base64, 3rd":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte("xy" + s + "z")) },
	"hexadecimal":     func(s string) string { return hex.EncodeToString([]byte(s)) },
	"HEXADECIMAL":     func(s string) string { return fmt.Sprintf("%X", s) },
	"path":            url.PathEscape,
	"query":           url.QueryEscape,
	"query, in hex":   func(s string) string { return lowerEscapes(url.QueryEscape(s)) },
	"of this package": Text,
}

func signed(s string) []int8 {
	all := make([]int8, len(s))
	for i := range len(s) {
		all[i] = int8(s[i])
	}
	return all
}

func TestSecretIsFoundHoweverItIsWritten(t *testing.T) {
	for _, password := range []string{"correct horse", "s3cr3t", `p=ä, 💧 "w\örd<&>`, "line\nfeed\x01", "MDEyMzQ1Njc4OWFiY2RlZg=="} {
		r := NewRedactor("", password)
		for name, write := range writings {
			for _, text := range []string{write(password), "login \"" + write(password) + "\" refused", write("\x00user\x00" + password), write("user:" + password)} {
				got := r.Text(text)
				if !strings.Contains(got, Redacted) {
					t.Errorf("%s: %q is shown as %s", name, text, got)
				}
				for other, write := range writings {
					if strings.Contains(got, strings.Trim(write(password), `"[]`)) {
						t.Errorf("%s: %q is shown as %s, which has it as of %s", name, text, got, other)
					}
				}
			}
		}
	}
}

func TestTextAroundASecretStays(t *testing.T) {
	r := NewRedactor("hush-hush", "ok")
	for s, want := range map[string]string{
		"":                                   "",
		"cannot reach broker kafka:9092":     "cannot reach broker kafka:9092",
		"user u, password hush-hush: wrong":  "user u, password [redacted]: wrong",
		"hush-hush":                          "[redacted]",
		"xhush-hushhush-hushx":               "x[redacted][redacted]x",
		"\x00u\x00hush-hush\nforged":         `\x00u\x00[redacted]\nforged`,
		"it is a broker, and ok is redacted": "it is a broker, and [redacted] is redacted",
		"ok":                                 "[redacted]",
		"cut in the password: hush-h":        "cut in the password: [redacted]",
		"cut in the bytes: [104 117 115 104": "cut in the bytes: [[redacted]",
		"hu":                                 "hu",
	} {
		if got := r.Text(s); got != want {
			t.Errorf("%q is shown as %s, want %s", s, got, want)
		}
	}
	var none *Redactor
	if got := none.Text("hush-hush\n"); got != `hush-hush\n` || NewRedactor("") != nil {
		t.Errorf("without secrets: %s", got)
	}
}

func TestSecretThatIsKnownLaterIsFound(t *testing.T) {
	var later []string
	for _, r := range []*Redactor{NewRedactor("hush-hush").With(func() []string { return later }), (*Redactor)(nil).With(func() []string { return later })} {
		later = nil
		if got := r.Text("of l4ter-token"); got != "of l4ter-token" {
			t.Errorf("before it is known: %s", got)
		}
		for _, token := range []string{"l4ter-token", "n3xt-token"} {
			later = []string{"", token}
			for name, write := range writings {
				if got := r.Text(write("Bearer " + token)); !strings.Contains(got, Redacted) || strings.Contains(got, write(token)) {
					t.Errorf("%s: %s", name, got)
				}
			}
		}
		if got := r.Text("of l4ter-token"); got != "of l4ter-token" {
			t.Errorf("once it is forgotten: %s", got)
		}
	}
	r := NewRedactor("hush-hush").With(func() []string { return []string{"t"} })
	if got := r.Text("hush-hush, t, at"); got != "[redacted], [redacted], at" {
		t.Errorf("got %s", got)
	}
	if s := fmt.Sprintf("%+v", r); strings.Contains(s, "hush") {
		t.Error(s)
	}
}

// Wherever a long text is cut, no part of a secret is left at the cut.
func TestCutLeavesNoPartOfASecret(t *testing.T) {
	password := strings.Repeat("hush", 4)
	r := NewRedactor(password)
	for shift := range len(password) + 1 {
		for _, size := range []int{MaxText, maxScan, 3 * maxScan} {
			text := strings.Repeat("x", shift) + strings.Repeat(password, size/len(password)+1)
			got := r.Text(text)
			if len(got) > MaxText || strings.Contains(got, "hu") {
				t.Fatalf("shift %d, %d bytes: %s", shift, size, got)
			}
		}
	}
}

func TestRedactorPrintsWithoutItsSecrets(t *testing.T) {
	r := NewRedactor("hush-hush")
	_ = r.Text("hush-hush")
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{r, struct{ R *Redactor }{r}} {
			if s := fmt.Sprintf(format, v); strings.Contains(s, "hush") {
				t.Errorf("%s shows %s", format, s)
			}
		}
	}
}

func BenchmarkRedact(b *testing.B) {
	r := NewRedactor("correct horse", "\x00orders\x00correct horse")
	const text = "cannot reach broker kafka:9092: dial tcp: lookup kafka on 10.0.0.10:53: no such host"
	for b.Loop() {
		r.Text(text)
	}
}

// A peer that repeats itself costs no more than one that does not.
func BenchmarkRedactLong(b *testing.B) {
	r := NewRedactor("correct horse", "\x00orders\x00correct horse")
	text := strings.Repeat("correct hors", 100_000)
	for b.Loop() {
		r.Text(text)
	}
}
