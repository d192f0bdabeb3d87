package kongpdk

import (
	"io"
	"net"
	"sync"
	"time"

	"kafka-upstream/internal/plugin"
)

// A peer that stalls holds no resource forever.
const (
	// eventTimeout bounds a request's conversation. It is above the 60 s after
	// which Kong itself gives up.
	eventTimeout = 65 * time.Second
	// commandTimeout bounds how long it takes to receive a command, from its first
	// byte on. Kong sends one in two writes, without a pause between them.
	commandTimeout = 10 * time.Second
	// endTimeout bounds how long Shutdown waits for a peer to send or to read. Kong
	// replies within milliseconds. An event whose connection closes before its replies
	// arrive had no effect, and Kong sends it to the successor.
	endTimeout = 2 * time.Second
	// lastRead is how long an idle connection is still read before it is closed.
	lastRead = 5 * time.Millisecond
)

// netConn is the driver of a session that has a goroutine of its own.
type netConn struct {
	s     *session
	nc    stream
	timed bool // the command that is being received has a deadline

	answers chan plugin.Response // those that were deferred; nil until there is one

	mu         sync.Mutex
	hasCommand bool
	stopping   bool // to be closed once it has no command
	idleSeen   bool // was idle when idle connections were last closed
}

// stream is what a netConn needs of a connection.
type stream interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
}

var _ driver = (*netConn)(nil)

// newNetConn returns the driver that serves the session from now on.
func newNetConn(s *session, nc stream) *netConn {
	c := &netConn{s: s, nc: nc}
	s.driver, s.blocking = c, true
	return c
}

// detach implements driver.
func (c *netConn) detach() *netConn { return c }

// deferral implements driver. The goroutine of the connection waits for the answer.
func (c *netConn) deferral() *deferral {
	answers := make(chan plugin.Response, 1) // that of a request that panicked is never received
	c.answers = answers
	return &deferral{session: c.s, deliver: func(d *deferral) { answers <- d.answer }}
}

// serve runs until the connection ends.
func (c *netConn) serve() {
	for c.next() {
	}
	c.s.report()
}

// next makes a step. It reports false at the end of the session.
func (c *netConn) next() (more bool) {
	defer c.s.recovered()
	act := c.s.step()
	if len(c.s.send) > 0 {
		c.await()
		if _, err := c.nc.Write(c.s.send); err != nil {
			c.s.unsent(err)
			return false
		}
		c.s.sent()
	}
	return c.do(act)
}

// do does an action. It reports false at the end of the session.
func (c *netConn) do(act action) bool {
	switch act {
	case read:
		return c.read()
	case begin:
		return c.begin()
	case run:
		c.s.run()
		return true
	case wait:
		c.s.answer(<-c.answers)
		return true
	case detach: // it is detached
		return true
	case done:
		c.done()
		return true
	}
	return false
}

// read waits without limit for the first byte of a command, and for at most commandTimeout for
// the rest of it.
func (c *netConn) read() bool {
	if !c.timed && c.s.in.pending() > 0 && !c.s.hasCommand() {
		c.timed = true
		c.mu.Lock()
		if !c.stopping { // else it already has a deadline
			_ = c.nc.SetReadDeadline(time.Now().Add(c.s.server.commandTimeout))
		}
		c.mu.Unlock()
	}
	n, err := c.nc.Read(c.s.in.room())
	c.s.in.add(n)
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	if n == 0 {
		c.s.unread(err)
	}
	return n > 0
}

// begin begins a command, unless the connection is to be closed: then nothing is done for the
// command, Kong gets no answer, and sends it to the successor.
func (c *netConn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		c.s.fail(errDone)
		return false
	}
	now := time.Now()
	c.hasCommand, c.idleSeen, c.timed = true, false, false
	c.s.begin(now)
	_ = c.nc.SetDeadline(now.Add(c.s.server.eventTimeout))
	return true
}

// done ends a command. A connection that is to be closed is still read for a moment.
func (c *netConn) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hasCommand = false
	_ = c.nc.SetDeadline(time.Time{})
	if c.stopping {
		c.readLast()
	}
}

// stopWhenIdle closes the connection as soon as it has no command.
func (c *netConn) stopWhenIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	if c.hasCommand {
		_ = c.nc.SetDeadline(time.Now().Add(c.s.server.endTimeout)) // see await
		return
	}
	c.readLast()
}

// readLast ends an idle connection after it was read for lastRead: closing with unread data
// would reset the connection, and Kong sends a command to the successor only if its
// connection was closed, not reset.
func (c *netConn) readLast() { _ = c.nc.SetReadDeadline(time.Now().Add(lastRead)) }

// await is called before each wait for the peer to send or to read. While the server shuts
// down, it bounds each such wait by endTimeout. It does not bound what the instance does in
// between.
func (c *netConn) await() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		_ = c.nc.SetDeadline(time.Now().Add(c.s.server.endTimeout))
	}
}

// closeIfIdle closes the connection if it was idle at the last call and still is.
func (c *netConn) closeIfIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.hasCommand || c.stopping:
	case c.idleSeen:
		c.stopping = true
		c.readLast()
	default:
		c.idleSeen = true
	}
}

// close ends the connection and gives back its buffer.
func (c *netConn) close() {
	_ = c.nc.Close()
	c.s.in.release()
}

// pdkConn is the connection as go-pdk sees it, which first reads what is in the buffer.
// go-pdk calls no more than Read and Write, so there is no net.Conn behind the others.
type pdkConn struct {
	net.Conn
	c *netConn
}

// Read implements net.Conn.
func (p pdkConn) Read(b []byte) (int, error) {
	if in := &p.c.s.in; in.pending() > 0 {
		n := copy(b, in.buf[in.at:])
		in.at += n
		return n, nil
	}
	return p.c.nc.Read(b)
}

// Write implements net.Conn.
func (p pdkConn) Write(b []byte) (int, error) {
	p.c.await()
	return p.c.nc.Write(b)
}
