//go:build unix

package producer

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/kafkatest"
)

// TestNoRecordIsLostBetweenSenderAndWriter closes producers at any moment of the
// way: before their layout is known, while records are handed over, and while
// the alarm rings.
func TestNoRecordIsLostBetweenSenderAndWriter(t *testing.T) {
	a := startAcknowledger(t)
	var delivered int64
	for range 100 {
		p := newTestProducer(t, []string{a.address}, map[string]any{"producer_async_flush_timeout": 8,
			"producer_async_buffering_limits_messages_in_memory": 1000,
			"producer_request_limits_messages_per_request":       1 + rand.IntN(100)})
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
		wg.Go(func() {
			for !p.closed.Load() {
				if s := p.Stats(); s.Buffered < 0 || s.Buffered > 1000 || s.BufferedBytes > s.Buffered || s.Accepted != s.Delivered+s.Failed+s.Left+s.Buffered {
					t.Errorf("%+v", s)
				}
				runtime.Gosched()
			}
		})
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
	waiting, busy := p.waiting.amount().records(), p.busy.Load()
	if time.Since(began) < p.gather && (waiting != 3 || busy) {
		t.Errorf("%d records wait, and somebody is handing over: %v", waiting, busy)
	}
	settled(t, p)
	if d := time.Since(began); d < p.gather*15/16 || d > linger+5*time.Second {
		t.Errorf("they were delivered after %v", d)
	}
}

// TestBatchesAreWholeFromTheFirstOn: the layout may become known in the middle of one.
func TestBatchesAreWholeFromTheFirstOn(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(3, "t"))
	let := make(chan struct{})
	f.Hold(kmsg.Metadata, func(gone <-chan struct{}) {
		select {
		case <-gone:
		case <-let:
		}
	})
	p := newTestProducer(t, f.Addrs(), map[string]any{"producer_async_flush_timeout": 3600000,
		"producer_request_limits_messages_per_request": 8})
	send(t, p, "a", "b", "c")
	eventually(t, "brokers are asked", func() bool { return f.Requests(kmsg.Metadata) > 0 })
	close(let)
	eventually(t, "the layout is known", func() bool { return p.ready.Load() && !p.busy.Load() })
	send(t, p, "d", "e", "f", "g", "h")
	settled(t, p)
	if all := f.Produces(); len(all) != 1 || all[0].Batches[0].Records != 8 {
		t.Errorf("not one batch of 8 records: %+v", all)
	}
}

// TestAlarmOfAYoungerRecordDelaysNoOlderOne: a sender may set it while somebody who has
// handed over a full batch finds out when the first one that is left is due.
func TestAlarmOfAYoungerRecordDelaysNoOlderOne(t *testing.T) {
	a := startAcknowledger(t)
	p := newTestProducer(t, []string{a.address}, map[string]any{"producer_async_flush_timeout": 3600000,
		"producer_request_limits_messages_per_request": 3})
	send(t, p, "x", "x", "x")
	settled(t, p)
	old := record("old")
	old.Time = time.Now().Add(-p.gather + 100*time.Millisecond)
	if err := p.Send(t.Context(), old); err != nil { // and the alarm is that of one which came now
		t.Fatal(err)
	}
	if !p.claim() {
		t.Fatal("somebody is busy")
	}
	p.handOver(false)
	settled(t, p)
}

// TestRecordIsNotForgottenByAnAlarmThatRangTooEarly: who has set it may still be busy.
func TestRecordIsNotForgottenByAnAlarmThatRangTooEarly(t *testing.T) {
	a := startAcknowledger(t)
	p := newTestProducer(t, []string{a.address}, map[string]any{"producer_async_flush_timeout": 8})
	send(t, p, "x")
	settled(t, p)
	p.alarm.Stop()
	p.alarmed.Store(false)
	if !p.claim() {
		t.Fatal("somebody is busy")
	}
	send(t, p, "y") // sees that somebody is busy, and sets no alarm
	p.ringForRest()
	p.busy.Store(false)
	settled(t, p)
}

// TestFullBatchDoesNotHurryTheNext: the alarm that was set for records which have left
// with a full batch finds younger ones.
func TestFullBatchDoesNotHurryTheNext(t *testing.T) {
	a := startAcknowledger(t)
	p := newTestProducer(t, []string{a.address}, map[string]any{"producer_async_flush_timeout": 400,
		"producer_request_limits_messages_per_request": 3})
	send(t, p, "x")
	settled(t, p)

	send(t, p, "a") // sets the alarm
	time.Sleep(p.gather / 2)
	send(t, p, "b", "c") // fill the batch
	began := time.Now()
	send(t, p, "d")
	eventually(t, "the full batch is delivered", func() bool { return p.Stats().Delivered == 4 })
	settled(t, p)
	if d := time.Since(began); d < p.gather*15/16 {
		t.Errorf("the record after it was delivered after %v", d)
	}
}

func TestIdleProducerHasNoGoroutineOfItsOwn(t *testing.T) {
	a := startAcknowledger(t)
	p := newTestProducer(t, []string{a.address}, nil)
	send(t, p, "x")
	settled(t, p)
	eventually(t, "nobody hands over", func() bool { return !p.busy.Load() })
	if p.waiting.amount() != 0 || p.waiting.first() != nil {
		t.Error("it holds records")
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
