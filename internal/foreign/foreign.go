// Package foreign makes text from outside safe to log: what brokers, Kong, the Admin API,
// resolvers and certificates contain. Such text may have line feeds that forge log lines,
// may be megabytes long, and may echo the very password that was sent.
package foreign

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Limits in bytes of what the functions of this package return.
const (
	// MaxText is for one cause. A host name of 253 bytes fits in twice, as in
	// "cannot reach broker HOST:9092: dial tcp: lookup HOST: no such host".
	MaxText = 768
	// MaxLine is for a whole line. nginx cuts its own at 2048 or 4096 bytes.
	MaxLine = 1920
)

// Text returns s as one line of printable characters in valid UTF-8, of [MaxText]
// bytes at most. See [Cut].
func Text(s string) string { return Cut(s, MaxText) }

// Line is [Text] for a whole line: of [MaxLine] bytes at most.
func Line(s string) string { return Cut(s, MaxLine) }

// Cut returns s as one line of at most max bytes. Control characters, line feeds,
// characters that change the direction of text or do not show, and bytes that are
// not UTF-8 are written as Go writes them in a string: \n, \x1b, \u202e. The middle
// of a longer text is left out, because a sentence begins with what failed and ends
// with why. A result stays as it is when it is passed to Cut once more. limit is at
// least 64.
func Cut(s string, limit int) string {
	if len(s) <= limit && printable(s) {
		return s
	}
	if len(s) <= limit { // else even the escaped text does not fit
		if b, whole := escape(s, limit); whole {
			return string(b)
		}
	}
	gap := fmt.Sprintf("[… %d bytes in all …]", len(s))
	tail := (limit - len(gap)) / 3
	head, _ := escape(s, limit-len(gap)-tail)
	return string(head) + gap + string(last(s, tail))
}

// printable reports whether escape would return s as it is.
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

// escape returns as much of s as fits into limit bytes when it is escaped, in whole
// characters, and whether that is all of s.
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
	quoted := strconv.QuoteRune(r) // never ' or \, which are printable
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
