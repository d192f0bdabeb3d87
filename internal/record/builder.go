package record

import (
	"sync"
	"time"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/request"
)

// Builder makes the records of the requests of one configuration. It is read-only once in
// use. Many goroutines use it at once.
type Builder struct {
	o          Options
	transforms []Transform // in their order
	encoder    Encoder
}

// NewBuilder returns a Builder that makes values by e, after the transforms, in their order.
// The error says which option cannot be used, and why.
func NewBuilder(o Options, e Encoder, transforms ...Transform) (*Builder, error) {
	return &Builder{o: o, encoder: e, transforms: transforms}, nil
}

// Needs returns what Append reads of a request.
func (b *Builder) Needs() request.Fields { return b.o.Forward }

// Topics returns all topics that a record can have.
func (b *Builder) Topics() []string { return []string{b.o.Topic} }

// Memory is the memory limit for the values of large requests.
type Memory interface {
	// Reserve takes n bytes of the limit, and reports false if fewer are free.
	Reserve(n int64) bool
}

// Append appends the records of r, which came at that time, to dst. Each value has memory of
// its own, of exactly its size, because it may wait in a buffer for long, with many others.
// The error is a [*BadRequest], a [*TopicError], [request.ErrTooLarge], [ErrTooMany],
// [memory.ErrFull], or that of a Transform. No records and no error: a Transform skipped
// the request.
func (b *Builder) Append(dst []Record, r *request.Request, at time.Time, m Memory) ([]Record, error) {
	s := scratches.Get().(*scratch)
	defer s.free()
	d := &s.draft
	*d = Draft{Record: Record{Topic: b.o.Topic, Time: at}, Request: r}
	var err error
	if len(b.transforms) > 0 {
		if d.Message, err = b.value(s, m); err != nil {
			return dst, err
		}
		for _, transform := range b.transforms {
			if err = transform(d); err != nil {
				return dst, err
			}
		}
	}
	if d.Value, err = b.value(s, m); err != nil {
		return dst, err
	}
	return append(dst, d.Record), nil
}

// scratch is memory that Append needs until it returns.
type scratch struct {
	draft Draft
	value []byte
}

const keepScratch = 64 << 10 // a larger buffer is not kept for another request

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) free() {
	s.draft = Draft{}
	if cap(s.value) > keepScratch {
		s.value = nil
	}
	scratches.Put(s)
}

// large is the size of a body or a message above which memory is reserved for the value
// before it is made. A smaller value is made in a scratch buffer, which is too small to count.
const large = 32 << 10

// value returns the value of the draft.
func (b *Builder) value(s *scratch, m Memory) ([]byte, error) {
	if max(len(s.draft.Request.Body), len(s.draft.Message)) > large {
		return b.largeValue(&s.draft, m)
	}
	var err error
	s.value, err = b.encoder.Append(s.value[:0], &s.draft)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), s.value...), nil
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
		value = append([]byte(nil), value...)
	}
	return value, nil
}
