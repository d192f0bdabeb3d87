package record

import (
	"sync"
	"time"
	"unsafe"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/request"
)

// scratch is memory that Append needs until it returns.
type scratch struct {
	draft   Draft
	time    time.Time // of the records
	message []byte    // for Transforms
	value   []byte
	encoded []byte // by a Serializer
	text    arena  // of headers that are not in the request as they are
	element arena  // of a key, and of the attributes of an event

	topics   []string
	name     []byte // of a topic
	headers  []Header
	from     []int32 // which header of the request each of these was
	elements []span
	split    request.Request // that an element is the body of
	fields   []request.Header
	event    event
}

// span is a part of a body.
type span struct{ from, to int }

// Larger buffers, in bytes, and lists of more headers are not kept for another request.
const (
	keepScratch = 64 << 10
	keepHeaders = 512
)

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) free() {
	s.draft = Draft{}
	if cap(s.value) > keepScratch {
		s.value = nil
	}
	scratches.Put(s)
}

// freeAll is free of a scratch that more than the draft and the value were used of.
func (s *scratch) freeAll() {
	for _, b := range []*[]byte{&s.message, &s.encoded, &s.text.buf, &s.element.buf, &s.name} {
		if *b = (*b)[:0]; cap(*b) > keepScratch {
			*b = nil
		}
	}
	clear(s.headers[:cap(s.headers)])
	clear(s.fields[:cap(s.fields)])
	s.headers, s.fields, s.elements = s.headers[:0], s.fields[:0], s.elements[:0]
	if cap(s.headers)+cap(s.fields) > keepHeaders {
		s.headers, s.fields = nil, nil
	}
	if cap(s.elements) > keepScratch/int(unsafe.Sizeof(span{})) {
		s.elements = nil
	}
	s.split = request.Request{}
	s.event.reset()
	s.free()
}

// arena is memory for texts that follow one another. They stay good if it moves.
type arena struct{ buf []byte }

// start returns where to append a text, which keep then keeps.
func (a *arena) start() []byte { return a.buf[len(a.buf):] }

func (a *arena) keep(text []byte) {
	n := len(a.buf)
	if len(text) == 0 {
		return
	}
	if n < cap(a.buf) && &a.buf[:n+1][n] == &text[0] {
		a.buf = a.buf[:n+len(text)]
	} else {
		a.buf = text
	}
}

// join returns x and y with a comma between.
func (a *arena) join(x, y []byte) []byte {
	if n := len(a.buf); 0 < len(x) && len(x) <= n && &a.buf[n-1] == &x[len(x)-1] {
		a.buf = append(append(a.buf, ','), y...) // x was joined before
		return a.buf[n-len(x):]
	}
	text := append(append(append(a.start(), x...), ','), y...)
	a.keep(text)
	return text
}

// pack gives the draft its value, and memory of its own: the value, unless it is owned, the
// key and the values of headers lie in one allocation, the headers in another.
func (b *Builder) pack(s *scratch, d *Draft, value []byte, owned bool, m Memory) error {
	n := len(d.Key)
	names := 0
	for i := range d.Headers {
		n += len(d.Headers[i].Value)
		names += len(d.Headers[i].Key)
	}
	if n+names+len(value) > b.o.MaxValue {
		return request.ErrTooLarge
	}
	if !owned {
		n += len(value)
	}
	size := n + len(d.Headers)*int(unsafe.Sizeof(Header{}))
	if (size > large || len(s.elements) > 0) && !m.Reserve(int64(size)) {
		return memory.ErrFull
	}
	block := make([]byte, 0, n)
	own := func(text []byte) []byte {
		if text == nil {
			return nil
		}
		from := len(block)
		block = append(block, text...)
		return block[from:len(block):len(block)]
	}
	d.Value = value
	if !owned {
		d.Value = own(value)
	}
	d.Key = own(d.Key)
	if len(d.Headers) == 0 {
		d.Headers = nil
		return nil
	}
	drafted := d.Headers
	d.Headers = make([]Header, len(drafted))
	for i, h := range drafted {
		d.Headers[i] = Header{h.Key, own(h.Value)}
	}
	return nil
}
