package companion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// maxConns is how many connections are served at once. Each of Kong's workers has one,
	// and while Kong reloads there are twice as many workers. Others wait to be accepted.
	maxConns = 512

	// blockedSize is about how many bytes a request takes that has a goroutine of its own, and
	// deferredSize one whose answer is deferred.
	blockedSize  = 8 << 10
	deferredSize = 256
	// blockedShare is the part of the memory limit that such requests may take before others
	// are refused, and maxBlocked how many bytes without a limit.
	blockedShare = 4
	maxBlocked   = 256 << 20
)

// Server serves companion handlers on a unix socket.
type Server struct {
	Options

	plugin  *Plugin
	log     *slog.Logger
	slots   chan struct{}
	held    atomic.Int64   // bytes of requests that have a goroutine of their own, or are deferred
	serving sync.WaitGroup // one per connection, and per request that has a goroutine or is deferred

	endTimeout time.Duration

	mu       sync.Mutex
	listener net.Listener
	conns    map[*conn]struct{}
	closing  bool
}

// NewServer returns a server of the plugin. It logs failures of connections; the plugin reports
// failures of requests.
func NewServer(p *Plugin, log *slog.Logger, o Options) *Server {
	return &Server{
		Options: o, plugin: p, log: log,
		slots: make(chan struct{}, maxConns), conns: make(map[*conn]struct{}), endTimeout: endTimeout,
	}
}

// Serve accepts connections until Shutdown, and returns nil then. It closes l.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	s.listener = l
	closing := s.closing
	s.mu.Unlock()
	if closing {
		return l.Close()
	}
	for {
		s.slots <- struct{}{}
		nc, err := l.Accept()
		if err == nil {
			s.add(nc)
			continue
		}
		<-s.slots
		switch {
		case s.isClosing():
			return nil
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.ENOBUFS):
			s.log.Error("cannot accept a connection of the companion handler for now: raise the limit of open files if this persists", "error", err)
			time.Sleep(10 * time.Millisecond)
		case !errors.Is(err, syscall.ECONNABORTED) && !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("accepting a connection of the companion handler: %w", err)
		}
	}
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// add serves a connection, unless the server is shutting down.
func (s *Server) add(nc net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		_ = nc.Close()
		<-s.slots
		return
	}
	c, err := newConn(s, nc)
	if err != nil {
		s.log.Error("cannot serve a connection of the companion handler", "error", err)
		<-s.slots
		return
	}
	s.conns[c] = struct{}{}
	s.serving.Add(1)
	go c.serve()
}

// remove is called at the end of a connection.
func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	<-s.slots
	s.serving.Done()
}

// isCrowded reports whether too many requests wait for something to begin another.
func (s *Server) isCrowded() bool {
	limit := int64(maxBlocked)
	if n := s.Memory.Size(); n > 0 {
		limit = n / blockedShare
	}
	return s.held.Load() > limit
}

// Shutdown stops listening, tells the workers to send their requests elsewhere, and waits until
// those in flight are answered and the workers have hung up, for which they get 2 s. The socket's
// path stays, because it may be another server's by now. When ctx ends, Shutdown closes the
// remaining connections, and the error has their number.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	if s.listener != nil {
		_ = s.listener.Close()
	}
	for c := range s.conns {
		c.stop()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.stream.hangUp()
	}
	if n := len(s.conns); n > 0 {
		return fmt.Errorf("%d connections of the companion handler were closed before their requests were answered: %w", n, context.Cause(ctx))
	}
	return nil
}
