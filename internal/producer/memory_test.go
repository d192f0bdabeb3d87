package producer

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/spool"
	"kafka-upstream/internal/test/kafkatest"
)

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// While brokers are away records that come one by one, each due at once, take what they
// have and a little for each, however large a batch may be: nothing is handed to
// kafka-go that cannot be delivered.
func TestMemoryInAnOutageIsThatOfTheRecords(t *testing.T) {
	const records, allowed = 600, 8 << 20
	for name, outage := range map[string]func(*testing.T, *kafkatest.Fake){
		"brokers are gone": func(_ *testing.T, f *kafkatest.Fake) { f.Close() },
		"brokers say nothing": func(t *testing.T, f *kafkatest.Fake) {
			over := make(chan struct{})
			t.Cleanup(func() { close(over) })
			f.Hold(kmsg.Produce, func(gone <-chan struct{}) {
				select {
				case <-gone:
				case <-over:
				}
			})
		},
		"the partition has no leader": func(_ *testing.T, f *kafkatest.Fake) { leaderless(f, time.Now().Add(time.Hour)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
			p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Linger = time.Millisecond; o.BatchRecords = 10000 })
			send(t, p, "x")
			settled(t, p)
			outage(t, f)
			before := heap()
			pace := time.NewTicker(1500 * time.Microsecond) // more than the linger
			defer pace.Stop()
			for range records {
				<-pace.C
				send(t, p, strings.Repeat("x", 40))
			}
			if grown := heap() - before; grown > allowed {
				t.Errorf("%d records of 40 bytes hold %d KiB", records, grown>>10)
			}
			if s := p.totals(); s.Buffered != records {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestMemoryLimitBoundsAllProducersTogether(t *testing.T) {
	const size, limit = 700_000, 20 << 20
	l := memory.NewLimit(limit)
	pool := NewPool(PoolOptions{Security: plain, Memory: l, Log: discard})
	address := closedPort(t)
	var handles []*Handle
	for i := range 10 {
		handles = append(handles, acquire(t, pool, testOptions([]string{address}, func(o *Options) { o.Keepalive = time.Duration(i+1) * time.Millisecond })))
	}
	before := heap()
	var mu sync.Mutex
	accepted, refused := 0, 0
	var wg sync.WaitGroup
	for _, h := range handles {
		wg.Go(func() {
			for range 20 {
				err := h.Send(t.Context(), record(strings.Repeat("x", size)))
				mu.Lock()
				switch {
				case err == nil:
					accepted++
				case errors.Is(err, memory.ErrFull):
					refused++
				default:
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if want := limit / int(memoryOf(size, 0)); accepted != want || refused != 200-want {
		t.Errorf("%d were accepted, %d were refused; %d fit", accepted, refused, want)
	}
	if grown := heap() - before; grown > limit || l.Used() > limit || grown > l.Used()+1<<20 {
		t.Errorf("%d KiB are held, and %d KiB are counted", grown>>10, l.Used()>>10)
	}
	if line := pool.PendingLogLine(); !strings.Contains(line, "-memory-limit") {
		t.Errorf("Kong's error log reads %q", line)
	}
	pool.Close(expired(t))
	if l.Used() != 0 {
		t.Errorf("%d bytes are taken when all is over", l.Used())
	}
}

// What counts for a small record is what it takes, not its bytes alone.
func TestSmallRecordsCountWithWhatTheyTake(t *testing.T) {
	const records = 20_000
	l := memory.NewLimit(1 << 30)
	pool := NewPool(PoolOptions{Security: plain, Memory: l, Log: discard})
	h := acquire(t, pool, testOptions([]string{closedPort(t)}, nil))
	before := heap()
	for i := range records {
		if err := h.Send(t.Context(), Record{Topic: "t", Value: make([]byte, 90+i%20)}); err != nil {
			t.Fatal(err)
		}
	}
	if grown := heap() - before; grown > l.Used() || grown < l.Used()/4 {
		t.Errorf("%d KiB are held, and %d KiB are counted", grown>>10, l.Used()>>10)
	}
	pool.Close(expired(t))
	if l.Used() != 0 {
		t.Errorf("%d bytes are taken when all is over", l.Used())
	}
}

// A producer that is not used has neither a goroutine nor a connection, and a record
// that comes later is delivered like any other.
func TestIdleProducerHasNoGoroutineAndNoConnection(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(3), kfake.SeedTopics(10, "t"))
	before := runtime.NumGoroutine()
	var producers []*Producer
	for range 20 {
		p := newTestProducer(t, f.Addrs(), func(o *Options) { o.BatchRecords = 1 })
		p.acquire([]string{"t"})
		p.idle = 100 * time.Millisecond
		producers = append(producers, p)
	}
	for range 2 {
		for _, p := range producers {
			send(t, p, "a", "b", "c")
		}
		for _, p := range producers {
			settled(t, p)
		}
		eventually(t, "no goroutine is left, here and in the broker", func() bool { return runtime.NumGoroutine() <= before })
	}
	if n := len(f.Records(t, "t", 120)); n != 120 {
		t.Errorf("%d records", n)
	}
}

// recreate deletes the topic and makes it again with that many partitions.
func recreate(t *testing.T, f *kafkatest.Fake, partitions int32) {
	t.Helper()
	if err := f.DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	if err := f.CreateTopic("t", partitions, nil); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsWithoutKeyGoToAnotherPartitionWhereTheirsIsGone(t *testing.T) {
	for _, async := range []bool{true, false} {
		f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(8, "t"))
		p := newTestProducer(t, f.Addrs(), func(o *Options) {
			o.Async = async
			o.Backoff = time.Millisecond
			o.MaxAttempts = 1
			o.BatchRecords = 1
		})
		for range 8 {
			send(t, p, "before")
		}
		settled(t, p)
		recreate(t, f, 1)
		for range 44 {
			send(t, p, "after")
		}
		if s := settled(t, p); s.Failed > 0 || s.Delivered != 52 {
			t.Errorf("async %v: %+v; Kong's error log reads %q", async, s, p.pending.next())
		}
		if n := len(f.Records(t, "t", 0)); n != 44 {
			t.Errorf("async %v: %d records are in the topic", async, n)
		}
	}
}

func TestRecordWithAKeyWhosePartitionIsGoneFailsAndTellsWhy(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(8, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Backoff = time.Millisecond })
	send(t, p, "before")
	settled(t, p)
	recreate(t, f, 1)
	if err := p.Send(t.Context(), Record{Topic: "t", Key: []byte("123456789"), Value: []byte("x")}); err != nil { // 3421780262 % 8 is 6
		t.Fatal(err)
	}
	send(t, p, "without")
	if s := settled(t, p); s.Failed != 1 || s.Delivered != 2 {
		t.Errorf("%+v", s)
	}
	if line := p.pending.next(); !strings.Contains(line, "partition 6 of topic t") || !strings.Contains(line, "is gone: the topic has 1 partitions now") {
		t.Errorf("Kong's error log reads %q", line)
	}
}

// A record of a process with a higher memory limit does not hold up the others.
func TestRecordAboveTheMemoryLimitOfTheProcessIsDelivered(t *testing.T) {
	dir := t.TempDir()
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := startProcess(t, dir, nil)
	unreachable := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Err: kerr.LeaderNotAvailable, Count: -1})
	appendRecords(t, acquireTopics(t, p.Pool, testOptions(f.Addrs(), durable), "t"), Record{Topic: "t", Value: make([]byte, 5000)}, record("small"))
	p.end(0)
	unreachable.Remove()

	limit := memory.NewLimit(3000)
	next := startProcess(t, dir, func(_ *spool.Options, o *PoolOptions) { o.Memory = limit })
	acquireTopics(t, next.Pool, testOptions(f.Addrs(), durable), "t")
	f.Records(t, "t", 2)
	eventually(t, "all memory is free", func() bool { return limit.Used() == 0 })
}
