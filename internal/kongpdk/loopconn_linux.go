package kongpdk

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loopConn is the driver of a session in a loop, by system calls that never wait. Their
// errors are bare errnos, so the loop compares them with ==: errors.Is would take 2 % of a
// request's time.
type loopConn struct {
	loop *loop
	s    *session
	fd   int
	own  *netConn // the driver since detach; nil while the loop serves the session

	readable     bool // there may be something to read
	added        bool // to epoll
	unregistered bool // in the loop's list of connections that are not added to epoll yet
	stopping     bool // to be closed once it has no command
	idleSeen     bool // was idle when idle connections were last closed

	partial time.Time // when sweep first saw an incomplete command
}

var _ driver = (*loopConn)(nil)

// errAgain is the error of reading when there is nothing to read for now.
var errAgain = errors.New("nothing to read for now")

// detach implements driver: another goroutine runs the loop from now on.
func (p *loopConn) detach() *netConn {
	if p.own != nil {
		return p.own
	}
	l, s := p.loop, p.s
	l.forget(p)
	f := os.NewFile(uintptr(p.fd), "connection from Kong") // which waits by Go's own poller
	p.own = newNetConn(s, f)
	p.own.hasCommand = true
	_ = f.SetDeadline(s.began().Add(l.server.eventTimeout))
	l.server.adopt(p.own)
	go l.run()
	return p.own
}

// deferral implements driver.
func (p *loopConn) deferral() *deferral { return &deferral{session: p.s, deliver: p.loop.deliver} }

// serve makes all steps that the received bytes allow. It reports whether the session goes on;
// if it was detached meanwhile, p.own must serve it.
func (p *loopConn) serve() (more bool) {
	s := p.s
	defer s.recovered()
	for p.own == nil {
		act := s.step()
		if len(s.send) > 0 {
			if err := p.write(s.send); err != nil {
				s.unsent(err)
				return false
			}
			s.sent()
			if p.own != nil {
				return p.own.do(act)
			}
		}
		switch act {
		case read:
			n, err := p.read(s.in.room())
			if err == errAgain {
				return true
			}
			if err != nil {
				s.unread(err)
				return false
			}
			s.in.add(n)
		case begin:
			if p.stopping {
				s.fail(errDone)
				return false
			}
			p.idleSeen, p.partial = false, time.Time{}
			s.begin(time.Now())
		case detach:
			p.detach()
		case run:
			s.run()
		case wait: // see loop.answerDeferred
			return true
		case done: // a connection that is to stop is read once more, and closed by ending
		case end:
			return false
		}
	}
	return true
}

// used reports whether the session has a command, or has received a part of one.
func (p *loopConn) used() bool { return p.s.hasCommand() || p.s.in.pending() > 0 }

// read reads what was received, without waiting.
func (p *loopConn) read(b []byte) (int, error) {
	for p.readable {
		n, err := syscall.Read(p.fd, b)
		switch {
		case n > 0:
			p.readable = n == len(b) // else that was all, and another call would be in vain
			return n, nil
		case err == nil:
			return 0, io.EOF
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			p.readable = false
		default:
			return 0, os.NewSyscallError("read", err)
		}
	}
	return 0, errAgain
}

// write writes b, which is short: it fits into the socket's buffer unless the peer reads
// nothing at all. Then write detaches the session, and waits in its own goroutine.
func (p *loopConn) write(b []byte) error {
	for {
		n, err := syscall.Write(p.fd, b)
		switch {
		case n == len(b):
			return nil
		case err == unix.EINTR:
		case err != nil && err != unix.EAGAIN:
			return os.NewSyscallError("write", err)
		default:
			c := p.detach()
			c.await()
			_, err := c.nc.Write(b[max(n, 0):])
			return err
		}
	}
}
