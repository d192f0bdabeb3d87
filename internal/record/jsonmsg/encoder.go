package jsonmsg

import (
	"strings"
	"sync"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

// Encoder makes the message the value.
type Encoder struct {
	fields   request.Fields
	excluded map[string]bool // headers, by their lower-case names; nil: none
}

var _ record.Encoder = Encoder{}

// NewEncoder returns an Encoder of messages with these fields, and with all headers but
// those excluded, whose names are not case-sensitive.
func NewEncoder(fields request.Fields, excluded []string) Encoder {
	e := Encoder{fields: fields}
	if len(excluded) > 0 {
		e.excluded = make(map[string]bool)
	}
	for _, name := range excluded {
		e.excluded[strings.ToLower(name)] = true
	}
	return e
}

// Append implements record.Encoder.
func (e Encoder) Append(dst []byte, d *record.Draft) ([]byte, error) {
	if d.Message != nil {
		return append(dst, d.Message...), nil
	}
	return appendMessage(dst, d.Request, &e)
}

// Size implements record.Encoder.
func (e Encoder) Size(d *record.Draft) (least, most int) {
	if d.Message != nil {
		return len(d.Message), len(d.Message)
	}
	return Size(d.Request, e.fields)
}

// appendHeaders appends the headers that are not excluded.
func (e *Encoder) appendHeaders(dst []byte, headers []request.Header) []byte {
	if e.excluded == nil {
		return appendHeaders(dst, headers)
	}
	kept := headerLists.Get().(*[]request.Header)
	for _, h := range headers {
		if !e.excluded[string(h.Name)] {
			*kept = append(*kept, h)
		}
	}
	dst = appendHeaders(dst, *kept)
	clear(*kept) // they hold bytes of the request
	*kept = (*kept)[:0]
	headerLists.Put(kept)
	return dst
}

// headerLists are for at most as many headers as a request has, which Kong bounds to 1000.
var headerLists = sync.Pool{New: func() any { return new([]request.Header) }}
