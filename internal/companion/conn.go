package companion

import (
	"errors"
	"net"
	"os"
	"runtime/debug"
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
	// tick is how often an idle connection looks whether it is to end.
	tick = 250 * time.Millisecond
)

// maxInline is how large a request's frame may be to be handled while others wait: the message
// of more alone would hold them up.
const maxInline = 64 << 10

// conn is the driver of a session. The goroutine that reads the connection also handles its
// requests. One that may block keeps that goroutine, and another one goes on reading.
type conn struct {
	server *Server
	stream stream
	s      *session // the reading goroutine's
	out    outbox
	uid    func() (uint32, error) // of the worker

	refs     atomic.Int32 // who may use the stream: the reading goroutine, and each request in flight
	inFlight atomic.Int32 // requests that have a goroutine of their own, or whose answer is deferred
	deferred atomic.Int32 // deferred answers that came after the last flushDeferred
	leaving  atomic.Bool

	// The reading goroutine's.
	welcomed bool      // the first frame has come, and that was logged
	told     bool      // the worker knows that the server leaves
	deadline time.Time // of the first frame, and then of the worker's hanging up
}

// newConn returns the driver of a connection, which it takes over.
func newConn(server *Server, nc net.Conn) (*conn, error) {
	uid, uidErr := bodyfile.PeerUID(nc)
	stream, err := newStream(nc)
	if err != nil {
		return nil, err
	}
	c := &conn{server: server, stream: stream, deadline: time.Now().Add(helloTimeout)}
	c.uid = func() (uint32, error) { return uid, uidErr }
	c.s = &session{
		plugin: server.plugin, in: newBuffer(server.Memory), out: &c.out,
		configs: newConfigs(server.Memory.Size()), leaving: c.leaving.Load,
	}
	c.s.x = &exchange{conn: c}
	c.refs.Store(1)
	return c, nil
}

// release ends the use of the stream.
func (c *conn) release() {
	if c.refs.Add(-1) == 0 {
		c.stream.close()
	}
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
	c.refs.Add(1)
	c.inFlight.Add(1)
	c.server.held.Add(blockedSize)
	c.server.serving.Add(1)
	c.s.x = &exchange{conn: c}
	go c.serve()
}

// flush sends what is in the outbox. It reports false if the connection is broken: the reading
// goroutine then ends it, and says why once for all requests in flight.
func (c *conn) flush() bool {
	err := c.out.flush(c, c.sent)
	if err != nil {
		c.stream.hangUp()
	}
	return err == nil
}

// flushDeferred sends the deferred answers that have come, and ends their use of the connection.
// Whoever adds the first of them has a goroutine call it: a worker that does not read would
// block the caller.
func (c *conn) flushDeferred() {
	n := c.deferred.Swap(0)
	c.flush()
	c.server.held.Add(-deferredSize * int64(n))
	c.inFlight.Add(-n)
	if c.refs.Add(-n) == 0 {
		c.stream.close()
	}
	c.server.serving.Add(-int(n))
}

// Write implements io.Writer for the outbox.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.stream.write(b, writeTimeout); err != nil {
		return 0, err
	}
	return len(b), nil
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
		if c.leaving.Load() && !c.told {
			c.told = true
			c.deadline = time.Now().Add(c.server.endTimeout)
			c.out.frame(func(b []byte) []byte { return appendHeader(b, header{kind: kindLeave}) })
			if !c.flush() {
				return false
			}
		}
		n, err := c.stream.read(c.s.in.room(), min(tick, c.server.endTimeout))
		if err == nil {
			c.s.receive(n)
			return true
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.isLate() {
			c.s.err = err
			return false
		}
	}
}

// isLate reports whether the worker should have sent the first frame by now, or hung up.
func (c *conn) isLate() bool {
	now := time.Now()
	if c.inFlight.Load() > 0 {
		c.deadline = now.Add(c.server.endTimeout)
	}
	return (!c.welcomed || c.told) && now.After(c.deadline)
}

// welcome is called after the first frame.
func (c *conn) welcome() {
	c.welcomed = true
	if c.s.release == c.s.plugin.Version {
		c.server.log.Info("a worker of Kong uses the companion handler")
		return
	}
	c.server.log.Warn(`the companion handler in Kong is of another release: write its files again with "kafka-upstream -companion", and restart Kong`, "handler", c.s.release, "process", c.s.plugin.Version)
}

// stop has the reading goroutine tell the worker, within a tick, that the server leaves: requests
// that it sends from then on are not handled, and it hangs up when all others are answered.
func (c *conn) stop() { c.leaving.Store(true) }

// end closes the connection. What is left of its requests is answered to nobody.
func (c *conn) end() {
	c.stream.hangUp()
	c.report()
	c.s.in.free()
	c.s.configs.removeAll()
	c.server.remove(c)
	c.release()
}

// report logs why the connection has ended, unless it is the usual end.
func (c *conn) report() {
	err := c.s.err
	unsent := c.out.failure()
	switch log := c.server.log; {
	case errors.Is(unsent, errUnread), errors.Is(unsent, os.ErrDeadlineExceeded):
		log.Error("closing the connection of a worker that does not read its answers")
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
