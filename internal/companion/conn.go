package companion

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"kafka-upstream/internal/bodyfile"
	"kafka-upstream/internal/memory"
)

// A peer that stalls holds no resource forever.
const (
	// helloTimeout bounds how long the first frame takes.
	helloTimeout = 10 * time.Second
	// writeTimeout bounds how long a worker may leave answers unread, if its socket's buffer
	// is full.
	writeTimeout = 30 * time.Second
	// endTimeout bounds how long Shutdown waits for a worker without a request under way to
	// hang up.
	endTimeout = 2 * time.Second
)

// maxInline is how large a request's frame may be to be handled while others wait: the message
// of more alone would hold them up.
const maxInline = 64 << 10

// conn is the driver of a session. The goroutine that reads the connection also handles its
// requests. One that may block keeps that goroutine, and another one goes on reading.
type conn struct {
	server *Server
	nc     net.Conn
	s      *session // the reading goroutine's
	out    outbox
	uid    func() (uint32, error) // of the worker

	inFlight atomic.Int32 // requests that have a goroutine of their own
	leaving  atomic.Bool

	mu sync.Mutex // to set deadlines of reading

	// The reading goroutine's.
	welcomed bool // the first frame has come, and that was logged
	told     bool // the worker knows that the server leaves

	deadline time.Time // of writing; the writing goroutine's
}

func newConn(server *Server, nc net.Conn) *conn {
	c := &conn{server: server, nc: nc}
	c.uid = sync.OnceValues(func() (uint32, error) { return bodyfile.PeerUID(nc) })
	c.s = &session{
		plugin: server.plugin, in: newBuffer(server.Memory), out: &c.out,
		configs: newConfigs(server.Memory.Size()), leaving: c.leaving.Load,
	}
	c.s.x = &exchange{conn: c}
	c.readBefore(time.Now().Add(helloTimeout))
	return c
}

// serve serves the connection until it ends, or until a request that may block has taken over
// this goroutine.
func (c *conn) serve() {
	defer func() {
		if v := recover(); v != nil {
			c.server.log.Error("panic while serving a connection of the companion handler; the server continues", "panic", v, "stack", string(debug.Stack()))
			c.end()
		}
	}()
	for {
		switch c.s.step() {
		case run:
			x := c.s.x
			x.run()
			if x.own {
				x.finish()
				return
			}
		case read:
			if c.flush() && c.read() {
				continue
			}
			c.end()
			return
		case end:
			c.flush()
			c.end()
			return
		}
	}
}

// handOver has another goroutine go on reading. The caller keeps what was received of its own
// request in x.in, unless it needs that no more.
func (c *conn) handOver(x *exchange) {
	if !x.released {
		x.in, c.s.in = c.s.in, c.s.in.split()
		c.server.held.Add(int64(cap(x.in.b)))
	}
	c.inFlight.Add(1)
	c.server.held.Add(blockedSize)
	c.server.serving.Add(1)
	c.s.x = &exchange{conn: c}
	go c.serve()
}

// flush sends what is in the outbox. It reports false if the connection is broken.
func (c *conn) flush() bool {
	err := c.out.flush(c, c.sent)
	if err != nil {
		if errors.Is(err, errUnread) {
			c.server.log.Error("closing the connection of a worker that does not read its answers")
		}
		_ = c.nc.Close()
	}
	return err == nil
}

// Write implements io.Writer for the outbox, which has one goroutine write at a time.
func (c *conn) Write(b []byte) (int, error) {
	if now := time.Now(); c.deadline.Sub(now) < writeTimeout-time.Second {
		c.deadline = now.Add(writeTimeout)
		_ = c.nc.SetWriteDeadline(c.deadline)
	}
	return c.nc.Write(b)
}

func (c *conn) sent(counts []count) {
	now := time.Now()
	for _, n := range counts {
		c.server.plugin.Answered(n.reason, now.Sub(n.began))
	}
}

// read reads into the session's buffer. It reports false at the end of the connection.
func (c *conn) read() bool {
	if c.s.greeted && !c.welcomed {
		c.welcome()
	}
	for {
		n, err := c.nc.Read(c.s.in.room())
		if n > 0 {
			c.s.receive(n)
			return true
		}
		switch {
		case err == nil:
			err = io.ErrNoProgress
		case errors.Is(err, os.ErrDeadlineExceeded) && c.leaving.Load() && c.leave():
			continue
		}
		c.s.err = err
		return false
	}
}

// welcome is called after the first frame.
func (c *conn) welcome() {
	c.welcomed = true
	c.readBefore(time.Time{})
	if c.s.release == c.s.plugin.Version {
		c.server.log.Info("a worker of Kong uses the companion handler")
		return
	}
	c.server.log.Warn(`the companion handler in Kong is of another release: write its files again with "kafka-upstream -companion", and restart Kong`, "handler", c.s.release, "process", c.s.plugin.Version)
}

func (c *conn) readBefore(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leaving.Load() {
		_ = c.nc.SetReadDeadline(t)
	}
}

// stop has the reading goroutine tell the worker that the server leaves: requests that it sends
// from then on are not handled, and it hangs up when all others are answered.
func (c *conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving.Store(true)
	_ = c.nc.SetReadDeadline(time.Now())
}

// leave is called when nothing came by the deadline. It reports false if the worker should have
// hung up.
func (c *conn) leave() bool {
	if c.told && c.inFlight.Load() == 0 {
		return false
	}
	if !c.told {
		c.told = true
		c.out.frame(func(b []byte) []byte { return appendHeader(b, header{kind: kindLeave}) })
		if !c.flush() {
			return false
		}
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(c.server.endTimeout))
	return true
}

// end closes the connection. What is left of its requests is answered to nobody.
func (c *conn) end() {
	_ = c.nc.Close()
	c.report()
	c.s.in.free()
	c.s.configs.removeAll()
	c.server.remove(c)
}

// report logs why the connection has ended, unless it is the usual end.
func (c *conn) report() {
	err := c.s.err
	switch log := c.server.log; {
	case errors.As(err, new(errVersion)):
		log.Error("the companion handler cannot be served", "error", err)
	case errors.Is(err, errFrame):
		log.Error("closing a connection to the companion's socket: its peer is no companion handler of this release", "error", err)
	case errors.Is(err, memory.ErrFull):
		log.Warn("closing a connection of the companion handler", "error", err)
	case errors.Is(err, os.ErrDeadlineExceeded) && !c.s.greeted && !c.leaving.Load():
		log.Warn("closing a connection to the companion's socket: nothing came in time")
	default:
		log.Debug("a worker of Kong has disconnected from the companion's socket", "error", err)
	}
}
