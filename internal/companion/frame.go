package companion

import (
	"encoding/binary"
	"errors"
	"fmt"

	"kafka-upstream/internal/memory"
)

// version is that of the frames. A change that the other side cannot read raises it.
const version = 1

// A frame is a header and a payload. The header: the payload's length (uint32), the kind
// (uint8), flags (uint8), and two bytes that are 0. All numbers are little-endian.
const headerSize = 8

// kind says what a frame is.
type kind uint8

const (
	// From the worker.
	kindHello       kind = 1 // the first one
	kindConfig      kind = 2
	kindRequest     kind = 3
	kindForget      kind = 4 // configurations that Kong no longer has
	kindCertificate kind = 5

	// To the worker.
	kindWelcome kind = 0x81 // the first one
	kindNeeds   kind = 0x82 // answers a kindConfig
	kindAnswers kind = 0x83
	kindLeave   kind = 0x84 // the server shuts down: no further request, please
)

// Flags of a kindRequest: what its body is. Without one, it is the content.
const (
	flagBodyFile     = 1 << 0 // the path of a file
	flagNoBody       = 1 << 1 // the reason why it cannot be read
	flagBodyTooLarge = 1 << 2 // left out: it is above the limit
)

// Limits of the lengths of payloads, in bytes.
const (
	maxHello       = 256
	maxConfig      = 4 << 20 // a configuration is a few KiB
	maxForget      = 1 << 20
	maxCertificate = 1 << 20
	// maxParts is the most of a request beside its body. The largest are headers, which nginx
	// bounds to some 100 KiB.
	maxParts = 16 << 20
)

const (
	bufferSize = 32 << 10 // what a connection starts with: a few requests in one read
	// bufferFree is how large a connection's buffer may be without being counted against the
	// memory limit.
	bufferFree = 64 << 10
)

// header is the header of a frame.
type header struct {
	size  int
	kind  kind
	flags uint8
}

func appendHeader(b []byte, h header) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(h.size)), byte(h.kind), h.flags, 0, 0)
}

func parseHeader(b []byte) header {
	return header{int(binary.LittleEndian.Uint32(b)), kind(b[4]), b[5]}
}

// errFrame is the error of a frame that the handler never sends.
var errFrame = errors.New("not a frame of the companion handler")

// buffer holds what was received and not taken. One goroutine uses it at a time.
type buffer struct {
	b      []byte // b[at:] is not taken yet
	at     int
	memory *memory.Limit
	taken  int64 // from memory
}

func newBuffer(m *memory.Limit) *buffer { return &buffer{b: make([]byte, 0, bufferSize), memory: m} }

// pending returns what was received and not taken yet.
func (b *buffer) pending() []byte { return b.b[b.at:] }

// take takes n bytes, which stay valid until next or split.
func (b *buffer) take(n int) []byte {
	p := b.b[b.at : b.at+n : b.at+n]
	b.at += n
	return p
}

// room returns the space to read into. It is not empty after next and after grow. add must be
// called with the number of bytes read.
func (b *buffer) room() []byte { return b.b[len(b.b):cap(b.b)] }

func (b *buffer) add(n int) { b.b = b.b[:len(b.b)+n] }

// next forgets what was taken, moves the rest to the front, and gives back memory that the
// rest does not need.
func (b *buffer) next() {
	rest := b.pending()
	if b.taken > 0 && len(rest) < bufferSize {
		fresh := append(make([]byte, 0, bufferSize), rest...)
		b.free()
		b.b = fresh
		return
	}
	if b.at > 0 {
		b.b, b.at = b.b[:copy(b.b, rest)], 0
	}
}

// grow makes room for a frame of n bytes, with its header, of which a part was received. The
// buffer grows with what was received, not with what was announced, and becomes at most four
// times as large. The error is [memory.ErrFull].
func (b *buffer) grow(n int) error {
	b.next()
	if n <= cap(b.b) || len(b.b) < cap(b.b) {
		return nil
	}
	size := n
	for size/4 > len(b.b) {
		size /= 4
	}
	more := int64(size) - bufferFree - b.taken
	if more > 0 && !b.memory.Take(more) {
		return memory.ErrFull
	}
	b.taken += max(more, 0)
	b.b = append(make([]byte, 0, size), b.b...)
	return nil
}

// split returns another buffer with what is not taken yet. What was taken stays with b.
func (b *buffer) split() *buffer {
	rest := newBuffer(b.memory)
	if p := b.pending(); len(p) > cap(rest.b) { // read together with a frame that is as large
		rest.b = make([]byte, 0, len(p))
	}
	rest.b = append(rest.b, b.pending()...)
	b.b = b.b[:b.at]
	return rest
}

// free gives the memory back. The buffer must not be used any more.
func (b *buffer) free() {
	b.memory.Return(b.taken)
	*b = buffer{memory: b.memory}
}

// reader takes values off a payload. After an error it returns zero values.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) bytes(n int) []byte {
	if uint(n) > uint(len(r.b)) {
		r.failed, r.b = true, nil
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) uint8() uint8 {
	if p := r.bytes(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if p := r.bytes(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if p := r.bytes(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

// text reads a length (uint32) and that many bytes.
func (r *reader) text() []byte { return r.bytes(int(r.uint32())) }

// err returns an error unless exactly the payload was read.
func (r *reader) err(what string) error {
	if r.failed || len(r.b) > 0 {
		return fmt.Errorf("%w: the %s is not as long as its parts", errFrame, what)
	}
	return nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}
