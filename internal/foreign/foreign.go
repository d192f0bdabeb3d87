// Package foreign makes text from outside safe to log: text from brokers, Kong, the Admin
// API, resolvers and certificates. It may contain line feeds that forge log lines, be
// megabytes long, or echo the password that was sent.
package foreign

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Limits of the texts that this package returns, in bytes.
const (
	// MaxText is for one cause. A host name of 253 bytes fits twice, as in
	// "cannot reach broker HOST:9092: dial tcp: lookup HOST: no such host".
	MaxText = 768
	// MaxLine is for a whole line. nginx cuts its log lines at 2048 or 4096 bytes.
	MaxLine = 1920
)

// Text returns s as one line of printable characters, of at most [MaxText] bytes. See [Cut].
func Text(s string) string { return Cut(s, MaxText) }

// Line returns s as one line of printable characters, of at most [MaxLine] bytes. See [Cut].
func Line(s string) string { return Cut(s, MaxLine) }

// Cut returns s as one line of printable characters in valid UTF-8, of at most limit bytes,
// which is at least 64. Control characters, line feeds, invisible characters, those that
// change the direction of text, and bytes that are not UTF-8 are escaped as in a Go string:
// \n, \x1b, \u202e. A longer text loses its middle, because a sentence begins with what
// failed and ends with why. Cut does not change its own result.
func Cut(s string, limit int) string {
	if len(s) <= limit && printable(s) {
		return s
	}
	if len(s) <= limit { // a longer text does not fit: escaping shortens nothing
		if b, whole := escape(s, limit); whole {
			return string(b)
		}
	}
	gap := omitted(len(s))
	tail := (limit - len(gap)) / 3
	head, _ := escape(s, limit-len(gap)-tail)
	return string(head) + gap + string(last(s, tail))
}

// omitted stands for what is left out of a text of that many bytes.
func omitted(total int) string { return fmt.Sprintf("[… %d bytes in all …]", total) }

// printable reports whether escape would return s unchanged.
func printable(s string) bool {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !strconv.IsPrint(r) {
			return false
		}
		i += n
	}
	return true
}

// escape returns as many whole characters of s as fit into limit bytes once they are escaped,
// and whether that is all of s.
func escape(s string, limit int) (b []byte, whole bool) {
	for len(s) > 0 {
		before := len(b)
		r, n := utf8.DecodeRuneInString(s)
		if b = escapeRune(b, r, s[:n]); len(b) > limit {
			return b[:before], false
		}
		s = s[n:]
	}
	return b, true
}

func escapeRune(b []byte, r rune, raw string) []byte {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		return fmt.Appendf(b, `\x%02x`, raw[0])
	case strconv.IsPrint(r):
		return append(b, raw...)
	}
	quoted := strconv.QuoteRune(r) // not printable, so neither a quote nor a backslash
	return append(b, quoted[1:len(quoted)-1]...)
}

// last returns the end of s, escaped, of at most limit bytes.
func last(s string, limit int) []byte {
	from := len(s)
	for size := 0; from > 0; {
		r, n := utf8.DecodeLastRuneInString(s[:from])
		if size += len(escapeRune(nil, r, s[from-n:from])); size > limit {
			break
		}
		from -= n
	}
	b, _ := escape(s[from:], limit)
	return b
}
