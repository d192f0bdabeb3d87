package kongpdk

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// slots bounds how many connections are open at once: each has a file, a buffer and
// perhaps a goroutine. Further connections wait in the socket's backlog, not accepted
// yet.
type slots struct {
	most    int64
	why     string // what most comes from
	taken   atomic.Int64
	waiting atomic.Int32 // how many acceptors wait for a slot
}

func (s *slots) free() bool { return s.taken.Load() < s.most }

// take takes a slot, and reports false if there is none.
func (s *slots) take() bool {
	for {
		n := s.taken.Load()
		if n >= s.most {
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
	// leastConnections is how many are served whatever the limits.
	leastConnections = 4
)

// mostConnections returns how many connections may be open at once, and why.
func (s *Server) mostConnections() (most int64, why string) {
	most = math.MaxInt64
	if n := s.Memory.Size(); n > 0 {
		most, why = max(n/connectionShare/bufferFree, leastConnections), fmt.Sprintf("the memory limit of %d bytes", n)
	}
	if s.Files > 0 {
		if n := int64(s.Files - keptFiles(s.Files)); n < most {
			most, why = max(n, leastConnections), fmt.Sprintf("the limit of %d open files", s.Files)
		}
	}
	return most, why
}

// Files that are not for Kong's connections: some 15 of the process itself, one for
// each body file that is read (16 at once), and a connection to each broker for each
// producer, whose number is not known in advance.
const (
	keptPart  = 4 // of all
	leastKept = 40
	mostKept  = 4096
	lowFiles  = 1024 // with fewer, Kong may be made to wait under an ordinary load
)

// keptFiles returns how many of n files are reserved for other uses: a quarter, but at
// least 40 (or three quarters, if fewer), and at most 4096.
func keptFiles(n int) int {
	return min(max(n/keptPart, min(leastKept, n*3/4)), mostKept)
}

// relieveTime is how often connections that do nothing are looked for while others
// wait for a slot. Those that are found twice are closed: Kong keeps them for later,
// and makes others when it needs them.
const relieveTime = 50 * time.Millisecond

// wait registers an acceptor that waits for a slot; resume tells it when there is one. The
// caller must try to take a slot once more after that: one may just have been released.
func (s *Server) wait() {
	s.slots.waiting.Add(1)
	s.log.Warn("connections of Kong have to wait: as many are open as may be", "connections", s.slots.most, "cause", s.slots.why)
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

// relieve closes connections that have been idle for at least relieveTime.
func (s *Server) relieve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.relieved) < relieveTime/2 { // another acceptor has just done it
		return
	}
	s.relieved = now
	for c := range s.conns {
		c.closeIfIdle()
	}
	for _, p := range s.acceptors {
		p.relieve()
	}
}
