package kongpdk

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"kafka-upstream/internal/plugin"
)

// deferring is a fixture whose requests are answered when the test says so.
type deferring struct {
	*fixture
	deferred chan plugin.Deferred
	id       int32
}

func newDeferring(t *testing.T, options ...func(*Server)) *deferring {
	f := &deferring{fixture: newFixture(t, options...), deferred: make(chan plugin.Deferred, 100)}
	f.access = func(x *Exchange) { f.deferred <- x.Defer() }
	f.id = f.dial().start("")
	return f
}

// request sends a request, and returns when it is deferred.
func (f *deferring) request() (*peer, plugin.Deferred) {
	p := f.dial()
	p.send(eventCall(1, f.id, "access"))
	return p, <-f.deferred
}

func TestDeferredAnswersLeaveInAnyOrder(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newDeferring(t)
		var peers []*peer
		var answers []plugin.Deferred
		for range 20 {
			p, d := f.request()
			peers, answers = append(peers, p), append(answers, d)
		}
		var wg sync.WaitGroup
		for i, d := range slices.Backward(answers) {
			wg.Go(func() {
				d.Answer(response(200+i, ""))
				d.Answer(response(500, "")) // does not count
			})
		}
		wg.Wait()
		for i, p := range peers {
			if a, _ := p.exit(); int(a.Status) != 200+i {
				t.Errorf("request %d is answered %d", i, a.Status)
			}
			p.closed()
		}
		until(t, "20 answers are counted", func() bool { return len(f.seen(&f.answered)) == 20 })
	})
}

func TestDeferredAnswerMayComeBeforeTheHandlerReturns(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newDeferring(t)
		f.access = func(x *Exchange) { x.Defer().Answer(ok) }
		for range 3 {
			p := f.dial()
			p.send(eventCall(1, f.id, "access"))
			p.exit()
		}
		f.access = func(x *Exchange) { x.WillBlock(); x.Defer().Answer(ok) }
		p := f.dial()
		p.send(eventCall(1, f.id, "access"))
		p.exit()
	})
}

func TestLinesOfADeferredAnswerAreSent(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newDeferring(t)
		p, d := f.request()
		d.Answer(plugin.Response{Status: 503, Log: []string{"a", "b"}})
		if a, logs := p.exit(); a.Status != 503 || logs != 2 {
			t.Errorf("%d with %d lines", a.Status, logs)
		}
		_ = p.Close()
	})
}

// A connection that ends takes its answer with it, and no other connection gets it.
func TestDeferredAnswerOfAConnectionThatEndedFindsNobody(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newDeferring(t, func(s *Server) { s.eventTimeout = 500 * time.Millisecond })
		first, late := f.request()
		_ = first.Close()
		silent, tooLate := f.request()
		silent.closedOrLate(tooLate)
		for range 5 { // they have the memory of the ones before
			p, d := f.request()
			late.Answer(response(500, "of another request"))
			tooLate.Answer(response(500, "of another request"))
			d.Answer(ok)
			if a, _ := p.exit(); a.Status != 200 {
				t.Errorf("answered %d", a.Status)
			}
		}
	})
}

// closedOrLate waits until the server closes the connection because its request takes too long.
// Where the connection has a goroutine, that waits for the answer first.
func (p *peer) closedOrLate(d plugin.Deferred) {
	time.AfterFunc(time.Second, func() { d.Answer(ok) })
	p.closed()
}

func TestPanicAfterDeferIsTheAnswer(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newDeferring(t)
		f.access = func(x *Exchange) {
			f.deferred <- x.Defer()
			panic("of a test")
		}
		p, d := f.request()
		d.Answer(ok)
		if a, _ := p.exit(); a.Status != 500 {
			t.Errorf("answered %d", a.Status)
		}
		p.closed()
	})
}

// What a peer sends before its answer is there costs nothing, and is no reason to close.
func TestPeerThatSendsBeforeItsDeferredAnswerIsAnswered(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newDeferring(t)
		p, d := f.request()
		p.send(eventCall(2, f.id, "access"))
		other, d2 := f.request() // the loop has seen both by now
		d2.Answer(ok)
		other.exit()
		d.Answer(ok)
		p.exit()
	})
}

func TestShutdownWaitsForDeferredAnswers(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newDeferring(t, func(s *Server) { s.endTimeout = 20 * time.Millisecond })
		p, d := f.request()
		ended := make(chan error, 1)
		go func() { ended <- f.Shutdown(context.Background()) }()
		select {
		case err := <-ended:
			t.Fatalf("Shutdown does not wait: %v", err)
		case <-time.After(100 * time.Millisecond): // longer than peers may take
		}
		d.Answer(ok)
		if a, _ := p.exit(); a.Status != 200 {
			t.Errorf("answered %d", a.Status)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestShutdownThatIsForcedLeavesDeferredAnswers(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newDeferring(t)
		p, d := f.request()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := f.Shutdown(ctx); err == nil {
			t.Error("nothing says that a connection was closed")
		}
		d.Answer(ok)
		for err := error(nil); err == nil; { // a loop may still send it
			_, err = p.frame()
		}
	})
}
