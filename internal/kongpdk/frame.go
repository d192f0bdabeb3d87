package kongpdk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"kafka-upstream/internal/memory"
)

// A frame is a little-endian uint32 and that many bytes.
const (
	frameHeader = 4

	// maxCommand bounds what Kong may command. A configuration is a few KiB.
	maxCommand = 4 << 20
	// maxReply bounds the reply to a call that states no limit of its own. The
	// largest are headers, which nginx bounds to some 100 KiB.
	maxReply = 16 << 20
	// maxFrame bounds what is read past and thrown away of a reply above its
	// limit. Nothing that Kong sends comes near it.
	maxFrame = 1 << 30

	bufferSize = 8 << 10 // what a connection starts with
	// bufferFree is how large a connection's buffer may be without being taken
	// from the memory limit, and the largest that is kept for another connection.
	// The replies to an ordinary request fit, so that those cost nothing here; the
	// number of connections bounds the sum (see bounds).
	bufferFree = 32 << 10
)

func appendFrame(b []byte, content ...[]byte) []byte {
	n := 0
	for _, c := range content {
		n += len(c)
	}
	b = appendFrameHeader(b, n)
	for _, c := range content {
		b = append(b, c...)
	}
	return b
}

// appendFrameHeader begins a frame of n bytes.
func appendFrameHeader(b []byte, n int) []byte { return binary.LittleEndian.AppendUint32(b, uint32(n)) }

// errTooLarge is the error of a frame above its limit. The frame is left
// unread.
type errTooLarge struct{ size, limit int }

func (e errTooLarge) Error() string {
	return fmt.Sprintf("a frame of %d bytes where at most %d are allowed", e.size, e.limit)
}

// reader reads frames. The frames read since the last call of next stay in its
// buffer, at the offsets where they were. What the buffer has above bufferFree is
// taken from the memory limit.
type reader struct {
	src    io.Reader
	buf    []byte // all that was read since next; buf[at:] is not taken yet
	at     int
	memory *memory.Limit
	taken  int64 // from memory
}

// span is a frame's place in the buffer.
type span struct{ from, to int }

// next forgets the frames that were taken, and moves what was read beyond them
// to the front. Memory that was taken for them goes back.
func (r *reader) next() {
	if r.at == 0 {
		return
	}
	beyond := r.buf[r.at:]
	if r.taken > 0 && len(beyond) <= bufferSize {
		buf := append(getBuffer(), beyond...)
		r.release()
		r.buf = buf
		return
	}
	n := copy(r.buf, beyond)
	r.buf, r.at = r.buf[:n], 0
}

// release gives back the buffer and what was taken for it from the memory limit.
func (r *reader) release() {
	putBuffer(r.buf)
	r.memory.Return(r.taken)
	r.buf, r.at, r.taken = nil, 0, 0
}

// whole reports whether a frame was received completely.
func (r *reader) whole() bool {
	have := len(r.buf) - r.at
	return have >= frameHeader && uint64(have-frameHeader) >= uint64(binary.LittleEndian.Uint32(r.buf[r.at:]))
}

// frame takes a frame of at most limit bytes. It returns io.EOF where the peer
// has closed the connection between two frames, and [memory.ErrFull] where there
// is no memory for the frame, of which a part may have been read then.
func (r *reader) frame(limit int) (span, error) {
	if err := r.fill(frameHeader); err != nil {
		return span{}, err
	}
	n := binary.LittleEndian.Uint32(r.buf[r.at:])
	if uint64(n) > uint64(limit) {
		return span{}, errTooLarge{int(n), limit}
	}
	if err := r.fill(frameHeader + int(n)); err != nil {
		return span{}, unexpected(err)
	}
	s := span{r.at + frameHeader, r.at + frameHeader + int(n)}
	r.at = s.to
	return s, nil
}

// discard skips the frame that frame has refused, or had no memory for.
func (r *reader) discard() error {
	n := int(binary.LittleEndian.Uint32(r.buf[r.at:]))
	if n > maxFrame {
		return errTooLarge{n, maxFrame}
	}
	n += frameHeader
	for {
		have := min(n, len(r.buf)-r.at)
		n -= have
		if n == 0 {
			r.at += have
			return nil
		}
		r.buf = r.buf[:r.at] // all of it is the frame's
		if err := r.more(1); err != nil {
			return unexpected(err)
		}
	}
}

// fill reads until n bytes are there to be taken. Memory grows with what has
// come, not with what was announced.
func (r *reader) fill(n int) error {
	for len(r.buf)-r.at < n {
		if err := r.more(n - (len(r.buf) - r.at)); err != nil {
			if len(r.buf) > r.at {
				return unexpected(err)
			}
			return err
		}
	}
	return nil
}

// more reads some of the n bytes that are wanted, or what there is beyond them.
func (r *reader) more(n int) error {
	if len(r.buf) == cap(r.buf) {
		if err := r.grow(n); err != nil {
			return err
		}
	}
	got, err := r.src.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+got]
	if got > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// grow enlarges the full buffer, towards n bytes that are wanted. A buffer is at most
// four times what was received, and the last step is to the exact size: so a large frame
// is copied little, and leaves a third of its size as garbage.
func (r *reader) grow(n int) error {
	size := len(r.buf) + n
	for size/4 > max(len(r.buf), bufferSize) {
		size /= 4
	}
	if more := int64(size) - bufferFree - r.taken; more > 0 {
		switch {
		case r.memory.Take(more):
			r.taken += more
		case n > frameHeader:
			return memory.ErrFull
		} // else a few bytes, without which the frame could not even be skipped
	}
	buf := make([]byte, len(r.buf), size)
	copy(buf, r.buf)
	r.buf = buf // the old one is left to the GC: what was read may still be in use
	return nil
}

func (r *reader) bytes(s span) []byte { return r.buf[s.from:s.to:s.to] }

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, bufferSize); return &b }}

func getBuffer() []byte { return (*buffers.Get().(*[]byte))[:0] }

func putBuffer(b []byte) {
	if cap(b) >= bufferSize && cap(b) <= bufferFree {
		buffers.Put(&b)
	}
}
