//go:build unix

package producer

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestNoRecordIsLostBetweenSenderAndWriter closes producers at any moment of the
// way: before their layout is known, while records are handed over, and while
// the alarm rings.
func TestNoRecordIsLostBetweenSenderAndWriter(t *testing.T) {
	a := startAcknowledger(t)
	var delivered int64
	for range 100 {
		p := newTestProducer(t, []string{a.address}, map[string]any{"producer_async_flush_timeout": 8,
			"producer_request_limits_messages_per_request": 1 + rand.IntN(100)})
		var accepted, refused atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					err := p.Send(context.Background(), record("x"))
					switch {
					case err == nil:
						accepted.Add(1)
					case errors.Is(err, ErrClosed):
						refused.Add(1)
						return
					case !errors.Is(err, ErrFull):
						t.Error(err)
						return
					}
					if rand.IntN(10) == 0 {
						time.Sleep(time.Millisecond) // more than the alarm's time
					}
				}
			})
		}
		time.Sleep(time.Duration(rand.IntN(10_000)) * time.Microsecond)
		if left := p.close(t.Context()); left != 0 {
			t.Errorf("%d left", left)
		}
		wg.Wait()
		s := p.Stats()
		if s.Accepted != accepted.Load() || s.Delivered != s.Accepted || s.Buffered != 0 || s.BufferedBytes != 0 || s.Refused < refused.Load() {
			t.Fatalf("%+v, and senders saw %d accepted", s, accepted.Load())
		}
		delivered += s.Delivered
	}
	if n := a.records(t); n != delivered {
		t.Errorf("%d records arrived, %d were delivered", n, delivered)
	}
}

func TestFewRecordsAreHandedOverTogetherAndWithinTheLinger(t *testing.T) {
	a := startAcknowledger(t)
	const linger = 400 * time.Millisecond
	p := newTestProducer(t, []string{a.address}, map[string]any{"producer_async_flush_timeout": linger.Milliseconds()})
	send(t, p, "x")
	settled(t, p)

	began := time.Now()
	send(t, p, "a", "b", "c")
	p.mu.Lock()
	waiting, busy := p.waiting.records, p.busy
	p.mu.Unlock()
	if time.Since(began) < p.gather && (waiting != 3 || busy) {
		t.Errorf("%d records wait, and somebody is handing over: %v", waiting, busy)
	}
	settled(t, p)
	if d := time.Since(began); d < linger-p.gather || d > linger+5*time.Second {
		t.Errorf("they were delivered after %v", d)
	}
}

func TestIdleProducerHasNoGoroutineOfItsOwn(t *testing.T) {
	a := startAcknowledger(t)
	p := newTestProducer(t, []string{a.address}, nil)
	send(t, p, "x")
	settled(t, p)
	eventually(t, "nobody hands over", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return !p.busy
	})
	if p.waiting.first != nil {
		t.Error("it holds a part of its queue")
	}
}

// TestNoRecordIsLostBetweenWaitingSenders does the same for senders that wait,
// who hand over for each other.
func TestNoRecordIsLostBetweenWaitingSenders(t *testing.T) {
	a := startAcknowledger(t)
	var delivered int64
	for range 20 {
		p := newTestProducer(t, []string{a.address}, map[string]any{"producer_async": false})
		var accepted atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for {
					err := p.Send(context.Background(), record("x"))
					if err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						return
					}
					accepted.Add(1)
				}
			})
		}
		time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		if left := p.close(t.Context()); left != 0 {
			t.Errorf("%d left", left)
		}
		wg.Wait()
		s := p.Stats()
		if s.Accepted != accepted.Load() || s.Delivered != s.Accepted || s.Buffered != 0 || s.BufferedBytes != 0 {
			t.Fatalf("%+v, and senders saw %d accepted", s, accepted.Load())
		}
		delivered += s.Delivered
	}
	if n := a.records(t); n != delivered {
		t.Errorf("%d records arrived, %d were delivered", n, delivered)
	}
}
