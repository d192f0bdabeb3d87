package kongpdk

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// slots bounds how many connections are open at once: each has a file, a buffer and perhaps a
// goroutine. Further connections wait in the socket's backlog until they are accepted.
type slots struct {
	limit   int64
	cause   string // what the limit follows from
	taken   atomic.Int64
	waiting atomic.Int32 // how many acceptors wait for a slot
}

func (s *slots) free() bool { return s.taken.Load() < s.limit }

// take takes a slot, and reports false if there is none.
func (s *slots) take() bool {
	for {
		n := s.taken.Load()
		if n >= s.limit {
			return false
		}
		if s.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives back a slot that no acceptor waits for.
func (s *slots) release() { s.taken.Add(-1) }

const (
	// connectionShare is the part of the memory limit that the free buffers of all
	// connections may take.
	connectionShare = 4
	// minConnections is how many are served in spite of any limit.
	minConnections = 4
)

// connectionLimit returns how many connections may be open at once, and why.
func (s *Server) connectionLimit() (most int64, why string) {
	most = math.MaxInt64
	if n := s.Memory.Size(); n > 0 {
		most, why = max(n/connectionShare/bufferFree, minConnections), fmt.Sprintf("the memory limit of %d bytes", n)
	}
	if s.Files > 0 {
		if n := int64(s.Files - reservedFiles(s.Files)); n < most {
			most, why = max(n, minConnections), fmt.Sprintf("the limit of %d open files", s.Files)
		}
	}
	return most, why
}

// Files that are reserved for other uses than Kong's connections: some 15 of the process
// itself, one for each body file that is read (16 at once), and one for each connection to a
// broker, whose number is not known in advance.
const (
	reservedShare = 4 // of all
	minReserved   = 40
	maxReserved   = 4096
	lowFiles      = 1024 // with fewer, Kong may have to wait under an ordinary load
)

// reservedFiles returns how many of n files are reserved for other uses: a quarter, but at
// least 40 (or three quarters, if fewer), and at most 4096.
func reservedFiles(n int) int {
	return min(max(n/reservedShare, min(minReserved, n*3/4)), maxReserved)
}

// reapInterval is how often idle connections are looked for while others wait for a slot.
// Those that are idle twice in a row are closed: Kong only keeps them for later, and makes
// new ones when it needs them.
const reapInterval = 50 * time.Millisecond

// wait registers an acceptor that waits for a slot; resume tells it when there is one. The
// caller must try to take a slot once more after that: one may just have been released.
func (s *Server) wait() {
	s.slots.waiting.Add(1)
	s.log.Warn("connections from Kong are waiting: the limit of open connections is reached", "connections", s.slots.limit, "cause", s.slots.cause)
}

// release gives back the slot of a connection that was closed.
func (s *Server) release() {
	s.slots.release()
	if s.slots.waiting.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.acceptors {
		p.resume()
	}
}

// reapIdle closes connections that have been idle for at least reapInterval.
func (s *Server) reapIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.reaped) < reapInterval/2 { // another acceptor has just done it
		return
	}
	s.reaped = now
	for c := range s.conns {
		c.closeIfIdle()
	}
	for _, p := range s.acceptors {
		p.reapIdle()
	}
}
