package producer

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
)

// Ten minutes without brokers, and requests all the time. The time is a
// bubble's, so it takes a moment.
func TestTenMinutesOfOutageGrowNothingAndLoseNothing(t *testing.T) {
	address := closedPort(t)
	synctest.Test(t, func(t *testing.T) {
		const limit = 2000
		p := newProducer(testOptions([]string{address}, func(o *Options) { o.BufferRecords = limit }), Access{}, &PoolOptions{Log: discard}, new(pendingLines))
		refused := int64(0)
		minute := func() (goroutines int, heap uint64) {
			for range 600 {
				for range 10 {
					if err := p.Send(t.Context(), record("x")); errors.Is(err, ErrFull) {
						refused++
					} else if err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(100 * time.Millisecond)
			}
			_ = p.pending.next()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return runtime.NumGoroutine(), m.HeapAlloc
		}
		goroutines, heap := minute()
		for range 9 {
			minute()
		}
		if g, h := minute(); g > goroutines+5 || h > heap+heap/2 {
			t.Errorf("%d goroutines became %d, %d bytes of heap became %d", goroutines, g, heap, h)
		}
		if s := p.totals(); s.Accepted != limit || s.Buffered != limit || s.Rejected != refused || s.Failed != 0 {
			t.Errorf("%+v, %d were refused", s, refused)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if left := p.close(ctx, errAbandoned); left != limit {
			t.Errorf("%d left", left)
		}
		time.Sleep(time.Minute) // whatever still sleeps
	})
}

// wantLeft closes p, with no time to deliver anything.
func wantLeft(t *testing.T, p *Producer, n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	left := p.close(ctx, errAbandoned)
	if s := p.totals(); left != n || s.Undelivered+s.Buffered != n || s.Failed != 0 {
		t.Errorf("with %d attempts %d are left: %+v", p.o.MaxAttempts, left, s)
	}
}

// A record that was never tried is left at the end, however few attempts there are.
func TestRecordsThatWaitForALayoutAreLeftAtShutdown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var silent sync.WaitGroup
	silent.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close() // accepts, and says nothing
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		silent.Wait()
	})
	for _, attempts := range []int{1, 10} {
		p := newTestProducer(t, []string{l.Addr().String()}, func(o *Options) { o.MaxAttempts = attempts })
		send(t, p, "one", "two")
		wantLeft(t, p, 2)
	}
}

// So is one that waits for brokers which have gone, be it for its last attempt.
func TestRecordsThatWaitForABrokerAreLeftAtShutdown(t *testing.T) {
	for _, attempts := range []int{1, 10} {
		f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
		p := newTestProducer(t, f.Addrs(), func(o *Options) { o.MaxAttempts = attempts; o.Linger = time.Millisecond })
		send(t, p, "x")
		settled(t, p)
		p.cluster.CloseIdleConnections() // one that breaks would use up an attempt
		f.Close()
		send(t, p, "one", "two")
		eventually(t, "it is known that no broker is there", func() bool { return topicOf(p).log.failing.Load() })
		wantLeft(t, p, 2)
	}
}

func TestCloseEndsWhenTheLastRecordsAreGivenUp(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "t", Err: kerr.TopicAuthorizationFailed, Count: -1})
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.MaxAttempts = 5 })
	send(t, p, "x")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	p.close(ctx, errAbandoned)
	if s := p.totals(); s.Failed != 1 || ctx.Err() != nil {
		t.Errorf("%+v, %v", s, ctx.Err())
	}
}
