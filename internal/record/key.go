package record

import (
	"fmt"

	"kafka-upstream/internal/request"
)

var errKey error = &BadRequest{Reason: "the request lacks a part of its record key"}

// key says what the keys of records are made of.
type key struct {
	parts     []part
	separator string
	required  bool
}

func newKey(o *KeyOptions) (key, error) {
	k := key{separator: o.Separator, required: o.Required}
	for _, kp := range o.Parts {
		p, err := newPart(kp.From, kp.Name)
		if err != nil {
			return k, fmt.Errorf("record_key: %w", err)
		}
		k.parts = append(k.parts, p)
	}
	return k, nil
}

func (k *key) needs() (f request.Fields) {
	for i := range k.parts {
		f = f.Merge(k.parts[i].needs())
	}
	return f
}

// of returns the key of a record of r, in the memory of s. It is nil if there is none, and
// may be empty.
func (k *key) of(s *scratch, r *request.Request, m Memory) ([]byte, error) {
	if len(k.parts) == 0 {
		return nil, nil
	}
	text := s.element.start()
	for i := range k.parts {
		if i > 0 {
			text = append(text, k.separator...)
		}
		var ok bool
		var err error
		if text, ok, err = k.parts[i].append(text, r, m); err != nil {
			return nil, err
		}
		if !ok {
			if k.required {
				return nil, errKey
			}
			return nil, nil
		}
	}
	if text == nil {
		text = []byte{}
	}
	s.element.keep(text)
	return text[:len(text):len(text)], nil
}
