package jsonmsg

import (
	"bytes"

	"kafka-upstream/internal/request"
)

// kind is what the content of a body is taken for.
type kind uint8

const (
	binaryBody kind = iota // all that is not one of the others
	textBody
	formBody
	jsonBody
	multipartBody
)

var mediaTypes = [...]struct {
	name string
	kind kind
}{
	{"application/json", jsonBody},
	{"application/x-www-form-urlencoded", formBody},
	{"multipart/form-data", multipartBody},
	{"text/plain", textBody},
	{"text/html", textBody},
	{"application/xml", textBody},
	{"text/xml", textBody},
	{"application/soap+xml", textBody},
}

// bodyKind reads the first Content-Type, and every Content-Encoding: a coded
// body does not hold the bytes of its content type.
func bodyKind(headers []request.Header) kind {
	var contentType []byte
	seen := false
	for i := range headers {
		switch string(headers[i].Name) {
		case "content-type":
			if !seen {
				contentType, seen = headers[i].Value, true
			}
		case "content-encoding":
			if isCoded(headers[i].Value) {
				return binaryBody
			}
		}
	}
	mediaType, _, _ := bytes.Cut(contentType, semicolon)
	mediaType = trimSpace(mediaType)
	for i := range mediaTypes {
		if equalFold(mediaType, mediaTypes[i].name) {
			return mediaTypes[i].kind
		}
	}
	return binaryBody
}

// isCoded tells whether a list of content codings has one that is not identity.
func isCoded(list []byte) bool {
	for len(list) > 0 {
		var coding []byte
		coding, list, _ = bytes.Cut(list, comma)
		coding = trimSpace(coding)
		if len(coding) > 0 && !equalFold(coding, "identity") {
			return true
		}
	}
	return false
}

// parameter returns the value of the parameter with that lower-case name from a
// header like `form-data; name="a b"; filename=x`; the first one counts.
//
// It takes what clients send and [mime.ParseMediaType] refuses, because a form
// that Kong took must not be lost for it: values without quotes that need them
// (boundary=a/b, filename=über uns.txt), and faults in parameters beside the
// wanted one. In quotes a backslash stands for the quote or backslash after it
// and otherwise for itself, as in a file's path; "%22" stays what it is. The
// extended form name*= is not read: RFC 7578, section 4.2, forbids it in forms.
func parameter(header []byte, name string) (value []byte, ok bool) {
	_, rest, more := bytes.Cut(header, semicolon)
	for more {
		end := bytes.IndexAny(rest, ";=")
		if end < 0 {
			return nil, false
		}
		found := equalFold(trimSpace(rest[:end]), name)
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

// equalFold compares without ASCII case, and only ASCII: bytes.EqualFold also
// takes "ſ" for "s".
func equalFold(s []byte, lower string) bool {
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
