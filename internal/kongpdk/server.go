package kongpdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
)

// Server serves one plugin on a unix socket.
//
// On Linux one goroutine serves many connections with system calls of its own: Kong makes a
// new connection for each request that is answered, and most of the cost of the net package
// is a goroutine, an entry in Go's poller and deadlines for each. A connection whose request
// may block is detached to a goroutine of its own. On other systems every connection has one.
type Server struct {
	Options

	plugin    *Plugin
	open      func(plugin.Handler) *instance
	log       *slog.Logger
	instances *instances
	slots     slots
	serving   sync.WaitGroup // one per loop, and per connection outside of them

	eventTimeout, commandTimeout, endTimeout time.Duration

	loops int // 0: by the number of cores

	mu        sync.Mutex
	acceptors []acceptor
	conns     map[*netConn]struct{}
	closing   bool
	forced    bool      // all connections are closed
	reaped    time.Time // when idle connections were last closed
}

// Options of a [Server].
type Options struct {
	// Portable has every connection served by the net package.
	Portable bool
	// RequestVariable is a variable of nginx from which the method, the URI and the query are
	// read; "" for none.
	RequestVariable string
	// Memory is the limit that large replies and commands count against. nil is no limit.
	Memory *memory.Limit
	// Files is how many files the process may have open ([FileLimit]). A share of them is
	// reserved for other uses. 0 is no limit.
	Files int
}

// NewServer returns a server of the plugin. It logs failures of connections; the plugin
// reports failures of requests.
func NewServer(p *Plugin, log *slog.Logger, o Options) *Server {
	s := &Server{
		Options:   o,
		plugin:    p,
		log:       log,
		instances: newInstances(),
		conns:     make(map[*netConn]struct{}),

		eventTimeout: eventTimeout, commandTimeout: commandTimeout, endTimeout: endTimeout,
	}
	s.open = s.openInstance
	return s
}

// Serve accepts connections until Shutdown, and returns nil then. It closes l.
func (s *Server) Serve(l net.Listener) error {
	s.slots.limit, s.slots.cause = s.connectionLimit()
	if s.Files > 0 && s.Files < lowFiles {
		s.log.Warn("the limit of open files is low: raise it where Kong is started (ulimit -n, LimitNOFILE of systemd, --ulimit nofile of Docker)", "files", s.Files, "connections", s.slots.limit)
	}
	if n := s.Memory.Size(); n > 0 {
		s.instances.limit = n / instancesShare
	}
	if u, ok := l.(*net.UnixListener); ok && !s.Portable {
		served, err := s.serveLoops(u)
		if served {
			return err
		}
		if err != nil {
			s.log.Warn("cannot use epoll: connections are served by the net package, at a higher cost", "error", err)
		}
	}
	a := netAcceptor{l, make(chan struct{}, 1)}
	if !s.add(0, a) {
		return l.Close()
	}
	for {
		if !s.slots.take() {
			s.waitForSlot(a)
			continue
		}
		nc, err := l.Accept()
		if err != nil {
			s.slots.release()
			switch {
			case s.isClosing():
				return nil
			case isShortage(err):
				s.log.Error(shortage, "error", err)
				time.Sleep(shortageTime)
				continue
			case errors.Is(err, syscall.ECONNABORTED), errors.Is(err, syscall.EINTR):
				continue
			}
			return fmt.Errorf("accepting a connection: %w", err)
		}
		c := newNetConn(&session{server: s, in: buffer{buf: getBuffer(), memory: s.Memory}}, nc)
		if !s.adopt(c) {
			c.close()
			s.release()
			continue
		}
		go func() {
			defer s.end(c)
			c.serve()
		}()
	}
}

// While there are too few files or too little memory to accept connections, those that wait
// stay in the socket's backlog.
const (
	shortage     = "cannot accept connections for now: raise the limit of open files if this persists"
	shortageTime = 10 * time.Millisecond
)

func isShortage(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.ENOBUFS)
}

// acceptor accepts connections, and may serve them.
type acceptor interface {
	stop()           // stops accepting, and closes idle connections
	forceClose() int // closes the other connections too, and returns how many there were
	resume()         // accepts again, if there is a slot
	reapIdle()       // closes connections that have been idle for some time
}

// netAcceptor accepts connections that have a goroutine each.
type netAcceptor struct {
	net.Listener
	wake chan struct{}
}

func (a netAcceptor) stop()           { _ = a.Close(); a.resume() }
func (a netAcceptor) forceClose() int { return 0 }
func (a netAcceptor) reapIdle()       {}

func (a netAcceptor) resume() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// waitForSlot returns when there may be a slot, or when the server ends.
func (s *Server) waitForSlot(a netAcceptor) {
	s.wait()
	defer s.slots.waiting.Add(-1)
	tick := time.NewTicker(reapInterval)
	defer tick.Stop()
	for !s.slots.free() && !s.isClosing() {
		select {
		case <-a.wake:
		case <-tick.C:
			s.reapIdle()
		}
	}
}

// add adds acceptors to the server. serving is how many of them serve connections, and call
// s.serving.Done at the end. It reports false if the server is shutting down.
func (s *Server) add(serving int, acceptors ...acceptor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.acceptors = append(s.acceptors, acceptors...)
	s.serving.Add(serving)
	return true
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// adopt registers a connection that a goroutine of its own will serve. It reports false if the
// server is shutting down and the connection has no command.
func (s *Server) adopt(c *netConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing && !c.hasCommand {
		return false
	}
	if c.stopping = s.closing; c.stopping {
		c.await()
	}
	s.conns[c] = struct{}{}
	s.serving.Add(1)
	if s.forced {
		_ = c.nc.Close()
	}
	return true
}

// end closes a connection that was adopted.
func (s *Server) end(c *netConn) {
	c.close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.release()
	s.serving.Done()
}

// Shutdown stops listening, waits until the requests in flight are answered, and closes the
// connections. A peer that must still send or read something gets 2 s for it. The socket's
// path stays, because it may be another server's by now. When ctx ends, Shutdown closes the
// remaining connections, and the error has their number. The instances are closed in either
// case.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for _, a := range s.acceptors {
		a.stop()
	}
	for c := range s.conns {
		c.stopWhenIdle()
	}
	s.mu.Unlock()
	defer s.instances.removeAll()

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
	open := s.forceClose()
	if open == 0 {
		return nil
	}
	return fmt.Errorf("%d connections from Kong were closed before their requests were answered: %w", open, context.Cause(ctx))
}

// forceClose closes the remaining connections, and returns how many there were.
func (s *Server) forceClose() (open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forced = true
	for _, a := range s.acceptors {
		open += a.forceClose()
	}
	for c := range s.conns {
		_ = c.nc.Close()
	}
	return open + len(s.conns)
}
