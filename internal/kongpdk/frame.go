package kongpdk

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	// maxFrame bounds how much of a reply above its limit is read and discarded. Nothing
	// that Kong sends comes near it.
	maxFrame = 1 << 30

	bufferSize = 8 << 10 // what a connection starts with
	// bufferFree is how large a connection's buffer may be without being counted against
	// the memory limit, and the largest that is kept for another connection. The replies
	// to an ordinary request fit. The number of connections bounds the sum (see slots).
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

// frameSizeError is the error of a frame above its limit, which is not read.
type frameSizeError struct{ size, limit int }

func (e frameSizeError) Error() string {
	return fmt.Sprintf("a frame of %d bytes where at most %d are allowed", e.size, e.limit)
}

// errMore is the error of a frame that is incomplete. The buffer then has room for more of
// it.
var errMore = errors.New("more has to come")

// buffer holds the received part of a stream of frames. Frames that were taken since the last
// call of next stay at their offsets. Memory above bufferFree is taken from the memory
// limit.
type buffer struct {
	buf    []byte // all that was received since next; buf[at:] is not taken yet
	at     int
	memory *memory.Limit
	taken  int64 // from memory
}

// span is the position of a frame in the buffer.
type span struct{ from, to int }

// pending returns how many received bytes are not taken yet.
func (b *buffer) pending() int { return len(b.buf) - b.at }

// room returns the space to read into, which is not empty after errMore and after skip. add
// must be called with the number of bytes read.
func (b *buffer) room() []byte { return b.buf[len(b.buf):cap(b.buf)] }

func (b *buffer) add(n int) { b.buf = b.buf[:len(b.buf)+n] }

// clear drops all that was received.
func (b *buffer) clear() { b.buf, b.at = b.buf[:0], 0 }

// next forgets the frames that were taken, and moves what was read beyond them
// to the front. Memory that was taken for them goes back.
func (b *buffer) next() {
	if b.at == 0 {
		return
	}
	beyond := b.buf[b.at:]
	if b.taken > 0 && len(beyond) <= bufferSize {
		buf := append(getBuffer(), beyond...)
		b.release()
		b.buf = buf
		return
	}
	n := copy(b.buf, beyond)
	b.buf, b.at = b.buf[:n], 0
}

// release gives back the buffer and what was taken for it from the memory limit.
func (b *buffer) release() {
	putBuffer(b.buf)
	b.memory.Return(b.taken)
	b.buf, b.at, b.taken = nil, 0, 0
}

// frame takes a frame of at most limit bytes. The error is errMore, a frameSizeError, or
// [memory.ErrFull] if there is no memory for the frame, a part of which may have been
// received. Memory grows with what was received, not with what was announced.
func (b *buffer) frame(limit int) (span, error) {
	want := frameHeader
	if b.pending() >= frameHeader {
		n := binary.LittleEndian.Uint32(b.buf[b.at:])
		if uint64(n) > uint64(limit) {
			return span{}, frameSizeError{int(n), limit}
		}
		want += int(n)
	}
	if missing := want - b.pending(); missing > 0 {
		if len(b.buf) == cap(b.buf) {
			if err := b.grow(missing); err != nil {
				return span{}, err
			}
		}
		return span{}, errMore
	}
	s := span{b.at + frameHeader, b.at + want}
	b.at = s.to
	return s, nil
}

// unread returns the size, with its header, of the frame that was too large, or for which
// there was no memory. It is for skip.
func (b *buffer) unread() (int, error) {
	n := int(binary.LittleEndian.Uint32(b.buf[b.at:]))
	if n > maxFrame {
		return 0, frameSizeError{n, maxFrame}
	}
	return frameHeader + n, nil
}

// skip drops up to n received bytes, and returns how many of the n are still to come.
func (b *buffer) skip(n int) int {
	have := min(n, b.pending())
	if have == n {
		b.at += n
		return 0
	}
	b.buf = b.buf[:b.at] // all of it was to be skipped
	return n - have
}

// grow enlarges the full buffer, towards n more bytes. A buffer is at most four times as large
// as what was received, and the last step is to the exact size: a large frame is copied
// little, and leaves a third of its size as garbage.
func (b *buffer) grow(n int) error {
	size := len(b.buf) + n
	for size/4 > max(len(b.buf), bufferSize) {
		size /= 4
	}
	if more := int64(size) - bufferFree - b.taken; more > 0 {
		switch {
		case b.memory.Take(more):
			b.taken += more
		case n > frameHeader:
			return memory.ErrFull
		} // else a few bytes, without which the frame could not even be skipped
	}
	buf := make([]byte, len(b.buf), size)
	copy(buf, b.buf)
	b.buf = buf // the old one may still be in use, so the garbage collector frees it
	return nil
}

func (b *buffer) bytes(s span) []byte { return b.buf[s.from:s.to:s.to] }

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, bufferSize); return &b }}

func getBuffer() []byte { return (*buffers.Get().(*[]byte))[:0] }

func putBuffer(b []byte) {
	if cap(b) >= bufferSize && cap(b) <= bufferFree {
		buffers.Put(&b)
	}
}
