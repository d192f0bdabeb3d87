package producer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/memory"
	rec "kafka-upstream/internal/record"
	"kafka-upstream/internal/spool"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/testcert"
)

// process is what a process has that keeps records on the disk.
type process struct {
	t     *testing.T
	spool *spool.Spool
	*Pool
	once sync.Once
}

// startProcess starts a process with the spool in dir, which ends with the test.
func startProcess(t *testing.T, dir string, set func(*spool.Options, *PoolOptions)) *process {
	t.Helper()
	so := spool.Options{Dir: dir, Log: discard}
	po := PoolOptions{Log: discard, Security: func(_ context.Context, o Options) (a Access, _ error) {
		if o.TLS {
			a.TLS = &tls.Config{InsecureSkipVerify: o.SkipVerify}
		}
		return a, nil
	}}
	if set != nil {
		set(&so, &po)
	}
	s, err := spool.Open(so)
	if err != nil {
		t.Fatal(err)
	}
	po.Spool = s
	p := &process{t: t, spool: s, Pool: NewPool(po)}
	t.Cleanup(func() { p.end(0) })
	return p
}

// end ends the process after draining for that time.
func (p *process) end(drain time.Duration) (undelivered int64) {
	p.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		undelivered = p.Close(ctx)
		if err := p.spool.Close(); err != nil {
			p.t.Errorf("closing the spool: %v", err)
		}
	})
	return undelivered
}

func durable(o *Options) { o.Durable = true }

// durableTLS trusts any broker; without SkipVerify it would trust none.
func durableTLS(o *Options) { o.Durable, o.TLS, o.SkipVerify = true, true, true }

func serverTLS() *tls.Config { return testcert.New("test").ServerConfig("127.0.0.1") }

// appendRecords appends records, each on its own, and returns when all are on the disk.
func appendRecords(t *testing.T, h *Handle, records ...Record) {
	t.Helper()
	for i, err := range appended(h, records...) {
		if err != nil {
			t.Fatalf("appending record %d: %v", i, err)
		}
	}
}

// appended appends records, each on its own, and returns the results in the order of records.
func appended(h *Handle, records ...Record) []error {
	results := make([]error, len(records))
	var wg sync.WaitGroup
	for i := range records {
		wg.Add(1)
		h.Append(records[i:i+1], func(err error) {
			results[i] = err
			wg.Done()
		})
	}
	wg.Wait()
	return results
}

func series(topic string, n int) (all []Record) {
	for i := range n {
		all = append(all, Record{Topic: topic, Value: fmt.Appendf(nil, "%s %06d", topic, i)})
	}
	return all
}

// valuesOf returns the values of a topic of one partition, in order.
func valuesOf(t *testing.T, f *kafkatest.Fake, topic string, n int) (all []string) {
	t.Helper()
	for _, r := range f.Records(t, topic, n) {
		all = append(all, string(r.Value))
	}
	return all
}

func inOrder(t *testing.T, values []string, records []Record) {
	t.Helper()
	if len(values) != len(records) {
		t.Fatalf("%d records, want %d", len(values), len(records))
	}
	for i := range records {
		if values[i] != string(records[i].Value) {
			t.Fatalf("record %d is %q, want %q", i, values[i], records[i].Value)
		}
	}
}

// totals returns the sums over the process's producers, which must agree.
func (p *process) totals() Totals {
	p.t.Helper()
	s := p.Stats().Totals()
	if s.Accepted != s.Delivered+s.Failed+s.Undelivered+s.Returned+s.Buffered {
		p.t.Errorf("the sums do not agree: %+v", s)
	}
	return s
}

func TestRecordThatIsOnTheDiskIsDeliveredAndForgotten(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := startProcess(t, t.TempDir(), nil)
	h := acquireTopics(t, p.Pool, testOptions(f.Addrs(), durable), "t")
	at := time.UnixMilli(1234567890123)
	appendRecords(t, h, Record{Topic: "t", Key: []byte("k"), Value: []byte("v"), Time: at, Headers: []rec.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}}},
		Record{Topic: "t"})
	all := f.Records(t, "t", 2)
	r := all[0]
	if len(all[0].Headers) == 0 {
		r = all[1]
	}
	if string(r.Key) != "k" || string(r.Value) != "v" || !r.Timestamp.Equal(at) || len(r.Headers) != 2 || r.Headers[0].Key != "a" || string(r.Headers[0].Value) != "1" {
		t.Errorf("got %+v", r)
	}
	eventually(t, "the spool is empty", func() bool { return p.spool.Stats().Records == 0 })
	eventually(t, "both are counted", func() bool { return p.totals().Delivered == 2 })
	if s := p.Stats().Topics[0]; s.Appended.Records != 2 || s.Accepted.Records != 2 {
		t.Errorf("%+v", s)
	}
}

// The spool holds more than the buffer, which takes records as it has room.
func TestBufferIsAWindowOfTheSpool(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	release := make(chan struct{})
	f.Hold(kmsg.Produce, func(gone <-chan struct{}) {
		select {
		case <-release:
		case <-gone:
		}
	})
	limit := memory.NewLimit(1 << 20)
	p := startProcess(t, t.TempDir(), func(_ *spool.Options, o *PoolOptions) { o.Memory = limit })
	h := acquireTopics(t, p.Pool, testOptions(f.Addrs(), func(o *Options) {
		o.Durable, o.BufferRecords, o.BatchRecords = true, 50, 10
	}), "t")
	records := series("t", 2000)
	appendRecords(t, h, records...)
	eventually(t, "the buffer is full", func() bool { return p.totals().Buffered == 50 })
	if n := p.spool.Stats().Records; n != 2000 {
		t.Errorf("the spool has %d records", n)
	}
	close(release)
	inOrder(t, valuesOf(t, f, "t", 2000), records)
	eventually(t, "the spool is empty", func() bool { return p.spool.Stats().Records == 0 })
	eventually(t, "all memory is free", func() bool { return limit.Used() == 0 })
}

// A topic that is behind does not keep the others waiting.
func TestTopicsOfTheSpoolTakeTurns(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "a", "b"))
	p := startProcess(t, t.TempDir(), nil)
	h := acquireTopics(t, p.Pool, testOptions(f.Addrs(), func(o *Options) {
		o.Durable, o.BufferRecords, o.BatchRecords = true, 100, 10
	}), "a", "b", "missing")
	missing := series("missing", 1000)
	appendRecords(t, h, missing...)
	appendRecords(t, h, series("a", 3000)...)
	appendRecords(t, h, series("b", 1)...)
	f.Records(t, "b", 1)
	inOrder(t, valuesOf(t, f, "a", 3000), series("a", 3000))
}

func TestUndeliveredRecordsStayForTheNextProcess(t *testing.T) {
	dir := t.TempDir()
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	var up atomic.Bool
	f.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		return nil, errors.New("down"), !up.Load()
	})
	records := series("t", 300)
	p := startProcess(t, dir, nil)
	h := acquireTopics(t, p.Pool, testOptions(f.Addrs(), func(o *Options) { o.Durable, o.BufferRecords = true, 100 }), "t")
	appendRecords(t, h, records...)
	eventually(t, "the buffer is full", func() bool { return p.totals().Buffered == 100 })
	if n := p.end(10 * time.Millisecond); n != 0 {
		t.Errorf("%d records are called undelivered", n)
	}
	if s := p.totals(); s.Returned != 100 || s.Undelivered != 0 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}

	up.Store(true)
	other := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	next := startProcess(t, dir, nil)
	appendRecords(t, acquireTopics(t, next.Pool, testOptions(other.Addrs(), durable), "t"), record("of another cluster"))
	other.Records(t, "t", 1)
	if n := next.spool.Stats().Records; n < 300 {
		t.Errorf("the spool has %d records", n)
	}
	acquireTopics(t, next.Pool, testOptions(f.Addrs(), func(o *Options) { o.Durable, o.BatchRecords = true, 7 }), "t")
	inOrder(t, valuesOf(t, f, "t", 300), records)
	eventually(t, "the spool is empty", func() bool { return next.spool.Stats().Records == 0 })
	if s := next.totals(); s.Accepted != 301 {
		t.Errorf("%+v", s)
	}
}

// The records of a configuration that Kong has replaced are delivered with the settings of the
// next one, in order, also those that were in the buffer.
func TestNextConfigurationTakesTheRecordsOver(t *testing.T) {
	f := kafkatest.StartFakeTLS(t, serverTLS(), kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := startProcess(t, t.TempDir(), func(_ *spool.Options, o *PoolOptions) { o.OrphanTimeout = 10 * time.Millisecond })
	broken, err := p.Acquire(t.Context(), testOptions(f.Addrs(), func(o *Options) { durableTLS(o); o.SkipVerify, o.BufferRecords = false, 40 }), "t")
	if err != nil {
		t.Fatal(err)
	}
	records := series("t", 100)
	appendRecords(t, broken, records[:80]...)
	eventually(t, "the buffer is full", func() bool { return p.totals().Buffered == 40 })
	mended := acquireTopics(t, p.Pool, testOptions(f.Addrs(), durableTLS), "t")
	appendRecords(t, mended, records[80:]...)
	if n := f.Requests(kmsg.Produce); n != 0 {
		t.Fatalf("%d produce requests", n)
	}
	broken.Release()
	inOrder(t, valuesOf(t, f, "t", 100), records)
	eventually(t, "all are counted", func() bool { s := p.totals(); return s.Delivered == 100 && s.Returned == 40 })
}

// What Kong has no configuration for waits, and is delivered once it has one again.
func TestRecordsWithoutAConfigurationWaitForIt(t *testing.T) {
	f := kafkatest.StartFakeTLS(t, serverTLS(), kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := startProcess(t, t.TempDir(), func(_ *spool.Options, o *PoolOptions) { o.OrphanTimeout = 10 * time.Millisecond })
	h := acquireTopics(t, p.Pool, testOptions(f.Addrs(), func(o *Options) { durableTLS(o); o.SkipVerify = false }), "t")
	records := series("t", 10)
	appendRecords(t, h, records...)
	eventually(t, "they are in the buffer", func() bool { return p.totals().Buffered == 10 })
	h.Release()
	eventually(t, "they are back in the spool", func() bool { return p.totals().Returned == 10 })
	if n := p.spool.Stats().Records; n != 10 {
		t.Errorf("the spool has %d records", n)
	}
	acquireTopics(t, p.Pool, testOptions(f.Addrs(), durableTLS), "t")
	inOrder(t, valuesOf(t, f, "t", 10), records)
}

func TestRecordThatNoRequestMayHoldFails(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	dir := t.TempDir()
	p := startProcess(t, dir, nil)
	h := acquireTopics(t, p.Pool, testOptions([]string{closedPort(t)}, durable), "t")
	_ = h
	large := acquireTopics(t, p.Pool, testOptions(f.Addrs(), func(o *Options) { o.Durable, o.BatchBytes = true, 2000 }), "t")
	// Another configuration of the same cluster allows more.
	larger := acquireTopics(t, p.Pool, testOptions(f.Addrs(), durable), "t")
	appendRecords(t, larger, Record{Topic: "t", Value: []byte(strings.Repeat("x", 5000))}, Record{Topic: "t", Value: []byte("small")})
	f.Records(t, "t", 1)
	eventually(t, "one failed", func() bool { s := p.totals(); return s.Delivered == 1 && s.Failed == 1 })
	eventually(t, "the spool is empty", func() bool { return p.spool.Stats().Records == 0 })
	if err := appended(large, Record{Topic: "t", Value: []byte(strings.Repeat("x", 5000))})[0]; err == nil || !strings.Contains(err.Error(), "producer_request_limits_bytes_per_request") {
		t.Errorf("%v", err)
	}
}

func TestAppendIsRefusedByTheLimitsOfTheProcess(t *testing.T) {
	limit := memory.NewLimit(1000)
	p := startProcess(t, t.TempDir(), func(_ *spool.Options, o *PoolOptions) { o.Memory = limit })
	h := acquireTopics(t, p.Pool, testOptions([]string{closedPort(t)}, durable), "t")
	if err := appended(h, Record{Topic: "t", Value: make([]byte, 2000)})[0]; !errors.Is(err, memory.ErrFull) {
		t.Errorf("%v, want the memory limit", err)
	}
	p.end(0)
	if err := appended(h, record("x"))[0]; !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want %v", err, ErrClosed)
	}
	if s := p.Stats().Topics[0]; s.Rejected[MemoryFull] != 1 || s.Rejected[ShuttingDown] != 1 {
		t.Errorf("rejected are %v", s.Rejected)
	}
}

// The broker has the batch, its acknowledgement is lost with the process: the next process sends
// the same batch, which the broker recognizes, before anything else of its partition.
func TestBatchOfAFormerProcessIsWrittenOnce(t *testing.T) {
	dir := t.TempDir()
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(2, "t"))
	exact := func(o *Options) { o.Durable, o.Idempotent, o.Acks, o.BatchRecords = true, true, -1, 20 }
	lost := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: -1}) // it is carried out
	p := startProcess(t, dir, nil)
	records := series("t", 100)
	for i := range records {
		records[i].Key = fmt.Appendf(nil, "key %d", i%7)
	}
	appendRecords(t, acquireTopics(t, p.Pool, testOptions(f.Addrs(), exact), "t"), records[:90]...)
	f.Records(t, "t", 20)
	p.end(0)
	lost.Remove()

	next := startProcess(t, dir, nil)
	appendRecords(t, acquireTopics(t, next.Pool, testOptions(f.Addrs(), exact), "t"), records[90:]...)
	eventually(t, "the spool is empty", func() bool { return next.spool.Stats().Records == 0 })
	seen, last := map[string]int{}, map[string]string{}
	for _, r := range f.Records(t, "t", 100) {
		if seen[string(r.Value)]++; seen[string(r.Value)] > 1 {
			t.Errorf("%q is there %d times", r.Value, seen[string(r.Value)])
		}
		if key := string(r.Key); last[key] >= string(r.Value) {
			t.Errorf("%q of %s comes after %q", r.Value, key, last[key])
		} else {
			last[key] = string(r.Value)
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d records", len(seen))
	}
}
