package kongpdk

import (
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func oneLoop(s *Server) { s.loops, s.Portable = 1, false }

// shutdown begins a shutdown, and returns once every loop is told to end.
func (f *fixture) shutdown() (wait func()) {
	var ending sync.WaitGroup
	ending.Go(func() {
		if err := f.Shutdown(f.t.Context()); err != nil {
			f.t.Error(err)
		}
	})
	for !f.isClosing() {
		runtime.Gosched()
	}
	return ending.Wait
}

// ended fails the test unless the connection is closed without an answer, and not reset.
func (p *peer) ended(which string) {
	p.t.Helper()
	if b, err := p.frame(); err != io.EOF {
		p.t.Errorf("%s: got %q, %v, want the connection closed", which, b, err)
	}
}

// What has come when the loop ends is read, and not done, before connections are closed.
// The loop is held while it comes.
func TestCommandsBeforeTheEndOfALoopAreNotMetByAReset(t *testing.T) {
	f := newFixture(t, oneLoop)
	entered, free := make(chan struct{}), make(chan struct{})
	f.access = func(*Exchange) {
		close(entered) // fails if there is a second event
		<-free
	}
	id := f.dial().start("{}")
	idle, busy := f.dial(), f.dial()
	for _, p := range []*peer{idle, busy} { // they are accepted, so that the loop is not held while it accepts
		p.send(eventCall(1, id, "other"))
		p.read()
		p.readReturn()
	}
	busy.send(eventCall(1, id, "access"))
	<-entered
	fresh := f.dial()
	for _, p := range []*peer{idle, busy, fresh} {
		p.send(eventCall(2, id, "access"))
	}
	wait := f.shutdown()
	close(free)
	busy.read()
	busy.readReturn()
	idle.ended("idle")
	fresh.ended("not accepted")
	wait()
}

// The command is in the socket when the one before it is done, because the reply before it
// has filled the buffer.
func TestCommandBehindTheLastOneOfALoopIsNotMetByAReset(t *testing.T) {
	f := newFixture(t, oneLoop)
	f.calls.add("kong.request.get_raw_body", nil, 0)
	f.access = func(*Exchange) {}
	id := f.dial().start("{}")
	p := f.dial()
	p.send(eventCall(1, id, "access"))
	p.read()
	p.read()
	wait := f.shutdown()
	for { // until the loop has looked at its connections, after it has closed the listener
		c, err := dialPath(f.path)
		if err != nil {
			break
		}
		_ = c.Close()
	}
	p.send([]byte(strings.Repeat("x", 60<<10)), eventCall(2, id, "access"))
	p.read()
	p.readReturn()
	p.ended("pooled")
	wait()
}
