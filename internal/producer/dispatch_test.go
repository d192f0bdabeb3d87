//go:build unix

package producer

import (
	"context"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
)

// TestNoRecordIsLostBetweenSenderAndWriter closes producers at any moment of the
// way: before their metadata is known, while batches are handed over, and while
// records linger.
func TestNoRecordIsLostBetweenSenderAndWriter(t *testing.T) {
	a := startAcknowledger(t)
	var delivered int64
	for range 100 {
		p := newTestProducer(t, []string{a.address}, func(o *Options) {
			o.Linger = 8 * time.Millisecond
			o.BufferRecords = 1000
			o.BatchRecords = 1 + rand.IntN(100)
		})
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
						time.Sleep(time.Millisecond) // more than some lingers
					}
				}
			})
		}
		wg.Go(func() {
			for closed := false; !closed; {
				p.mu.Lock()
				closed = p.closed
				p.mu.Unlock()
				if s := p.totals(); s.Buffered < 0 || s.Buffered > 1000 || s.BufferedBytes > s.Buffered || s.Accepted != s.Delivered+s.Failed+s.Undelivered+s.Buffered {
					t.Errorf("%+v", s)
				}
				runtime.Gosched()
			}
		})
		time.Sleep(time.Duration(rand.IntN(10_000)) * time.Microsecond)
		if left := p.close(t.Context(), errAbandoned); left != 0 {
			t.Errorf("%d left", left)
		}
		wg.Wait()
		s := p.totals()
		if s.Accepted != accepted.Load() || s.Delivered != s.Accepted || s.Buffered != 0 || s.BufferedBytes != 0 || s.Rejected < refused.Load() {
			t.Fatalf("%+v, and senders saw %d accepted", s, accepted.Load())
		}
		delivered += s.Delivered
	}
	if n := a.records(t); n != delivered {
		t.Errorf("%d records arrived, %d were delivered", n, delivered)
	}
}

func TestFewRecordsAreSentTogetherAndAtTheirLinger(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(3, "t"))
	const linger = 400 * time.Millisecond
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Linger = linger })
	send(t, p, "x")
	settled(t, p)
	for range 3 { // with a dispatcher that sleeps for one linger, and until a record comes
		began := time.Now()
		send(t, p, "a", "b", "c")
		settled(t, p)
		if d := time.Since(began); d < linger-early || d > linger+5*time.Second {
			t.Errorf("they were delivered after %v", d)
		}
		all := f.Produces()
		if last := all[len(all)-1]; last.Batches[0].Records != 3 {
			t.Errorf("the last batch has %d records", last.Batches[0].Records)
		}
		time.Sleep(linger)
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
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Linger = time.Hour; o.BatchRecords = 8 })
	send(t, p, "a", "b", "c")
	eventually(t, "brokers are asked", func() bool { return f.Requests(kmsg.Metadata) > 0 })
	close(let)
	eventually(t, "the metadata is known", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.topics["t"].known
	})
	send(t, p, "d", "e", "f", "g", "h")
	settled(t, p)
	if all := f.Produces(); len(all) != 1 || all[0].Batches[0].Records != 8 {
		t.Errorf("not one batch of 8 records: %+v", all)
	}
}

// TestFullBatchDoesNotHurryTheNext: the time of records that left with a full batch is not
// that of younger ones.
func TestFullBatchDoesNotHurryTheNext(t *testing.T) {
	const linger = 400 * time.Millisecond
	a := startAcknowledger(t)
	p := newTestProducer(t, []string{a.address}, func(o *Options) { o.Linger = linger; o.BatchRecords = 3 })
	send(t, p, "x")
	settled(t, p)

	send(t, p, "a") // begins to linger
	time.Sleep(linger / 2)
	send(t, p, "b", "c") // fill the batch
	began := time.Now()
	send(t, p, "d")
	eventually(t, "the full batch is delivered", func() bool { return p.totals().Delivered == 4 })
	settled(t, p)
	if d := time.Since(began); d < linger-early {
		t.Errorf("the record after it was delivered after %v", d)
	}
}

func TestBatchThatIsFullByItsBytesLeavesAtOnce(t *testing.T) {
	const linger = 20 * time.Second
	for _, size := range []int{100, 1000} {
		a := startAcknowledger(t)
		p := newTestProducer(t, []string{a.address}, func(o *Options) { o.Linger = linger; o.BatchBytes = 10_000 })
		began := time.Now()
		for range 10_000/size + 1 {
			send(t, p, string(make([]byte, size)))
		}
		eventually(t, "a batch is delivered", func() bool { return p.totals().Delivered > 0 })
		if d := time.Since(began); d > linger/10 {
			t.Errorf("%d bytes: the batch left after %v", size, d)
		}
		p.close(t.Context(), errAbandoned)
	}
}

func TestRecordOfATimeToComeIsNotKeptForIt(t *testing.T) {
	a := startAcknowledger(t)
	p := newTestProducer(t, []string{a.address}, func(o *Options) { o.Linger = 100 * time.Millisecond })
	send(t, p, "x")
	settled(t, p)
	if err := p.Send(t.Context(), Record{Topic: "t", Value: []byte("y"), Time: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is delivered", func() bool { return p.totals().Delivered == 2 })
}

// TestBatchesOfKeysAreAsFullAsOthers: a batch has one partition, so the records of each
// linger for themselves.
func TestBatchesOfKeysAreAsFullAsOthers(t *testing.T) {
	const partitions, each, batches = 10, 20, 5
	f := kafkatest.StartFake(t, kfake.SeedTopics(partitions, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Linger = time.Hour; o.BatchRecords = each })
	keys := make([][]byte, partitions) // one for each partition
	for i, found := 0, 0; found < partitions; i++ {
		key := []byte(strconv.Itoa(i))
		if at := &keys[crc32.ChecksumIEEE(key)%partitions]; *at == nil {
			*at = key
			found++
		}
	}
	for i := range partitions * each * batches { // the first before the partitions are known
		r := record(strconv.Itoa(i))
		r.Key = keys[i%partitions]
		if err := p.Send(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, p)
	if n := len(f.Produces()); n != partitions*batches {
		t.Errorf("%d produce requests, want %d", n, partitions*batches)
	}
	next := make(map[int32]int)
	for _, r := range f.Records(t, "t", partitions*each*batches) {
		if want := int32(crc32.ChecksumIEEE(r.Key) % partitions); r.Partition != want {
			t.Fatalf("a record with key %s is in partition %d, want %d", r.Key, r.Partition, want)
		}
		n, _ := strconv.Atoi(string(r.Value))
		if n < next[r.Partition] {
			t.Fatalf("partition %d: record %d came after %d", r.Partition, n, next[r.Partition])
		}
		next[r.Partition] = n
	}
}

// TestPartitionThatIsHeldUpHoldsUpNoOther: the records go to the others meanwhile.
func TestPartitionThatIsHeldUpHoldsUpNoOther(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(3, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.BatchRecords = 1 })
	send(t, p, "x")
	settled(t, p)
	let := make(chan struct{})
	var once sync.Once
	f.Hold(kmsg.Produce, func(gone <-chan struct{}) { // the first one alone
		first := false
		once.Do(func() { first = true })
		if first {
			select {
			case <-gone:
			case <-let:
			}
		}
	})
	for range 100 {
		send(t, p, "y")
	}
	eventually(t, "all others are delivered", func() bool { return p.totals().Delivered == 100 })
	close(let)
	settled(t, p)
}

// TestNoRecordIsLostBetweenWaitingSenders does the same for senders that wait,
// who have no linger.
func TestNoRecordIsLostBetweenWaitingSenders(t *testing.T) {
	a := startAcknowledger(t)
	var delivered int64
	for range 20 {
		p := newTestProducer(t, []string{a.address}, func(o *Options) { o.Async = false })
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
		if left := p.close(t.Context(), errAbandoned); left != 0 {
			t.Errorf("%d left", left)
		}
		wg.Wait()
		s := p.totals()
		if s.Accepted != accepted.Load() || s.Delivered != s.Accepted || s.Buffered != 0 || s.BufferedBytes != 0 {
			t.Fatalf("%+v, and senders saw %d accepted", s, accepted.Load())
		}
		delivered += s.Delivered
	}
	if n := a.records(t); n != delivered {
		t.Errorf("%d records arrived, %d were delivered", n, delivered)
	}
}
