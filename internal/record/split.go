package record

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
	"unsafe"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/record/media"
	"kafka-upstream/internal/request"
)

var (
	errNoElements error = &BadRequest{Reason: "the body has no records"}
	errNoArray    error = &BadRequest{Reason: "the body is not a json array"}
	errSplitCoded error = &BadRequest{Reason: "a body with a content encoding cannot be split"}
)

// appendElements appends the records of each element of the body of r. An element is the
// body of a request that is JSON, and otherwise like r. A request that is an event is one
// element.
func (b *Builder) appendElements(dst []Record, s *scratch, r *request.Request, m Memory) ([]Record, error) {
	elementType := jsonType
	if b.events != nil {
		mode, err := modeOf(r)
		switch {
		case err != nil:
			return dst, err
		case mode == batchedEvents && b.o.Split == SplitArray:
			elementType = eventType
		case mode != noEvent:
			b.addHeaders(s, r)
			return b.appendOne(dst, s, r, m)
		}
	}
	if _, coded := media.Of(r.Headers); coded {
		return dst, errSplitCoded
	}
	if err := b.split(s, r.Body); err != nil {
		return dst, err
	}
	if size := len(s.elements) * int(unsafe.Sizeof(Record{})); size > large && !m.Reserve(int64(size)) {
		return dst, memory.ErrFull
	}
	dst = slices.Grow(dst, len(s.elements))
	one := &s.split
	*one = *r
	one.Headers = s.headersOfElement(r, elementType)
	b.addHeaders(s, one)
	for i, e := range s.elements {
		one.Body = r.Body[e.from:e.to:e.to]
		var err error
		dst, err = b.appendOne(dst, s, one, m)
		if bad, ok := errors.AsType[*BadRequest](err); ok {
			return dst, &BadRequest{Reason: fmt.Sprintf("record %d: %s", i+1, bad.Reason), Schema: bad.Schema}
		}
		if err != nil {
			return dst, err
		}
	}
	return dst, nil
}

var (
	jsonType  = []byte("application/json")
	eventType = []byte("application/cloudevents+json")
)

// headersOfElement returns the headers of r, with that content type and no content encoding.
func (s *scratch) headersOfElement(r *request.Request, mediaType []byte) []request.Header {
	s.fields = s.fields[:0]
	typed := false
	for _, h := range r.Headers {
		switch string(h.Name) {
		case contentEncoding:
			continue
		case contentType:
			if typed {
				continue
			}
			typed = true
			h.Value = mediaType
		}
		s.fields = append(s.fields, h)
	}
	if !typed {
		s.fields = append(s.fields, request.Header{Name: []byte(contentType), Value: mediaType})
	}
	return s.fields
}

// split puts the elements of a body into s.elements.
func (b *Builder) split(s *scratch, body []byte) error {
	if !utf8.Valid(body) {
		return ErrJSONText
	}
	var err error
	if b.o.Split == SplitArray {
		s.elements, err = appendElementsOfArray(s.elements[:0], body, b.o.SplitLimit)
	} else {
		s.elements, err = appendLines(s.elements[:0], body, b.o.SplitLimit)
	}
	if err == nil && len(s.elements) == 0 {
		err = errNoElements
	}
	return err
}

// appendElementsOfArray appends the elements of a body that is an array.
func appendElementsOfArray(dst []span, body []byte, limit int) ([]span, error) {
	i := skipSpace(body, 0)
	if i >= len(body) {
		return dst, nil
	}
	if body[i] != '[' {
		if i = skipSpace(body, skipValue(body, i)); i == len(body) {
			return dst, errNoArray
		}
		return dst, jsonError(body, max(i, len(body)+1))
	}
	c := newCursor(body, i, MaxNesting)
	for {
		_, element, ok := c.next()
		if !ok {
			break
		}
		if len(dst) >= limit {
			return dst, ErrTooMany
		}
		dst = append(dst, span{c.i - len(element), c.i})
	}
	if end := skipSpace(body, c.i); end != len(body) {
		return dst, jsonError(body, max(end, len(body)+1))
	}
	return dst, nil
}

// appendLines appends the lines of a body that is NDJSON, without white space around their
// values. Blank lines do not count.
func appendLines(dst []span, body []byte, limit int) ([]span, error) {
	for number, from := 1, 0; from < len(body); number++ {
		end := len(body)
		if n := bytes.IndexByte(body[from:], '\n'); n >= 0 {
			end = from + n
		}
		line := body[:end]
		if i := skipSpace(line, from); i < end {
			if len(dst) >= limit {
				return dst, ErrTooMany
			}
			value := skipValue(line, i)
			if rest := skipSpace(line, value); rest != end {
				bad := jsonError(line, max(rest, end+1)).(*BadRequest)
				return dst, &BadRequest{Reason: fmt.Sprintf("line %d: %s", number, bad.Reason)}
			}
			dst = append(dst, span{i, value})
		}
		from = end + 1
	}
	return dst, nil
}
