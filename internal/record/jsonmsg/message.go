package jsonmsg

import (
	"bytes"
	"unicode/utf8"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/media"
	"kafka-upstream/internal/request"
)

// Made once: refusing costs a hostile client's request no memory of ours.
var (
	errJSON             = record.ErrJSON
	errJSONText         = record.ErrJSONText
	errJSONDeep         = record.ErrJSONDeep
	errNoBoundary error = &record.BadRequest{Reason: "multipart body without boundary"}
	errUnclosed   error = &record.BadRequest{Reason: "multipart body without closing boundary"}
)

// Append appends the message made of r to dst and returns the longer slice. It
// keeps nothing of r, and allocates only to make dst longer in all but rare
// cases. All the capacity of dst is its to write to, beyond the message too, so
// r must lie elsewhere. It may be called by any number of goroutines at once.
//
// The error is a [*record.BadRequest] if the body is not what its content type says;
// dst then comes back as it was.
func Append(dst []byte, r *request.Request, parts request.Fields) ([]byte, error) {
	return appendMessage(dst, r, &Encoder{fields: parts})
}

func appendMessage(dst []byte, r *request.Request, e *Encoder) ([]byte, error) {
	parts := &e.fields
	start := len(dst)
	dst = append(dst, '{')
	if parts.Method {
		dst = append(dst, `"method":`...)
		dst = appendLatin1(dst, r.Method)
		dst = append(dst, ',')
	}
	if parts.Headers {
		dst = append(dst, `"headers":`...)
		dst = e.appendHeaders(dst, r.Headers)
		dst = append(dst, ',')
	}
	if parts.URI {
		dst = append(dst, `"uri":`...)
		dst = appendURI(dst, r.URI)
		dst = append(dst, `,"uri_args":`...)
		dst = appendArguments(dst, r.Query)
		dst = append(dst, ',')
	}
	if parts.Body {
		var err error
		if dst, err = appendBody(dst, r); err != nil {
			return dst[:start], err
		}
		dst = append(dst, ',')
	}
	if last := len(dst) - 1; dst[last] == ',' {
		dst[last] = '}'
		return dst, nil
	}
	return append(dst, '}'), nil
}

// appendHeaders relies on the values of one name standing together. Only names
// with bytes beyond ASCII can differ and yet be one name in the message; nginx
// drops such headers, so the slower way that looks each name up is rarely taken.
func appendHeaders(dst []byte, headers []request.Header) []byte {
	start := len(dst)
	dst = append(dst, '{')
	for i := 0; i < len(headers); {
		name := headers[i].Name
		if !isASCII(name) {
			return appendHeadersByName(dst[:start], headers)
		}
		n := 1
		for i+n < len(headers) && bytes.Equal(headers[i+n].Name, name) {
			n++
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, name)
		dst = append(dst, ':')
		if n == 1 {
			dst = appendLatin1(dst, headers[i].Value)
		} else {
			for k := range n {
				dst = append(dst, "[,"[min(k, 1)])
				dst = appendLatin1(dst, headers[i+k].Value)
			}
			dst = append(dst, ']')
		}
		i += n
	}
	return append(dst, '}')
}

func appendHeadersByName(dst []byte, headers []request.Header) []byte {
	o := newObject()
	defer o.free()
	for _, h := range headers {
		name := h.Name
		if !utf8.Valid(name) {
			name = o.keep(func(text []byte) []byte { return latin1ToUTF8(text, name) })
		}
		o.add(name, h.Value, latin1Value)
	}
	return o.appendTo(dst)
}

// appendBody appends the fields body, body_args and body_base64 as the table of
// content types wants them.
func appendBody(dst []byte, r *request.Request) ([]byte, error) {
	kind := media.KindOf(r.Headers)
	text := kind != media.Binary && utf8.Valid(r.Body)
	if kind == media.JSON {
		if !text {
			return dst, errJSONText
		}
	}

	dst = append(dst, `"body":`...)
	if text {
		dst = appendString(dst, r.Body)
	} else {
		dst = append(dst, '"')
		dst = appendBase64(dst, r.Body)
		dst = append(dst, '"')
	}

	switch kind {
	case media.Form:
		dst = append(dst, `,"body_args":`...)
		dst = appendArguments(dst, r.Body)
	case media.Multipart:
		var err error
		dst = append(dst, `,"body_args":`...)
		if dst, err = appendMultipart(dst, r.Body, r.Header("content-type")); err != nil {
			return dst, err
		}
	case media.JSON:
		if len(r.Body) == 0 {
			dst = append(dst, `,"body_args":{}`...)
			break
		}
		bodyOnly := len(dst)
		dst = append(dst, `,"body_args":`...)
		value := len(dst)
		var err error
		if dst, err = appendCompactJSON(dst, r.Body); err != nil {
			return dst, err
		}
		if dst[value] != '{' && dst[value] != '[' {
			dst = dst[:bodyOnly]
		}
	default:
		dst = append(dst, `,"body_args":{}`...)
	}
	if !text {
		dst = append(dst, `,"body_base64":true`...)
	}
	return dst, nil
}
