// Package memory bounds the memory for all requests and records of the process: the backlogs
// of all producers, bodies, and commands being received. Each of these has a limit of its own,
// but together they could take more than the machine has, and the kernel would kill the
// process with all its records.
package memory

import (
	"errors"
	"math"
	"runtime/debug"
	"sync/atomic"
)

// ErrFull is the error of a request that would exceed the limit.
var ErrFull = errors.New("the memory limit of the process is reached (-memory-limit)")

// Limit is a number of bytes to take and to return. Its methods may be called from many
// goroutines at once, and on a nil *Limit, from which any number can be taken.
type Limit struct {
	size int64
	used atomic.Int64
}

// NewLimit returns a limit of that many bytes.
func NewLimit(bytes int64) *Limit { return &Limit{size: bytes} }

// Take takes n bytes, or none if fewer are free, and reports whether it did. The bytes taken
// never exceed the limit.
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

// Return returns n bytes that were taken.
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

// Size returns the limit in bytes; 0 for none.
func (l *Limit) Size() int64 {
	if l == nil {
		return 0
	}
	return l.size
}

// headroom is the least memory for Go beyond a limit: for what is not counted against it, and
// for garbage not collected yet.
const headroom = 64 << 20

// Bound sets Go's memory limit (GOMEMLIMIT) to one and a half times the limit, but at least
// headroom and at most 1 GiB above it, so that the garbage collector works harder before the
// heap doubles. A memory limit from the environment is kept.
func (l *Limit) Bound() {
	if l != nil && debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(l.size + min(max(l.size/2, headroom), 1<<30))
	}
}
