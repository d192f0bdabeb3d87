// Package jsontext has what all readers of JSON (RFC 8259) have in common: the tokens that are
// no strings, and escapes. It allocates nothing.
//
// The functions that skip return the position after what begins at i, and len(s)+1 if s has
// something else there.
package jsontext

import (
	"unicode/utf16"
	"unicode/utf8"

	"kafka-upstream/internal/record/media"
)

// SkipWord skips word, which is true, false or null.
func SkipWord(s []byte, i int, word string) int {
	if len(s)-i < len(word) || string(s[i:i+len(word)]) != word {
		return len(s) + 1
	}
	return i + len(word)
}

// SkipNumber skips a number. i is within s.
func SkipNumber(s []byte, i int) int {
	if s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else {
		i = skipDigits(s, i)
	}
	return SkipFraction(s, i)
}

// SkipFraction skips the fraction and the exponent of a number, if it has any.
func SkipFraction(s []byte, i int) int {
	if i >= len(s) || s[i] != '.' && s[i] != 'e' && s[i] != 'E' {
		return i
	}
	if s[i] == '.' {
		i = skipDigits(s, i+1)
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		i = skipDigits(s, i)
	}
	return i
}

// skipDigits skips one digit or more.
func skipDigits(s []byte, i int) int {
	from := i
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	if i == from {
		return len(s) + 1
	}
	return i
}

// CodeUnit returns what the first four bytes of s are as hex digits, or -1.
func CodeUnit(s []byte) rune {
	if len(s) < 4 {
		return -1
	}
	a, b, c, d := media.Unhex[s[0]], media.Unhex[s[1]], media.Unhex[s[2]], media.Unhex[s[3]]
	if a|b|c|d > 15 {
		return -1
	}
	return rune(a)<<12 | rune(b)<<8 | rune(c)<<4 | rune(d)
}

// Rune returns the character of an escape whose \u is before s, and how many bytes of s
// belong to it: four hex digits, or ten bytes if a second escape completes a surrogate pair.
// Half of a pair is returned as it is. n is 0 if s does not begin with four hex digits.
func Rune(s []byte) (r rune, n int) {
	r = CodeUnit(s)
	if r < 0 {
		return 0, 0
	}
	if utf16.IsSurrogate(r) && len(s) >= 10 && s[4] == '\\' && s[5] == 'u' {
		if pair := utf16.DecodeRune(r, CodeUnit(s[6:])); pair != utf8.RuneError {
			return pair, 10
		}
	}
	return r, 4
}
