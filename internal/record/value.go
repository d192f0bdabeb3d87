package record

import (
	"slices"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/record/media"
	"kafka-upstream/internal/request"
)

const (
	contentType     = "content-type"
	contentEncoding = "content-encoding"
)

// large is the size of a body or a message above which memory is reserved for the value
// before it is made. A smaller value is made in a scratch buffer, which is too small to count.
const large = 32 << 10

// bodyValue returns the body of r, and adds headers to the draft that say what it is.
func (s *scratch) bodyValue(d *Draft, r *request.Request) []byte {
	mediaType, coded := media.Of(r.Headers)
	d.Headers = appendContent(d.Headers, r, mediaType, coded)
	s.headers = d.Headers[:len(s.headers)] // it may have grown
	return r.Body
}

// appendContent appends headers that say what a body is.
func appendContent(headers []Header, r *request.Request, mediaType []byte, coded bool) []Header {
	if mediaType != nil {
		headers = append(headers, Header{contentType, mediaType})
	}
	for i := 0; coded && i < len(r.Headers); i++ {
		if string(r.Headers[i].Name) == contentEncoding {
			headers = append(headers, Header{contentEncoding, r.Headers[i].Value})
		}
	}
	return headers
}

// transformed returns the value of the draft's message, after the Transforms.
func (b *Builder) transformed(s *scratch, d *Draft, m Memory) (value []byte, owned bool, err error) {
	if len(b.transforms) > 0 {
		if d.Message, err = b.message(&s.message, d, m); err != nil {
			return nil, false, err
		}
		if w, ok := m.(interface{ WillBlock() }); ok {
			d.willBlock = w.WillBlock
		}
		for _, transform := range b.transforms {
			if err = transform(d); err != nil || d.Skip {
				return nil, false, err
			}
		}
		if d.Final {
			return d.Message, false, nil
		}
	}
	return b.encode(&s.value, d, m)
}

// encode returns the value of the draft. It is owned if it has memory of its own; otherwise
// it lies in the buffer.
func (b *Builder) encode(buffer *[]byte, d *Draft, m Memory) (value []byte, owned bool, err error) {
	if max(len(d.Request.Body), len(d.Message)) > large {
		value, err = b.largeValue(d, m)
		return value, true, err
	}
	*buffer, err = b.encoder.Append((*buffer)[:0], d)
	return *buffer, false, err
}

// message returns the value of the draft in memory of its own.
func (b *Builder) message(buffer *[]byte, d *Draft, m Memory) ([]byte, error) {
	value, owned, err := b.encode(buffer, d, m)
	if err != nil || owned {
		return value, err
	}
	return append([]byte(nil), value...), nil
}

// largeValue returns a large value. It is made in memory of the right size, which is
// reserved first.
func (b *Builder) largeValue(d *Draft, m Memory) ([]byte, error) {
	least, most := b.encoder.Size(d)
	if least > b.o.MaxValue {
		return nil, request.ErrTooLarge
	}
	if !m.Reserve(int64(most)) {
		return nil, memory.ErrFull
	}
	value, err := b.encoder.Append(make([]byte, 0, most), d)
	if err != nil {
		return nil, err
	}
	if more := cap(value) - most; more > 0 && !m.Reserve(int64(more)) {
		return nil, memory.ErrFull
	}
	if spare := cap(value) - len(value); spare > len(value)/8 {
		if !m.Reserve(int64(len(value))) {
			return nil, memory.ErrFull
		}
		value = slices.Clip(append([]byte(nil), value...))
	}
	return value, nil
}
