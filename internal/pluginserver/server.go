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
type Server struct {
	plugin    *Plugin
	log       *slog.Logger
	instances *instances

	mu       sync.Mutex
	listener net.Listener
	conns    map[*conn]struct{}
	closing  bool
	serving  sync.WaitGroup // one per connection
}

// NewServer returns a server of the plugin. What goes wrong on a connection is
// logged; what goes wrong with a request is the plugin's to tell.
func NewServer(plugin *Plugin, log *slog.Logger) *Server {
	return &Server{
		plugin:    plugin,
		log:       log,
		instances: newInstances(),
		conns:     make(map[*conn]struct{}),
	}
}

// maxPath is the longest path of a unix socket (sun_path without its NUL).
const maxPath = 107

// Listen returns a listener on the unix socket path, which it makes anew: a
// socket left there by an earlier server is removed, even if that one still
// serves the requests it has, as it does after a reload of Kong. mode holds the
// socket's permission bits; whoever may write to it may connect. Closing the
// listener leaves the path alone, because by then it may be another server's.
func Listen(path string, mode fs.FileMode) (net.Listener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path of the socket, %s, has %d bytes: it cannot have more than %d", path, len(path), maxPath)
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("looking at the socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is there and is no socket: remove it, or choose another path with -socket", path)
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

// Serve accepts connections until Shutdown, and returns nil then.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	s.listener = l
	closing := s.closing
	s.mu.Unlock()
	if closing {
		return l.Close()
	}
	for {
		nc, err := l.Accept()
		if err != nil {
			s.mu.Lock()
			closing := s.closing
			s.mu.Unlock()
			switch {
			case closing:
				return nil
			case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.ENOBUFS):
				// Those that wait stay in the socket's backlog until others end.
				s.log.Error("cannot accept a connection for the moment: raise the limit of open files if this goes on", "error", err)
				time.Sleep(10 * time.Millisecond)
				continue
			case errors.Is(err, syscall.ECONNABORTED), errors.Is(err, syscall.EINTR):
				continue
			}
			return fmt.Errorf("accepting a connection: %w", err)
		}
		s.start(nc)
	}
}

func (s *Server) start(nc net.Conn) {
	c := &conn{server: s, nc: nc}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		_ = nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.serving.Add(1)
	go func() {
		defer s.serving.Done()
		c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
}

// Shutdown stops listening, lets the requests that are under way be answered,
// and closes the connections. The socket's path stays, for it may be another
// server's by now. When ctx ends, the connections that are left are cut, and the
// error says how many there were. The instances are closed in either case.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	if s.listener != nil {
		_ = s.listener.Close()
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
	s.mu.Lock()
	left := len(s.conns)
	for c := range s.conns {
		_ = c.nc.Close()
	}
	s.mu.Unlock()
	if left == 0 {
		return nil
	}
	return fmt.Errorf("%d connections of Kong were cut before their requests were over: %w", left, context.Cause(ctx))
}
