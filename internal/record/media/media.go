// Package media reads what the headers of a request say about its body, and the parts of
// bodies that are forms. It copies and keeps nothing of a request.
package media

import (
	"bytes"

	"kafka-upstream/internal/request"
)

// Kind is what the content of a body is taken for.
type Kind uint8

// The kinds of bodies.
const (
	Binary Kind = iota // all that is not one of the others
	Text
	Form // application/x-www-form-urlencoded
	JSON // application/json, and no other type of JSON
	Multipart
)

var kinds = [...]struct {
	name string
	kind Kind
}{
	{"application/json", JSON},
	{"application/x-www-form-urlencoded", Form},
	{"multipart/form-data", Multipart},
	{"text/plain", Text},
	{"text/html", Text},
	{"application/xml", Text},
	{"text/xml", Text},
	{"application/soap+xml", Text},
}

// KindOf returns the kind of a request's body, by its headers. A body with a content coding
// is Binary.
func KindOf(headers []request.Header) Kind {
	contentType, coded := Of(headers)
	if coded {
		return Binary
	}
	t := Type(contentType)
	for i := range kinds {
		if EqualFold(t, kinds[i].name) {
			return kinds[i].kind
		}
	}
	return Binary
}

// Of returns the first Content-Type, nil if there is none, and whether a Content-Encoding
// says that the body is coded: it does not hold the bytes of its content type then.
func Of(headers []request.Header) (contentType []byte, coded bool) {
	seen := false
	for i := range headers {
		switch string(headers[i].Name) {
		case "content-type":
			if !seen {
				contentType, seen = headers[i].Value, true
			}
		case "content-encoding":
			coded = coded || isCoded(headers[i].Value)
		}
	}
	return contentType, coded
}

// Type returns the media type of a Content-Type, without its parameters.
func Type(contentType []byte) []byte {
	t, _, _ := bytes.Cut(contentType, semicolon)
	return trimSpace(t)
}

// IsJSON reports whether a media type is JSON: whether its subtype is json, or has the suffix
// +json (RFC 6839).
func IsJSON(mediaType []byte) bool {
	const suffix = "+json"
	_, subtype, _ := bytes.Cut(mediaType, slash)
	n := len(subtype) - len(suffix)
	return EqualFold(subtype, "json") || n > 0 && EqualFold(subtype[n:], suffix)
}

// isCoded tells whether a list of content codings has one that is not identity.
func isCoded(list []byte) bool {
	for len(list) > 0 {
		var coding []byte
		coding, list, _ = bytes.Cut(list, comma)
		coding = trimSpace(coding)
		if len(coding) > 0 && !EqualFold(coding, "identity") {
			return true
		}
	}
	return false
}

// Parameter returns the value of the parameter with that lower-case name from a
// header like `form-data; name="a b"; filename=x`; the first one counts.
//
// It takes what clients send and [mime.ParseMediaType] refuses, because a form
// that Kong took must not be lost for it: values without quotes that need them
// (boundary=a/b, filename=über uns.txt), and faults in parameters beside the
// wanted one. In quotes a backslash stands for the quote or backslash after it
// and otherwise for itself, as in a file's path; "%22" stays what it is. The
// extended form name*= is not read: RFC 7578, section 4.2, forbids it in forms.
func Parameter(header []byte, name string) (value []byte, ok bool) {
	_, rest, more := bytes.Cut(header, semicolon)
	for more {
		end := bytes.IndexAny(rest, ";=")
		if end < 0 {
			return nil, false
		}
		found := EqualFold(trimSpace(rest[:end]), name)
		if rest[end] == ';' {
			rest = rest[end+1:]
			continue
		}
		rest = bytes.TrimLeft(rest[end+1:], " \t")
		if len(rest) > 0 && rest[0] == '"' {
			value, rest = unquote(rest[1:])
			_, rest, more = bytes.Cut(rest, semicolon)
		} else {
			value, rest, more = bytes.Cut(rest, semicolon)
			value = trimSpace(value)
		}
		if found {
			return value, true
		}
	}
	return nil, false
}

// unquote reads up to the closing quote, or to the end where there is none.
func unquote(s []byte) (value, rest []byte) {
	end := bytes.IndexAny(s, `"\`)
	if end < 0 {
		return s, nil
	}
	if s[end] == '"' {
		return s[:end], s[end+1:]
	}
	value = append(value, s[:end]...) // escapes are rare: only then is it copied
	for i := end; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return value, s[i+1:]
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			value = append(value, s[i])
		default:
			value = append(value, c)
		}
	}
	return value, nil
}

var (
	semicolon = []byte{';'}
	slash     = []byte{'/'}
	comma     = []byte{','}
)

// trimSpace trims what HTTP calls optional white space.
func trimSpace(s []byte) []byte {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// EqualFold compares without ASCII case, and only ASCII: bytes.EqualFold also
// takes "ſ" for "s".
func EqualFold(s []byte, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i, c := range s {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
