package jsonmsg

import (
	"encoding/binary"
	"unicode/utf8"
)

const replacement = "\uFFFD"

// appendString appends s, which must be valid UTF-8, as a JSON string.
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, s)
	return append(dst, '"')
}

// appendLatin1 appends s as a JSON string: as it is if it is UTF-8, else read as
// ISO-8859-1, which every string of bytes is.
func appendLatin1(dst, s []byte) []byte {
	if utf8.Valid(s) {
		return appendString(dst, s)
	}
	return appendBytewise(dst, s, func(dst []byte, c byte) []byte {
		return utf8.AppendRune(dst, rune(c))
	})
}

// appendURI appends a request target as a JSON string: as it is if it is UTF-8,
// else with every byte from 0x80 on percent-encoded.
func appendURI(dst, s []byte) []byte {
	if utf8.Valid(s) {
		return appendString(dst, s)
	}
	return appendBytewise(dst, s, func(dst []byte, c byte) []byte {
		const hex = "0123456789ABCDEF"
		return append(dst, '%', hex[c>>4], hex[c&15])
	})
}

// appendBytewise appends s as a JSON string, with each byte from 0x80 on as
// beyondASCII appends it.
func appendBytewise(dst, s []byte, beyondASCII func(dst []byte, c byte) []byte) []byte {
	dst = append(dst, '"')
	for len(s) > 0 {
		n := asciiPrefix(s)
		dst = appendEscaped(dst, s[:n])
		for s = s[n:]; len(s) > 0 && s[0] >= utf8.RuneSelf; s = s[1:] {
			dst = beyondASCII(dst, s[0])
		}
	}
	return append(dst, '"')
}

// latin1ToUTF8 appends s, read as ISO-8859-1, as UTF-8.
func latin1ToUTF8(dst, s []byte) []byte {
	for _, c := range s {
		dst = utf8.AppendRune(dst, rune(c))
	}
	return dst
}

// appendLossy appends s as a JSON string with one U+FFFD for each byte that is
// no part of valid UTF-8.
func appendLossy(dst, s []byte) []byte {
	dst = append(dst, '"')
	for len(s) > 0 {
		n := utf8Prefix(s)
		dst = appendEscaped(dst, s[:n])
		if s = s[n:]; len(s) > 0 {
			dst = append(dst, replacement...)
			s = s[1:]
		}
	}
	return append(dst, '"')
}

// replaceInvalid appends s with one U+FFFD for each byte that is no part of
// valid UTF-8.
func replaceInvalid(dst, s []byte) []byte {
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		dst = utf8.AppendRune(dst, r)
		s = s[n:]
	}
	return dst
}

// utf8Prefix returns the length of the longest prefix of s that is valid UTF-8.
func utf8Prefix(s []byte) int {
	if utf8.Valid(s) {
		return len(s)
	}
	for i := 0; ; { // there is an end to it before that of s
		if s[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
}

func isASCII(s []byte) bool {
	for ; len(s) >= 8; s = s[8:] {
		if binary.LittleEndian.Uint64(s)&tops != 0 {
			return false
		}
	}
	return asciiPrefix(s) == len(s)
}

func asciiPrefix(s []byte) int {
	for i, c := range s {
		if c >= utf8.RuneSelf {
			return i
		}
	}
	return len(s)
}
