package kongpdk

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A request that waits holds up nobody, however many there are, and is answered
// when it has what it waits for.
func TestRequestsThatBlockHoldUpNoOther(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		i := f.calls.add("kong.request.get_method", nil, 0)
		free := make(chan struct{})
		var blocked atomic.Int64
		f.access = func(x *Exchange) {
			if b, _ := x.reply(i); string(b) == "slow" {
				x.WillBlock()
				x.WillBlock() // more than once is as good
				blocked.Add(1)
				<-free
				if b, err := x.reply(i); string(b) != "slow" || err != nil {
					t.Errorf("the reply is %q, %v once it has waited", b, err)
				}
			}
			x.exit(ok)
		}
		id := f.dial().start("{}")
		ask := func(kind string) *peer {
			p := f.dial()
			p.send(eventCall(1, id, "access"))
			p.read()
			p.read()
			p.send([]byte(kind))
			return p
		}
		var slow []*peer
		for range 50 {
			slow = append(slow, ask("slow"))
			if a, _ := ask("quick").exit(); a.Status != 200 {
				t.Fatalf("exit is %v", a)
			}
		}
		for blocked.Load() < 50 {
			time.Sleep(time.Millisecond)
		}
		close(free)
		for _, p := range slow {
			if a, _ := p.exit(); a.Status != 200 {
				t.Fatalf("exit is %v", a)
			}
		}
	})
}

// After a request that has waited and did not exit, the connection goes on.
func TestConnectionThatHasBlockedTakesFurtherCommands(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.access = func(x *Exchange) { x.WillBlock() }
		id := f.dial().start("{}")
		p := f.dial()
		for i := range int64(5) {
			p.send(eventCall(i, id, "access"))
			if b := p.read(); len(b) != 0 {
				t.Fatalf("got %q, want the empty frame", b)
			}
			if ret := p.readReturn(); ret.Sequence != i {
				t.Fatalf("returned %v, want sequence %d", ret, i)
			}
		}
	})
}

func TestPanicOfARequestThatHasBlockedIsAnswered(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.access = func(x *Exchange) {
			x.WillBlock()
			panic("on purpose")
		}
		id := f.dial().start("{}")
		for range 3 {
			p := f.dial()
			p.send(eventCall(1, id, "access"))
			if a, _ := p.exit(); a.Status != 500 {
				t.Errorf("exit is %v", a)
			}
		}
	})
}

// A message of a large request takes long to make.
func TestLargeRequestIsHandledWithoutTheOthers(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		i := f.calls.add("kong.request.get_raw_body", nil, 0)
		large := strings.Repeat("x", 1<<20)
		entered, free := make(chan struct{}), make(chan struct{})
		f.access = func(x *Exchange) {
			if b, _ := x.reply(i); len(b) == len(large) {
				close(entered)
				<-free
			}
			x.exit(ok)
		}
		id := f.dial().start("{}")
		p, q := f.dial(), f.dial()
		for _, p := range []*peer{p, q} {
			p.send(eventCall(1, id, "access"))
			p.read()
			p.read()
		}
		p.send([]byte(large))
		<-entered
		q.send([]byte("small"))
		if a, _ := q.exit(); a.Status != 200 {
			t.Errorf("exit is %v", a)
		}
		close(free)
		if a, _ := p.exit(); a.Status != 200 {
			t.Errorf("exit is %v", a)
		}
	})
}

// A peer that reads nothing while the answers to it fill its socket's buffer
// holds up nobody, and nothing is lost once it reads.
func TestPeerThatDoesNotReadHoldsUpNoOther(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.calls.add(strings.Repeat("a long name ", 100), nil, 0)
		f.access = func(*Exchange) {}
		id := f.dial().start("{}")
		deaf := f.dial()
		const events = 2000
		var sending sync.WaitGroup
		sending.Go(func() {
			for i := range int64(events) {
				if _, err := deaf.Write(appendFrame(appendFrame(nil, eventCall(i, id, "access")), []byte("reply"))); err != nil {
					t.Errorf("event %d: %v", i, err)
					return
				}
			}
		})
		for range 20 {
			p := f.dial()
			p.send(eventCall(1, id, "access"), nil)
			p.read()
			p.read()
			p.read()
			p.readReturn()
		}
		for i := range int64(events) {
			deaf.read()
			deaf.read()
			deaf.read()
			if ret := deaf.readReturn(); ret.Sequence != i {
				t.Fatalf("returned %v, want sequence %d", ret, i)
			}
		}
		sending.Wait()
	})
}

// A request whose replies do not come is given up, so that it holds nothing for
// ever; a connection that has nothing to do is kept.
func TestRequestsThatTakeTooLongAreGivenUp(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t, func(s *Server) { s.eventTimeout = 200 * time.Millisecond })
		f.calls.add("kong.request.get_method", nil, 0)
		id := f.dial().start("{}")
		idle := f.dial()
		p := f.dial()
		p.send(eventCall(1, id, "access"))
		p.read()
		p.read()
		p.closed()
		idle.send(eventCall(1, id, "access"), nil)
		idle.read()
		idle.read()
		if a, _ := idle.exit(); a.Status != 200 {
			t.Errorf("exit is %v", a)
		}
	})
}

// Shutdown ends those that block too, and cuts them when its time is over.
func TestShutdownCutsWhatBlocks(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		entered, free := make(chan struct{}), make(chan struct{})
		f.access = func(x *Exchange) {
			x.WillBlock()
			close(entered)
			<-free
			x.exit(ok)
		}
		p := f.dial()
		p.send(eventCall(1, f.dial().start("{}"), "access"))
		<-entered
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("no time left")
		cancel(cause)
		if err := f.Shutdown(ctx); !errors.Is(err, cause) {
			t.Errorf("Shutdown: %v, want %v", err, cause)
		}
		p.closed()
		close(free)
		f.serving.Wait()
		if got := f.seen(&f.answered); len(got) > 0 {
			t.Errorf("a client that is lost was answered: %q", got)
		}
	})
}

// Many connections that do all there is, while the server is shut down.
func TestShutdownUnderLoad(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.calls.add("kong.request.get_method", nil, 0)
		var n atomic.Int64
		f.access = func(x *Exchange) {
			if n.Add(1)%3 == 0 {
				x.WillBlock()
			}
			x.exit(ok)
		}
		id := f.dial().start("{}")
		var clients sync.WaitGroup
		var answered atomic.Int64
		for range 8 {
			clients.Go(func() {
				for {
					p, err := dialPath(f.path)
					if err != nil {
						return // the server listens no more
					}
					_, err = p.Write(appendFrame(appendFrame(nil, eventCall(1, id, "access")), []byte("GET")))
					for err == nil { // until the exit, or the end
						var b []byte
						if b, err = (&peer{t, p}).frame(); string(b) == "kong.response.exit" {
							answered.Add(1)
							break
						}
					}
					_ = p.Close()
				}
			})
		}
		for answered.Load() < 500 {
			time.Sleep(time.Millisecond)
		}
		if err := f.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		clients.Wait()
		if got := answered.Load(); got > n.Load() {
			t.Errorf("%d were answered, and %d were handled", got, n.Load())
		}
	})
}

// Connections leave the loop, which changes goroutines for each, while it is told
// to end.
func TestShutdownIsNotMissedWhileConnectionsLeaveTheLoop(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		for range 30 {
			f := newFixture(t)
			id := f.dial().start("{}")
			var pooled []*peer
			for range 20 {
				p := f.dial() // in the loop yet
				p.send(eventCall(1, id, "other"))
				p.read()
				p.read()
				pooled = append(pooled, p)
			}
			var sending sync.WaitGroup
			for _, p := range pooled {
				sending.Go(func() { _, _ = p.Write(appendFrame(nil, startCall(2, "{}"))) })
			}
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			began := time.Now()
			err := f.Shutdown(ctx)
			cancel()
			if took := time.Since(began); err != nil || took > 3*time.Second {
				t.Fatalf("Shutdown took %v: %v", took, err)
			}
			sending.Wait()
		}
	})
}

// The calls meet a full socket, of a peer that does not read, and go out in part.
func TestRequestWhoseCallsHaveToWaitIsHandled(t *testing.T) {
	for _, size := range []int{1, 40, 100, 300, 500} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			eachWay(t, func(t *testing.T) {
				f := newFixture(t)
				f.calls.add(strings.Repeat("m", size), nil, 0)
				f.access = func(*Exchange) {}
				id := f.dial().start("{}")
				p := f.dial()
				const events = 1000
				var sent atomic.Int64
				var sending sync.WaitGroup
				sending.Go(func() {
					for i := range int64(events) {
						if _, err := p.Write(appendFrame(appendFrame(nil, eventCall(i, id, "access")), []byte("reply"))); err != nil {
							t.Errorf("event %d: %v", i, err)
							return
						}
						sent.Add(1)
					}
				})
				for n := int64(-1); n != sent.Load(); time.Sleep(5 * time.Millisecond) { // until neither side gets on
					n = sent.Load()
				}
				for i := range int64(events) {
					for range 3 {
						p.read()
					}
					if ret := p.readReturn(); ret.Sequence != i {
						t.Fatalf("returned %v, want sequence %d", ret, i)
					}
				}
				sending.Wait()
			})
		})
	}
}
