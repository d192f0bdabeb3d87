package kongsim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// nginx's lua_socket_pool_size and lua_socket_keepalive_timeout, as Kong leaves
// them.
const (
	poolSize    = 30
	poolTimeout = time.Minute
)

// conn is one connection to the plugin server.
type conn struct {
	net.Conn
	r       *bufio.Reader
	method  []byte // buffers of the frames read last
	args    []byte
	timeout time.Duration
	idle    time.Time
}

// read reads one frame, waiting at most the timeout, as every read of Kong's
// does.
func (c *conn) read(buf []byte) ([]byte, error) {
	if c.r.Buffered() == 0 {
		if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
			return nil, err
		}
	}
	return readFrame(c.r, buf)
}

func (c *conn) write(b []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	return writeFrame(c.Conn, b)
}

// pool holds a worker's idle connections.
type pool struct {
	socket  string
	timeout time.Duration

	mu     sync.Mutex
	idle   []*conn
	closed bool
}

// get returns an idle connection that is still open, or dials.
func (p *pool) get(ctx context.Context) (*conn, error) {
	for {
		p.mu.Lock()
		if len(p.idle) == 0 {
			p.mu.Unlock()
			break
		}
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		p.mu.Unlock()
		if time.Since(c.idle) < poolTimeout && c.alive() {
			return c, nil
		}
		c.Close()
	}
	d := net.Dialer{Timeout: p.timeout}
	nc, err := d.DialContext(ctx, "unix", p.socket)
	if err != nil {
		return nil, fmt.Errorf("the plugin server cannot be reached: %w", err)
	}
	return &conn{Conn: nc, r: bufio.NewReaderSize(nc, 4<<10), timeout: p.timeout}, nil
}

// put takes a connection back. One that holds unread bytes is of no use.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || c.r.Buffered() > 0 || len(p.idle) >= poolSize {
		c.Close()
		return
	}
	c.idle = time.Now()
	p.idle = append(p.idle, c)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		c.Close()
	}
	p.idle = nil
}

// alive reports whether an idle connection is open and silent. nginx hears of a
// close at once and drops such a connection from its pool.
func (c *conn) alive() bool {
	raw, err := c.Conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		alive = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && alive
}
