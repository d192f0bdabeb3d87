// Package memory bounds what the process holds for others, whoever holds it: the
// records of all producers, bodies under way, commands that are not whole yet.
// Each of these has limits of its own; together they could still take more than
// the machine has, and the kernel would end the process with all its records.
package memory

import (
	"errors"
	"math"
	"runtime/debug"
	"sync/atomic"
)

// ErrFull is the error of a request for which the limit has no memory.
var ErrFull = errors.New("the memory limit of the process is reached (-memory-limit)")

// Limit is a number of bytes and how many of them are taken. Its methods may be
// called from many goroutines at once, and on a nil *Limit, which has no limit.
type Limit struct {
	size int64
	used atomic.Int64
}

// NewLimit returns a limit of that many bytes.
func NewLimit(bytes int64) *Limit { return &Limit{size: bytes} }

// Take takes n bytes, and reports false if there are not so many: then it has taken
// none. What is taken never exceeds the limit.
func (l *Limit) Take(n int64) bool {
	if l == nil {
		return true
	}
	if l.used.Add(n) > l.size {
		l.used.Add(-n)
		return false
	}
	return true
}

// Return gives back n bytes that were taken.
func (l *Limit) Return(n int64) {
	if l != nil {
		l.used.Add(-n)
	}
}

// Used returns how many bytes are taken.
func (l *Limit) Used() int64 {
	if l == nil {
		return 0
	}
	return l.used.Load()
}

// Size returns the limit in bytes; 0 is no limit.
func (l *Limit) Size() int64 {
	if l == nil {
		return 0
	}
	return l.size
}

// headroom is the least that Go may have beyond a limit: for all that does not count
// there, and for what the garbage collector has not found yet.
const headroom = 64 << 20

// Bound makes the limit also that of Go's heap (GOMEMLIMIT), with half as much again for
// all else, and at most 1 GiB: near it the garbage collector works harder, where by
// itself it would let the heap double. A limit that the environment has set stays.
func (l *Limit) Bound() {
	if l != nil && debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(l.size + min(max(l.size/2, headroom), 1<<30))
	}
}
