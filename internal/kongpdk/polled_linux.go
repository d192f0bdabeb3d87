package kongpdk

import (
	"errors"
	"io"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// offLoop is how many bytes of replies make a request one that takes long: its
// message alone would hold up the others.
const offLoop = 64 << 10

// polled is a connection as the loop that serves it has it. It is the
// connection's stream, of which nothing ever waits.
type polled struct {
	loop   *loop
	conn   *conn
	fd     int
	ready  bool // there may be something to read
	added  bool // the loop is told when there is
	fresh  bool // is among the loop's fresh ones
	exited bool // the client was answered: all that follows is the end

	partial time.Time // when sweep first saw an incomplete command

	// in is the instance whose calls were sent to Kong, nil if none.
	in *instance
}

var _ stream = (*polled)(nil)

// Read implements io.Reader. Where nothing has come it returns errAgain.
func (p *polled) Read(b []byte) (int, error) {
	for p.ready {
		n, err := syscall.Read(p.fd, b)
		switch {
		case n > 0:
			p.ready = n == len(b) // else that was all, and the next call would be for nothing
			return n, nil
		case err == nil:
			return 0, io.EOF
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			p.ready = false
		default:
			return 0, os.NewSyscallError("read", err)
		}
	}
	return 0, errAgain
}

// Write implements io.Writer. What we write is short, so that it has room in the
// socket's buffer unless the peer reads nothing at all: then the connection
// leaves the loop, and its own goroutine waits.
func (p *polled) Write(b []byte) (int, error) {
	for {
		n, err := syscall.Write(p.fd, b)
		switch {
		case n == len(b):
			return n, nil
		case errors.Is(err, unix.EINTR):
		case err != nil && !errors.Is(err, unix.EAGAIN):
			return 0, os.NewSyscallError("write", err)
		default:
			n = max(n, 0)
			p.conn.leave()
			p.conn.await()
			rest, err := p.conn.nc.Write(b[n:])
			return n + rest, err
		}
	}
}

// Close implements io.Closer.
func (p *polled) Close() error { return unix.Close(p.fd) }

// SetDeadline does nothing: the loop looks for those that take too long.
func (*polled) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, as SetDeadline.
func (*polled) SetReadDeadline(time.Time) error { return nil }

// leave makes the calling goroutine, which has run the loop, the connection's
// own. Another one runs the loop from here on.
func (p *polled) leave(c *conn) {
	l := p.loop
	l.forget(p)
	f := os.NewFile(uintptr(p.fd), "connection of Kong") // which waits by Go's own poller
	_ = f.SetDeadline(c.began.Add(l.server.eventTimeout))
	c.nc, c.in.src, c.poll = f, f, nil
	l.server.adopt(c)
	go l.run()
}

// proceed does what can be done with what has come. The error is errAgain if
// more has to come, and that of the connection's end otherwise. It is nil where
// the connection has left the loop and its command is done.
func (p *polled) proceed() (err error) {
	c := p.conn
	defer func() {
		if v := recover(); v != nil { // neither a command nor a request: those see to themselves
			c.server.log.Error("serving a connection has panicked; the server goes on", "panic", v, "stack", string(debug.Stack()))
			err = errOver
		}
	}()
	for {
		switch {
		case p.exited:
			err = c.drain()
		case p.in != nil:
			err = p.access()
		default:
			err = p.command()
		}
		if err != nil || c.poll == nil {
			return err
		}
	}
}

// command takes a command up. An event's calls are sent; any other command is rare
// and may take long, so that the connection leaves.
func (p *polled) command() error {
	c := p.conn
	c.in.next()
	s, err := c.in.frame(maxCommand)
	if err != nil {
		return err
	}
	if !c.begin() {
		return errOver
	}
	p.partial = time.Time{}
	cmd, err := parseCommand(c.in.bytes(s))
	if err != nil {
		return err
	}
	if cmd.kind != cmdHandleEvent {
		c.leave()
		return c.safely(cmd)
	}
	c.sequence = cmd.sequence
	in, err := c.lookUp(cmd)
	switch {
	case err != nil:
		return err
	case in == nil:
		return p.endEvent()
	}
	c.x.begin(c)
	p.in = in
	if in.calls.size() == 0 {
		return nil
	}
	if err := c.x.sendCalls(in.calls); err != nil || c.poll != nil {
		return err
	}
	return p.access() // the peer did not read, and the connection has left
}

// access lets the instance handle the request if all replies are here.
func (p *polled) access() error {
	c, in := p.conn, p.in
	if err := c.x.readReplies(in.calls, 0); err != nil {
		return err
	}
	p.in = nil
	if len(c.in.buf) > offLoop {
		c.leave()
	}
	c.access(in)
	switch {
	case c.poll == nil:
		return c.over()
	case c.x.err != nil:
		return c.x.err
	case c.x.exited && !c.x.logged:
		return errOver
	case c.x.exited:
		p.exited = true
		return nil
	}
	return p.endEvent()
}

func (p *polled) endEvent() error {
	c := p.conn
	if err := c.endEvent(); err != nil || c.poll == nil {
		return err
	}
	if !c.end() {
		return errOver
	}
	return nil
}
