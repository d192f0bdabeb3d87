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

// addContent adds headers to the draft that say what the body of r is.
func (s *scratch) addContent(d *Draft, r *request.Request) {
	mediaType, coded := media.Of(r.Headers)
	d.Headers = appendContent(d.Headers, r, mediaType, coded)
	s.headers = d.Headers[:len(s.headers)] // it may have grown
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
		if w, ok := m.(blocker); ok {
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

// blocker is a [Memory] that is to be told before anything that may take long.
type blocker interface{ WillBlock() }

// slow is the size of a value above which its serialization may take long: see [Draft.Block].
const slow = 8 << 10

// serialized returns the value in the form of its schema, and gives the draft its key in that
// of its own. Nil stays nil.
func (b *Builder) serialized(s *scratch, d *Draft, value []byte, owned bool, m Memory) ([]byte, bool, error) {
	if z := b.o.KeySerializer; z != nil && d.Key != nil {
		key, err := z.Append(s.element.start(), d.Key)
		if err != nil {
			return nil, false, err
		}
		s.element.keep(key)
		d.Key = key[:len(key):len(key)]
	}
	z := b.o.ValueSerializer
	if z == nil || value == nil {
		return value, owned, nil
	}
	if len(value) > slow {
		if w, ok := m.(blocker); ok {
			w.WillBlock()
		}
	}
	if len(value) > large {
		made, err := appendLarge(len(value)+headroom, m, func(dst []byte) ([]byte, error) { return z.Append(dst, value) })
		return made, true, err
	}
	made, err := z.Append(s.encoded[:0], value)
	if err != nil {
		return nil, false, err
	}
	s.encoded = made
	return made, false, nil
}

// headroom is how many bytes a serialized value mostly has more than before.
const headroom = 64

// largeValue returns a large value. It is made in memory of the right size, which is
// reserved first.
func (b *Builder) largeValue(d *Draft, m Memory) ([]byte, error) {
	least, most := b.encoder.Size(d)
	if least > b.o.MaxValue && b.o.ValueSerializer == nil { // which makes it smaller, mostly
		return nil, request.ErrTooLarge
	}
	return appendLarge(most, m, func(dst []byte) ([]byte, error) { return b.encoder.Append(dst, d) })
}

// appendLarge returns a value that appendTo makes, and that mostly has up to most bytes, in
// memory of its size.
func appendLarge(most int, m Memory, appendTo func(dst []byte) ([]byte, error)) ([]byte, error) {
	if !m.Reserve(int64(most)) {
		return nil, memory.ErrFull
	}
	value, err := appendTo(make([]byte, 0, most))
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
