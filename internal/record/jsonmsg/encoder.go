package jsonmsg

import (
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

// Encoder makes the message the value, with these fields.
type Encoder request.Fields

var _ record.Encoder = Encoder{}

// Append implements record.Encoder.
func (e Encoder) Append(dst []byte, d *record.Draft) ([]byte, error) {
	if d.Message != nil {
		return append(dst, d.Message...), nil
	}
	return Append(dst, d.Request, request.Fields(e))
}

// Size implements record.Encoder.
func (e Encoder) Size(d *record.Draft) (least, most int) {
	if d.Message != nil {
		return len(d.Message), len(d.Message)
	}
	return Size(d.Request, request.Fields(e))
}
