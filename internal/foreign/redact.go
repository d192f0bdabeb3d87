package foreign

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	// Redacted replaces a secret.
	Redacted = "[redacted]"
	// maxScan is how many bytes of a text are searched. Far fewer are ever shown.
	maxScan = 8 << 10
	// wordSize is the length from which a secret is also found within a word. A shorter one,
	// such as "ok", would be found in "broker", and the redaction would give it away.
	wordSize = 8
	// minPrefix is how much of a secret at the end of a text counts as the secret.
	minPrefix = 4
)

// Redactor finds the secrets of one configuration in foreign text, even if they are encoded:
// in base64, in hexadecimal, as decimal numbers, percent-encoded, or escaped as in JSON, Go,
// Java or HTML. A nil Redactor knows no secret. Its methods may be called from many goroutines
// at once. It holds a function only, so it prints no secret.
type Redactor struct{ forms func() *forms }

// forms are the encodings of the secrets.
type forms struct {
	all   []form      // the longest first
	first [256][]form // by their first byte
}

// form is one encoding of a secret.
type form struct {
	text   string
	base64 bool // part of a longer base64 text, all of which is redacted
	short  bool // found only where no letter or digit touches it
}

// NewRedactor returns a Redactor of these secrets, ignoring empty ones; nil if there are
// none.
func NewRedactor(secrets ...string) *Redactor {
	secrets = slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return s == "" })
	if len(secrets) == 0 {
		return nil
	}
	return &Redactor{sync.OnceValue(func() *forms { return newForms(formsOf(secrets)) })}
}

// With returns a Redactor that also finds the secrets that more returns when a text is redacted,
// such as a token that was not known before. r may be nil.
func (r *Redactor) With(more func() []string) *Redactor {
	var (
		mu     sync.Mutex
		known  []string // the secrets in latest
		latest *forms
	)
	return &Redactor{func() *forms {
		secrets := slices.DeleteFunc(slices.Clone(more()), func(s string) bool { return s == "" })
		mu.Lock()
		defer mu.Unlock()
		if latest == nil || !slices.Equal(known, secrets) {
			all := formsOf(secrets)
			if r != nil {
				all = append(all, r.forms().all...)
			}
			known, latest = secrets, newForms(all)
		}
		return latest
	}}
}

func newForms(all []form) *forms {
	slices.SortStableFunc(all, func(a, b form) int { return cmp.Compare(len(b.text), len(a.text)) })
	f := &forms{all: slices.CompactFunc(all, func(a, b form) bool { return a == b })}
	for _, form := range f.all {
		f.first[form.text[0]] = append(f.first[form.text[0]], form)
	}
	return f
}

// Text returns s without the secrets, as one line of printable characters: see [Text].
func (r *Redactor) Text(s string) string { return Text(r.Redact(s)) }

// Redact returns s, or the beginning of a very long s, with each secret replaced by
// [Redacted]. It must come before anything that changes the text, such as [Cut], which could
// hide a secret from it.
func (r *Redactor) Redact(s string) string {
	if r == nil {
		return s
	}
	forms := r.forms()
	if len(forms.all) == 0 {
		return s
	}
	if total := len(s); total > maxScan {
		s = replace(s[:maxScan], forms)
		// A secret may have begun before the end of what was searched.
		return s[:max(len(s)-len(forms.all[0].text), 0)] + omitted(total)
	}
	return replace(s, forms)
}

func replace(s string, forms *forms) string {
	var b strings.Builder
	done := 0
	for i := 0; i < len(s); {
		from, to := find(s, i, forms.first[s[i]])
		if to == 0 {
			i++
			continue
		}
		b.WriteString(s[done:max(from, done)])
		b.WriteString(Redacted)
		i, done = to, to
	}
	if n := prefixAtEnd(s[done:], forms.all); n > 0 {
		b.WriteString(s[done : len(s)-n])
		b.WriteString(Redacted)
		return b.String()
	}
	if done == 0 {
		return s
	}
	return b.String() + s[done:]
}

// prefixAtEnd returns the length of the longest suffix of s that is a prefix of a secret, as
// at the end of a message that was cut.
func prefixAtEnd(s string, forms []form) (longest int) {
	for _, f := range forms {
		for n := min(len(f.text)-1, len(s)); n > longest && n >= minPrefix; n-- {
			if strings.HasSuffix(s, f.text[:n]) {
				longest = n
			}
		}
	}
	return longest
}

// find returns the begin and the end of the secret whose form is found at s[i:]; to is 0 if
// there is none.
func find(s string, i int, forms []form) (from, to int) {
	for _, f := range forms {
		if !strings.HasPrefix(s[i:], f.text) {
			continue
		}
		from, to = i, i+len(f.text)
		if f.base64 { // its first and last characters also encode what is around it
			for from > 0 && isBase64(s[from-1]) {
				from--
			}
			for to < len(s) && isBase64(s[to]) {
				to++
			}
		}
		if f.short && (from > 0 && isWord(s[from-1]) && !escapeEnd.MatchString(s[max(0, from-6):from]) || to < len(s) && isWord(s[to])) {
			continue
		}
		return from, to
	}
	return 0, 0
}

// escapeEnd is an escaped character, such as %00 or \x00, whose digits do not belong to the
// word that follows.
var escapeEnd = regexp.MustCompile(`(%[0-9A-Fa-f]{2}|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\[0abfnrtv])$`)

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func isBase64(c byte) bool {
	return isWord(c) && c < 0x80 || c == '+' || c == '/' || c == '=' || c == '-' || c == '_'
}

// formsOf returns the forms of the secrets.
func formsOf(secrets []string) []form {
	var all []form
	add := func(short bool, texts ...string) {
		for _, text := range texts {
			all = append(all, form{text: text, short: short})
		}
	}
	for _, secret := range secrets {
		short := len(secret) < wordSize
		add(short, secret)
		add(short, escapes(secret)...)
		add(short, percents(secret)...)
		add(short, base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawStdEncoding.EncodeToString([]byte(secret)))
		if len(secret) >= 3 { // a shorter one looks like any number
			for _, text := range numbers(secret) {
				add(len(text) < wordSize, text)
			}
		}
		if len(secret) >= 5 { // a shorter one looks like any word
			all = append(all, base64s(secret)...)
		}
		// The HMAC of a delegation token is written in base64.
		if raw, err := base64.StdEncoding.DecodeString(secret); err == nil && len(raw) >= 16 {
			add(false, string(raw))
			add(false, escapes(string(raw))...)
			add(false, numbers(string(raw))...)
		}
	}
	return all
}

// escapes returns the secret as it is written between quotes in Go, JSON, HTML and Java, and
// by this package.
func escapes(secret string) []string {
	escaped, _ := escape(secret, 10*len(secret))
	all := []string{html.EscapeString(secret), string(escaped)}
	for _, quoted := range []string{strconv.Quote(secret), strconv.QuoteToASCII(secret)} {
		all = append(all, quoted[1:len(quoted)-1])
	}
	if quoted, err := json.Marshal(secret); err == nil {
		all = append(all, string(quoted[1:len(quoted)-1]))
	}
	var java strings.Builder
	for _, r := range secret {
		if r < 0x20 || r > 0x7e {
			fmt.Fprintf(&java, `\u%04X`, r)
			continue
		}
		if strings.ContainsRune(`"'\`, r) {
			java.WriteByte('\\')
		}
		java.WriteRune(r)
	}
	return append(all, java.String())
}

// numbers returns the secret's bytes in hexadecimal, and as decimal numbers as Go and Java
// print them.
func numbers(secret string) []string {
	low := hex.EncodeToString([]byte(secret))
	var unsigned, signed []string
	for i := range len(secret) {
		unsigned = append(unsigned, strconv.Itoa(int(secret[i])))
		signed = append(signed, strconv.Itoa(int(int8(secret[i]))))
	}
	return []string{low, strings.ToUpper(low), strings.Join(unsigned, " "), strings.Join(unsigned, ", "),
		strings.Join(unsigned, ","), strings.Join(signed, ", "), strings.Join(signed, ",")}
}

// percents returns the secret percent-encoded: for paths, for queries, and with all bytes
// encoded but letters and digits.
func percents(secret string) []string {
	var strict strings.Builder
	for i := range len(secret) {
		if c := secret[i]; isWord(c) && c < 0x80 {
			strict.WriteByte(c)
		} else {
			fmt.Fprintf(&strict, "%%%02X", c)
		}
	}
	var all []string
	for _, s := range []string{url.PathEscape(secret), url.QueryEscape(secret), strict.String()} {
		all = append(all, s, lowerEscapes(s))
	}
	return all
}

// lowerEscapes returns a percent-encoded text with its hexadecimal digits in lower case.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], strings.ToLower(string(b[i+1:i+3])))
		}
	}
	return string(b)
}

// base64s returns the part of the secret's base64 that does not depend on the bytes around it,
// for each position of its first byte in a group of three.
func base64s(secret string) []form {
	var all []form
	for offset := range 3 {
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := e.EncodeToString(append(make([]byte, offset), secret...))
			text = text[(8*offset+5)/6 : (offset+len(secret))*8/6]
			all = append(all, form{text: text, base64: true})
		}
	}
	return all
}
