package jsonmsg

import (
	"strings"

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
