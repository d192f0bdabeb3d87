package kongpdk

import (
	"os"
	"testing"
	"time"
)

// lateStream is a connection on which the late command comes once the server has begun to
// shut down.
type lateStream struct {
	in, late []byte
	stopping bool
	waits    bool // there is time left to read
}

func (s *lateStream) Read(b []byte) (n int, err error) {
	switch {
	case len(s.in) > 0:
		n = copy(b, s.in)
		s.in = s.in[n:]
	case s.stopping && s.waits && len(s.late) > 0:
		n = copy(b, s.late)
		s.late = s.late[n:]
	default:
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func (s *lateStream) SetReadDeadline(t time.Time) error {
	s.waits = t.IsZero() || time.Until(t) > 0
	return nil
}

func (s *lateStream) SetDeadline(t time.Time) error     { return s.SetReadDeadline(t) }
func (s *lateStream) Write(b []byte) (n int, err error) { return len(b), nil }
func (s *lateStream) Close() error                      { return nil }

// A command that comes as the server ends is read, and not done, before its connection is
// closed: Kong puts it to the successor then, and not if the connection was reset.
func TestCommandThatComesAtTheEndIsReadAndNotDone(t *testing.T) {
	for _, busy := range []bool{false, true} {
		f := newFixture(t)
		id := f.dial().start("{}")
		s := &lateStream{late: appendFrame(nil, eventCall(2, id, "access"))}
		c := newNetConn(&session{server: f.Server, in: buffer{buf: getBuffer()}}, s)
		stop := func() {
			s.stopping = true
			c.stopWhenIdle()
		}
		events := 0
		f.access = func(*Exchange) {
			if events++; events == 1 {
				stop()
			}
		}
		want := 0
		if busy {
			s.in, want = appendFrame(nil, eventCall(1, id, "access")), 1
		} else {
			stop()
		}
		c.serve()
		if len(s.late) > 0 || events != want {
			t.Errorf("busy %t: %d bytes are not read, and %d events were handled, want %d", busy, len(s.late), events, want)
		}
	}
}
