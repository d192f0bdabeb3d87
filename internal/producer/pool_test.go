package producer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/kafkatest"
)

func acquire(t *testing.T, p *Pool, o Options) *Handle {
	t.Helper()
	h, err := p.Acquire(t.Context(), o, "t")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func producers(p *Pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.producers)
}

func TestSameOptionsShareAProducer(t *testing.T) {
	pool := NewPool(PoolOptions{Security: plain, Log: discard})
	brokers := []string{closedPort(t)}
	a := acquire(t, pool, testOptions(brokers, nil))
	b := acquire(t, pool, testOptions(brokers, nil))
	c := acquire(t, pool, testOptions(brokers, func(o *Options) { o.Acks = -1 }))
	if a.producer != b.producer || a.producer == c.producer {
		t.Errorf("producers are %p, %p, %p", a.producer, b.producer, c.producer)
	}
	pool.Close(t.Context())
}

func TestProducerIsClosedAMinuteAfterItsLastUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolOptions{Security: plain, Log: discard})
		cfg := testOptions([]string{"127.0.0.1:1"}, nil)
		a, b := acquire(t, pool, cfg), acquire(t, pool, cfg)
		a.Release()
		a.Release() // once is enough
		time.Sleep(10 * idleTime)
		if producers(pool) != 1 {
			t.Fatal("closed while an instance has it")
		}
		b.Release()
		time.Sleep(idleTime / 2)
		c := acquire(t, pool, cfg) // as after a change in Kong
		time.Sleep(2 * idleTime)
		if producers(pool) != 1 || c.producer != a.producer {
			t.Fatal("closed while an instance has it again")
		}
		c.Release()
		time.Sleep(idleTime / 2)
		use(c.producer, "t") // a request that came late
		time.Sleep(idleTime/2 + time.Second)
		if producers(pool) != 1 {
			t.Fatal("closed less than a minute after the last record")
		}
		time.Sleep(idleTime)
		synctest.Wait()
		if producers(pool) != 0 {
			t.Error("not closed")
		}
		if err := c.Send(t.Context(), record("x")); !errors.Is(err, ErrClosed) {
			t.Errorf("Send: %v", err)
		}
		if d := acquire(t, pool, cfg); d.producer == c.producer {
			t.Error("a closed producer was given out")
		}
		pool.Close(t.Context())
	})
}

func TestPoolCloseDrainsAllAndRefusesAfterwards(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	pool := NewPool(PoolOptions{Security: plain, Log: discard})
	var handles []*Handle
	for i := range 3 {
		h := acquire(t, pool, testOptions(f.Addrs(), func(o *Options) { o.Linger = time.Hour; o.Keepalive = time.Duration(i+1) * time.Millisecond }))
		send(t, h.producer, "x")
		handles = append(handles, h)
	}
	if left := pool.Close(t.Context()); left != 0 {
		t.Errorf("%d left", left)
	}
	if s := pool.Stats().Totals(); s.Delivered != 3 {
		t.Errorf("%+v", s)
	}
	for _, h := range append(handles, acquire(t, pool, testOptions(f.Addrs(), nil))) {
		if err := h.Send(t.Context(), record("x")); !errors.Is(err, ErrClosed) {
			t.Errorf("Send: %v", err)
		}
	}
}

func TestErrorOfSecurityIsTheCallersAndPasses(t *testing.T) {
	bad := errors.New("no certificate")
	pool := NewPool(PoolOptions{Security: func(context.Context, Options) (Access, error) { return Access{}, bad }, Log: discard})
	cfg := testOptions([]string{"127.0.0.1:1"}, nil)
	if _, err := pool.Acquire(t.Context(), cfg, "t"); !errors.Is(err, bad) {
		t.Errorf("error is %v", err)
	}
	bad = nil
	acquire(t, pool, cfg)
	pool.Close(t.Context())
}

func TestAccessIsReleasedWithItsProducer(t *testing.T) {
	released, failed := 0, make(chan error, 100)
	pool := NewPool(PoolOptions{Log: discard, Security: func(context.Context, Options) (Access, error) {
		return Access{Failed: func(err error) {
			select {
			case failed <- err:
			default:
			}
		}, Release: func() { released++ }}, nil
	}})
	h := acquire(t, pool, testOptions([]string{closedPort(t)}, nil))
	send(t, h.producer, "x")
	<-failed // told of what goes wrong, so that a certificate may be looked at again
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	pool.Close(ctx)
	if released != 1 {
		t.Errorf("released %d times", released)
	}
}

// What a change in Kong leaves behind is told of by whoever has a request next, keeps
// nobody from being ready, and is given up at last.
func TestRecordsOfAConfigurationThatIsNoMoreAreToldOfAndGivenUp(t *testing.T) {
	address := closedPort(t)
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolOptions{Security: plain, Log: discard, OrphanTimeout: 10 * time.Minute})
		h := acquire(t, pool, testOptions([]string{address}, nil))
		send(t, h.producer, "a", "b")
		time.Sleep(time.Minute)
		if ready(pool) {
			t.Error("ready, though an instance's records are not delivered")
		}
		h.Release()
		if !ready(pool) {
			t.Error("not ready for records that no instance has")
		}
		if line := pool.PendingLogLine(); !strings.Contains(line, "2 records to topic t are waiting") || !strings.Contains(line, "connection refused") {
			t.Errorf("Kong's error log reads %q", line)
		}
		time.Sleep(10*time.Minute - time.Second)
		if s := pool.Stats().Totals(); s.Buffered != 2 {
			t.Errorf("given up before the timeout: %+v", s)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := pool.Stats().Totals(); s.Failed != 2 || s.Buffered != 0 || producers(pool) != 0 {
			t.Errorf("%+v, %d producers", s, producers(pool))
		}
		if line := pool.PendingLogLine(); !strings.Contains(line, "2 records to topic t lost") || !strings.Contains(line, "10m0s (-orphan-timeout)") || !strings.Contains(line, "connection refused") {
			t.Errorf("Kong's error log reads %q", line)
		}
		time.Sleep(time.Minute)
		if line := pool.PendingLogLine(); line != "" || len(pool.pending.logs) != 0 {
			t.Errorf("it reads %q, of %d producers", line, len(pool.pending.logs))
		}
		pool.Close(expired(t))
	})
}

func TestConfigurationThatComesBackTakesItsRecordsOver(t *testing.T) {
	address := closedPort(t)
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolOptions{Security: plain, Log: discard, OrphanTimeout: time.Minute})
		cfg := testOptions([]string{address}, nil)
		h := acquire(t, pool, cfg)
		send(t, h.producer, "a")
		h.Release()
		time.Sleep(50 * time.Second)
		again := acquire(t, pool, cfg)
		time.Sleep(time.Hour)
		if s := pool.Stats().Totals(); s.Buffered != 1 || again.producer != h.producer || ready(pool) {
			t.Errorf("%+v, ready: %v", s, ready(pool))
		}
		pool.Close(expired(t))
		time.Sleep(time.Minute)
	})
}

// ready reports whether a probe would find every buffer in order.
func ready(p *Pool) bool {
	for _, topic := range p.Stats().Topics {
		for _, b := range topic.Buffers {
			if !b.Orphaned && (b.Fill > 0.9 || b.Stalled >= StallLimit) {
				return false
			}
		}
	}
	return true
}
