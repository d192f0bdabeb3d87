package pluginserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Server serves one plugin on a unix socket.
//
// On Linux one goroutine serves many connections with system calls of its own:
// Kong makes a new connection for each request that is answered, and most of
// the cost of serving one by the net package is that of its goroutine, its place
// in the poller and its deadlines. A connection whose request takes long gets a
// goroutine of its own. Elsewhere every connection has one.
type Server struct {
	// Portable, set before Serve, has every connection served by the net package.
	Portable bool

	plugin    *Plugin
	log       *slog.Logger
	instances *instances
	serving   sync.WaitGroup // one per loop, and per connection outside of them

	eventTimeout time.Duration
	loops        int // 0: by the number of cores

	mu      sync.Mutex
	parts   []part             // what accepts connections
	conns   map[*conn]struct{} // those that no loop serves
	closing bool
	cutting bool // requests under way are not waited for any more
}

// NewServer returns a server of the plugin. What goes wrong on a connection is
// logged; what goes wrong with a request is the plugin's to tell.
func NewServer(plugin *Plugin, log *slog.Logger) *Server {
	return &Server{
		plugin:    plugin,
		log:       log,
		instances: newInstances(),
		conns:     make(map[*conn]struct{}),

		eventTimeout: eventTimeout,
	}
}

// maxPath is the longest path of a unix socket (sun_path without its NUL).
const maxPath = 107

// CheckPath returns an error if a socket can never be at path: it is too long, or
// something else is there. It changes nothing, and takes no directory for one that
// will be made.
func CheckPath(path string) error {
	if len(path) > maxPath {
		return fmt.Errorf("the path of the socket, %s, has %d bytes: it cannot have more than %d", path, len(path), maxPath)
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("looking at the socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket: remove it, or choose another path with -socket", path)
	}
	return nil
}

// Listen returns a listener on the unix socket path, which it makes anew: a
// socket left there by an earlier server is removed, even if that one still
// serves the requests it has, as it does after a reload of Kong. mode holds the
// socket's permission bits; whoever may write to it may connect. Closing the
// listener leaves the path alone, because by then it may be another server's.
func Listen(path string, mode fs.FileMode) (net.Listener, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	// Nobody may connect to a socket whose mode is not set yet, and no moment may
	// pass in which there is none: it is made under another name and moved.
	draft := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%d", os.Getpid()))
	if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing a stale socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: draft, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(draft, mode), os.Rename(draft, path)); err != nil {
		_ = l.Close()
		_ = os.Remove(draft)
		return nil, fmt.Errorf("preparing the socket: %w", err)
	}
	return l, nil
}

// Serve accepts connections until Shutdown, and returns nil then. It closes l.
func (s *Server) Serve(l net.Listener) error {
	if u, ok := l.(*net.UnixListener); ok && !s.Portable {
		served, err := s.serveLoops(u)
		if served {
			return err
		}
		if err != nil {
			s.log.Warn("connections are served by the net package, at a higher cost", "error", err)
		}
	}
	if !s.add(0, accepting{l}) {
		return l.Close()
	}
	for {
		nc, err := l.Accept()
		if err != nil {
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
		c := &conn{server: s, nc: nc, in: reader{src: nc, buf: getBuffer()}}
		if !s.adopt(c) {
			c.close()
			continue
		}
		go func() {
			defer s.end(c)
			c.serve()
		}()
	}
}

// Where no connection can be accepted for want of files or memory, those that
// wait stay in the socket's backlog until others end.
const (
	shortage     = "cannot accept a connection for the moment: raise the limit of open files if this goes on"
	shortageTime = 10 * time.Millisecond
)

func isShortage(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.ENOBUFS)
}

// part accepts connections, and may serve them.
type part interface {
	stop()    // accepts none any more, and ends those that are idle
	cut() int // ends the others too, and returns how many there were
}

// accepting accepts connections, each of which is served elsewhere.
type accepting struct{ net.Listener }

func (a accepting) stop()    { _ = a.Close() }
func (a accepting) cut() int { return 0 }

// add adds parts to the server, of which so many serve connections until they
// report to serving. It reports false if the server is shut down.
func (s *Server) add(serving int, parts ...part) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.parts = append(s.parts, parts...)
	s.serving.Add(serving)
	return true
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// adopt registers a connection that a goroutine of its own will serve. It
// reports false if none may begin any more.
func (s *Server) adopt(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing && !c.busy {
		return false
	}
	c.stopping = s.closing
	s.conns[c] = struct{}{}
	s.serving.Add(1)
	if s.cutting {
		_ = c.nc.Close()
	}
	return true
}

// end closes a connection that was adopted.
func (s *Server) end(c *conn) {
	c.close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.serving.Done()
}

// Shutdown stops listening, lets the requests that are under way be answered,
// and closes the connections. The socket's path stays, for it may be another
// server's by now. When ctx ends, the connections that are left are cut, and the
// error says how many there were. The instances are closed in either case.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for _, p := range s.parts {
		p.stop()
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
	left := s.cut()
	if left == 0 {
		return nil
	}
	return fmt.Errorf("%d connections of Kong were cut before their requests were over: %w", left, context.Cause(ctx))
}

// cut closes the connections that are left, and returns how many there were.
func (s *Server) cut() (left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutting = true
	for _, p := range s.parts {
		left += p.cut()
	}
	for c := range s.conns {
		_ = c.nc.Close()
	}
	return left + len(s.conns)
}
