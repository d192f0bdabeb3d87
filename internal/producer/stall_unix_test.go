//go:build unix

package producer

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/kafkatest"
)

// TestSenderThatIsHeldUpMakesNobodySpin: the kernel may take a sender's processor away
// between its announcement and its record.
func TestSenderThatIsHeldUpMakesNobodySpin(t *testing.T) {
	const stall = 300 * time.Millisecond
	for _, async := range []bool{false, true} {
		a := startAcknowledger(t)
		p := newTestProducer(t, []string{a.address}, map[string]any{"producer_async": async, "producer_async_flush_timeout": 1})
		send(t, p, "x")
		settled(t, p)
		p.waiting.announce(amountOf(1, 1))
		before := processor(t)
		send(t, p, "y")
		time.Sleep(stall)
		if used := processor(t) - before; used > stall/2 {
			t.Errorf("async %v: %v of processor time were used in %v", async, used, stall)
		}
		p.waiting.withdraw(amountOf(1, 1))
		settled(t, p)
	}
}

// TestSenderThatIsHeldUpDelaysOthersNoLongerThanItself holds one up that has a place.
func TestSenderThatIsHeldUpDelaysOthersNoLongerThanItself(t *testing.T) {
	const linger = 400 * time.Millisecond
	a := startAcknowledger(t)
	p := newTestProducer(t, []string{a.address}, map[string]any{"producer_async_flush_timeout": linger.Milliseconds()})
	send(t, p, "x")
	settled(t, p)
	p.waiting.announce(amountOf(1, 0))
	came := time.Now()
	held := p.waiting.place()
	send(t, p, "y") // behind it
	time.Sleep(linger + linger/4)
	if n := p.Stats().Delivered; n != 1 {
		t.Fatalf("%d are delivered, one has passed by", n)
	}
	arrive(t, p, held, came)
	began := time.Now()
	eventually(t, "both are delivered", func() bool { return p.Stats().Delivered == 3 })
	if d := time.Since(began); d > linger/2 {
		t.Errorf("the record behind was delivered %v later", d)
	}
}

// TestRecordsBehindAHeldUpSenderGoWithIt, however long the linger is.
func TestRecordsBehindAHeldUpSenderGoWithIt(t *testing.T) {
	a := startAcknowledger(t)
	p := newTestProducer(t, []string{a.address}, map[string]any{"producer_async_flush_timeout": 3600000, "producer_request_limits_messages_per_request": 3})
	send(t, p, "x", "x", "x")
	settled(t, p)
	p.waiting.announce(amountOf(1, 0))
	held := p.waiting.place()
	send(t, p, "y") // behind it
	if !p.claim() {
		t.Fatal("somebody is busy")
	}
	p.handOver(false) // as when an alarm rings
	arrive(t, p, held, time.Now().Add(-time.Hour))
	p.attend()
	eventually(t, "both are delivered", func() bool { return p.Stats().Delivered == 5 })
}

// TestSenderThatIsHeldUpMakesNoSmallBatch: who hands over counts on its record, and must
// not go without it. What would be left of the batch waits for an hour.
func TestSenderThatIsHeldUpMakesNoSmallBatch(t *testing.T) {
	for name, hold := range map[string]func(*Producer) *item{
		"before it has a place": func(*Producer) *item { return nil },
		"with its place":        func(p *Producer) *item { return p.waiting.place() },
	} {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
			p := newTestProducer(t, f.Addrs(), map[string]any{"producer_async_flush_timeout": 3600000,
				"producer_request_limits_messages_per_request": 3})
			send(t, p, "x", "x", "x")
			settled(t, p)
			p.waiting.announce(amountOf(1, 0))
			held := hold(p)
			send(t, p, "a", "b")
			eventually(t, "nobody hands over", func() bool { return !p.busy.Load() })
			if s := p.Stats(); s.Delivered != 3 {
				t.Fatalf("%+v", s)
			}
			if held == nil {
				held = p.waiting.place()
			}
			arrive(t, p, held, time.Now())
			p.attend()
			settled(t, p)
			if all := f.Produces(); len(all) != 2 || all[1].Batches[0].Records != 3 {
				t.Errorf("not two batches of 3 records: %+v", all)
			}
		})
	}
}

// arrive puts a record that was announced where its sender has held its place.
func arrive(t *testing.T, p *Producer, held *item, came time.Time) {
	t.Helper()
	if !p.room.take(0) {
		t.Fatal("no room")
	}
	p.counts.accepted.Add(1)
	held.topic, held.time, held.ticket = p.cfg.Topic, came, &noTicket
	held.there.Store(true)
}

// TestBatchThatIsFullByItsBytesLeavesAtOnce: the Writer cannot know that it is.
func TestBatchThatIsFullByItsBytesLeavesAtOnce(t *testing.T) {
	const linger = 20 * time.Second
	for _, size := range []int{100, 1000} {
		a := startAcknowledger(t)
		p := newTestProducer(t, []string{a.address}, map[string]any{"producer_async_flush_timeout": linger.Milliseconds(),
			"producer_request_limits_bytes_per_request": 10_000})
		began := time.Now()
		for range 10_000/size + 1 {
			send(t, p, string(make([]byte, size)))
		}
		eventually(t, "a batch is delivered", func() bool { return p.Stats().Delivered > 0 })
		if d := time.Since(began); d > linger/10 {
			t.Errorf("%d bytes: the batch left after %v", size, d)
		}
		p.close(t.Context())
	}
}

func TestRecordOfATimeToComeIsNotKeptForIt(t *testing.T) {
	a := startAcknowledger(t)
	p := newTestProducer(t, []string{a.address}, map[string]any{"producer_async_flush_timeout": 100})
	send(t, p, "x")
	settled(t, p)
	began := time.Now()
	if err := p.Send(t.Context(), Record{Topic: p.cfg.Topic, Value: []byte("y"), Time: began.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is delivered", func() bool { return p.Stats().Delivered == 2 })
}
