package producer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"kafka-upstream/internal/producer/cluster"
	"kafka-upstream/internal/test/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func plain(context.Context, Options) (Access, error) { return Access{}, nil }

// testOptions returns the defaults of a configuration, but for a short linger, as changed
// by set, which may be nil.
func testOptions(servers []string, set func(*Options)) Options {
	o := Options{
		Servers: servers, Acks: 1, RequestTimeout: 2 * time.Second, Timeout: 10 * time.Second, Keepalive: 10 * time.Second,
		MaxAttempts: 10, Backoff: 100 * time.Millisecond, BatchRecords: 200, BatchBytes: 1 << 20,
		Async: true, Linger: 5 * time.Millisecond, BufferRecords: 50000, BufferBytes: 256 << 20,
	}
	if set != nil {
		set(&o)
	}
	return o
}

func newTestProducer(t testing.TB, servers []string, set func(*Options)) *Producer {
	t.Helper()
	p := newProducer(testOptions(servers, set), Access{}, &PoolOptions{Log: discard}, new(pendingLines))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		p.close(ctx, errAbandoned)
	})
	return p
}

// topicOf returns topic "t", to which most tests send.
func topicOf(p *Producer) *topic {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.topic("t")
}

// setOptions gives the producer, which was not used yet, another cluster.
func setOptions(p *Producer, set func(*cluster.Options)) {
	o := p.clusterOptions()
	set(&o)
	p.cluster.Close(nil)
	p.cluster = cluster.New(o)
}

func setMaxUnavailable(p *Producer, d time.Duration) {
	p.maxUnavailable = d
	setOptions(p, func(o *cluster.Options) { o.MaxUnavailable = d })
}

var discard = slog.New(slog.DiscardHandler)

// expired returns a context that has ended.
func expired(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func record(value string) Record { return Record{Topic: "t", Value: []byte(value)} }

func send(t *testing.T, p *Producer, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := p.Send(t.Context(), record(v)); err != nil {
			t.Fatalf("sending %.20q: %v", v, err)
		}
	}
}

// eventually polls until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func settled(t testing.TB, p *Producer) Totals {
	t.Helper()
	eventually(t, "every record has met its fate", func() bool { return p.totals().Buffered == 0 })
	s := p.totals()
	if s.Accepted != s.Delivered+s.Failed+s.Undelivered || s.BufferedBytes != 0 {
		t.Errorf("the sums do not agree: %+v", s)
	}
	return s
}

// closedPort returns an address where nobody listens.
func closedPort(t testing.TB) string {
	t.Helper()
	return kafkatest.ClosedPort(t)
}

func TestRecordArrivesAsItWasSent(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(3, "t"))
	p := newTestProducer(t, f.Addrs(), nil)
	before := time.Now().Add(-time.Second)
	send(t, p, "hello", "")
	r := f.Records(t, "t", 2)
	slices.SortFunc(r, func(a, b *kgo.Record) int { return bytes.Compare(b.Value, a.Value) })
	if string(r[0].Value) != "hello" || len(r[1].Value) != 0 || r[0].Key != nil || len(r[0].Headers) != 0 {
		t.Errorf("got %q with key %q and headers %v, and %q", r[0].Value, r[0].Key, r[0].Headers, r[1].Value)
	}
	if at := r[0].Timestamp; at.Before(before) || at.After(time.Now().Add(time.Second)) {
		t.Errorf("its time is %v", at)
	}
	settled(t, p)
}

func TestRecordHasTheTimeItIsGiven(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), nil)
	at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	if err := p.Send(t.Context(), Record{Topic: "t", Value: []byte("x"), Time: at}); err != nil {
		t.Fatal(err)
	}
	if r := f.Records(t, "t", 1); !r[0].Timestamp.Equal(at) {
		t.Errorf("its time is %v, want %v", r[0].Timestamp, at)
	}
	settled(t, p)
}

func TestAcksAndRequestTimeoutAreWhatTheBrokerReads(t *testing.T) {
	for _, acks := range []int{-1, 0, 1} {
		for _, async := range []bool{true, false} {
			f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
			p := newTestProducer(t, f.Addrs(), func(o *Options) {
				o.Acks = acks
				o.RequestTimeout = time.Duration(1234+acks) * time.Millisecond
				o.Async = async
			})
			send(t, p, "x")
			eventually(t, "the request", func() bool { return len(f.Produces()) > 0 })
			if r := f.Produces()[0]; int(r.Acks) != acks || r.Timeout != time.Duration(1234+acks)*time.Millisecond {
				t.Errorf("acks %d, async %v: on the wire are acks %d, timeout %v", acks, async, r.Acks, r.Timeout)
			}
			if s := settled(t, p); s.Delivered != 1 {
				t.Errorf("acks %d: %+v", acks, s)
			}
		}
	}
}

func TestBatchIsSentWhenItHasMessagesPerRequest(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.BatchRecords = 5; o.Linger = time.Hour })
	for range 10 {
		send(t, p, "x")
	}
	f.Records(t, "t", 10) // long before the hour is over
	for _, r := range f.Produces() {
		if len(r.Batches) != 1 || r.Batches[0].Records != 5 {
			t.Errorf("a request holds %+v, want one batch of 5", r.Batches)
		}
	}
	settled(t, p)
}

func TestBatchIsSentBeforeItHasMoreThanBytesPerRequest(t *testing.T) {
	const limit = 4096
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.BatchBytes = limit })
	send(t, p, strings.Repeat("x", limit-Overhead)) // the largest there can be
	for i := range 20 {
		send(t, p, strings.Repeat("y", 100*i))
	}
	f.Records(t, "t", 21)
	requests := f.Produces()
	if len(requests) < 21000/limit {
		t.Errorf("%d requests", len(requests))
	}
	for _, r := range requests {
		for _, b := range r.Batches {
			if b.Bytes > limit {
				t.Errorf("a batch of %d records has %d bytes, the limit is %d", b.Records, b.Bytes, limit)
			}
		}
	}
	err := p.Send(t.Context(), record(strings.Repeat("x", limit-Overhead+1)))
	if e, ok := errors.AsType[*TooLargeError](err); !ok || e.Limit != limit {
		t.Errorf("a larger record: %v", err)
	}
	if s := settled(t, p); s.Accepted != 21 || s.Rejected != 1 {
		t.Errorf("stats are %+v", s)
	}
}

// A record of the size that the default allows is taken by a broker with the
// default message.max.bytes.
func TestLargestRecordFitsABrokersDefault(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "1048588"}))
	p := newTestProducer(t, f.Addrs(), nil)
	send(t, p, strings.Repeat("x", 1048576-Overhead))
	if s := settled(t, p); s.Delivered != 1 {
		t.Errorf("stats are %+v", s)
	}
}

func TestBatchIsSentAfterFlushTimeout(t *testing.T) {
	const linger = 200 * time.Millisecond
	f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Linger = linger })
	send(t, p, "first")
	f.Records(t, "t", 1) // connections are open from now on
	start := time.Now()
	send(t, p, "a", "b", "c")
	f.Records(t, "t", 4)
	requests := f.Produces()
	last := requests[len(requests)-1]
	if waited := last.At.Sub(start); waited < linger-time.Millisecond {
		t.Errorf("sent after %v, want %v", waited, linger)
	}
	if last.Batches[0].Records != 3 {
		t.Errorf("the request holds %d records, want the 3 that waited together", last.Batches[0].Records)
	}
}

func TestAttemptsAndBackoffAreAsConfigured(t *testing.T) {
	const attempts, backoff = 4, 60 * time.Millisecond
	for _, async := range []bool{true, false} {
		f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 100})
		p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Async = async; o.MaxAttempts = attempts; o.Backoff = backoff })
		err := p.Send(t.Context(), record("x"))
		if async != (err == nil) {
			t.Errorf("async %v: Send returns %v", async, err)
		}
		if s := settled(t, p); s.Failed != 1 {
			t.Errorf("async %v: %+v", async, s)
		}
		requests := f.Produces()
		if len(requests) != attempts {
			t.Fatalf("async %v: %d attempts, want %d", async, len(requests), attempts)
		}
		for i := 1; i < attempts; i++ {
			if gap := requests[i].At.Sub(requests[i-1].At); gap < backoff {
				t.Errorf("async %v: attempt %d came after %v, want %v", async, i+1, gap, backoff)
			}
		}
	}
}

func TestErrorThatDoesNotPassIsNotRetried(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: 100})
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Async = false })
	if err := p.Send(t.Context(), record("x")); err == nil || !strings.Contains(err.Error(), "Authorization") {
		t.Errorf("Send: %v", err)
	}
	if n := len(f.Produces()); n != 1 {
		t.Errorf("%d attempts", n)
	}
}

func TestErrorsThatPassLoseNothing(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.BrokerNotAvailable, kerr.ReplicaNotAvailable,
		kerr.LeaderNotAvailable, kerr.NotEnoughReplicas, kerr.KafkaStorageError, kerr.NetworkException} {
		f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: e, Count: 2})
		p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Backoff = 10 * time.Millisecond })
		send(t, p, "x")
		if s := settled(t, p); s.Delivered != 1 {
			t.Errorf("%s: %+v", e.Message, s)
		}
	}
}

func TestBufferLimitsAreExactUnderManySenders(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"records": func(o *Options) { o.BufferRecords = 500 },
		"bytes":   func(o *Options) { o.BufferBytes = 5000 },
	} {
		t.Run(name, func(t *testing.T) {
			p := newTestProducer(t, []string{closedPort(t)}, set)
			var wg sync.WaitGroup
			for range 64 {
				wg.Go(func() {
					for range 20 {
						if err := p.Send(t.Context(), record("0123456789")); err != nil && !errors.Is(err, ErrFull) {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			want := Totals{Accepted: 500, Rejected: 64*20 - 500, Buffered: 500, BufferedBytes: 5000}
			if s := p.totals(); s != want {
				t.Errorf("got %+v, want %+v", s, want)
			}
			eventually(t, "the failure is noticed", func() bool { return topicOf(p).log.failing.Load() })
			if news := p.pending.next(); !strings.Contains(news, "780 records to topic t rejected") || !strings.Contains(news, "connection refused") {
				t.Errorf("Kong's error log reads %q", news)
			}
			if news := p.pending.next(); news != "" {
				t.Errorf("and then at once %q", news)
			}
		})
	}
}

func TestNoSenderWaitsForABrokerThatIsAway(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, address := range map[string]string{"refused": closedPort(t), "silent": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			p := newTestProducer(t, []string{address}, func(o *Options) { o.Timeout = time.Minute })
			for range 100 {
				start := time.Now()
				send(t, p, "x")
				if d := time.Since(start); d > time.Second {
					t.Fatalf("Send took %v", d)
				}
			}
			if s := p.totals(); s.Buffered != 100 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestRecordsWaitForABrokerThatComesLater(t *testing.T) {
	address := closedPort(t)
	p := newTestProducer(t, []string{address}, func(o *Options) { o.MaxAttempts = 1; o.Backoff = 10 * time.Millisecond })
	for i := range 1000 {
		send(t, p, strconv.Itoa(i))
	}
	eventually(t, "the failure is noticed", func() bool { return topicOf(p).log.failing.Load() })
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.Ports(n), kfake.SeedTopics(1, "t"))
	for i, r := range f.Records(t, "t", 1000) {
		if string(r.Value) != strconv.Itoa(i) {
			t.Fatalf("record %d is %q: the order is lost", i, r.Value)
		}
	}
	if s := settled(t, p); s.Delivered != 1000 {
		t.Errorf("%+v", s)
	}
}

func TestRecordsWaitForABrokerThatGoesAndComesBack(t *testing.T) {
	dir := t.TempDir()
	address := closedPort(t)
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.Ports(n), kfake.SeedTopics(1, "t"), kfake.DataDir(dir)}
	f := kafkatest.StartFake(t, opts...)
	p := newTestProducer(t, []string{address}, func(o *Options) { o.MaxAttempts = 2; o.Backoff = 10 * time.Millisecond; o.BatchRecords = 10 })
	send(t, p, "before")
	settled(t, p)
	f.Close()
	for i := range 100 {
		send(t, p, strconv.Itoa(i))
	}
	eventually(t, "the failure is noticed", func() bool { return topicOf(p).log.failing.Load() })
	f = kafkatest.StartFake(t, opts...)
	f.Records(t, "t", 101)
	// One attempt of two meets the dying connection; none is used up while the
	// broker is away.
	if s := settled(t, p); s.Failed > 0 {
		t.Errorf("%+v", s)
	}
}

func TestTopicThatIsMissingMayComeLater(t *testing.T) {
	f := kafkatest.StartFake(t)
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Backoff = 10 * time.Millisecond })
	send(t, p, "x")
	eventually(t, "the failure is noticed", func() bool { return topicOf(p).log.failing.Load() })
	if err := f.CreateTopic("t", 2, nil); err != nil {
		t.Fatal(err)
	}
	f.Records(t, "t", 1)
	settled(t, p)
}

func TestSyncSendReturnsWithTheAcknowledgement(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(3, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Async = false })
	for i := range 5 {
		send(t, p, "x")
		if got := len(f.Records(t, "t", 0)); got != i+1 {
			t.Fatalf("%d records are in the topic after %d acknowledgements", got, i+1)
		}
	}
	if s := settled(t, p); s.Delivered != 5 {
		t.Errorf("%+v", s)
	}
}

func TestSyncSendFailsWhenTheAttemptsAreUsedUp(t *testing.T) {
	p := newTestProducer(t, []string{closedPort(t)}, func(o *Options) { o.Async = false; o.MaxAttempts = 3; o.Backoff = 20 * time.Millisecond })
	start := time.Now()
	err := p.Send(t.Context(), record("x"))
	if err == nil || !strings.Contains(err.Error(), "cannot reach broker") {
		t.Errorf("Send: %v", err)
	}
	if d := time.Since(start); d < 40*time.Millisecond || d > 10*time.Second {
		t.Errorf("after %v", d)
	}
	if s := settled(t, p); s.Failed != 1 {
		t.Errorf("%+v", s)
	}
}

func TestSyncSendEndsWithItsContext(t *testing.T) {
	p := newTestProducer(t, []string{closedPort(t)}, func(o *Options) { o.Async = false; o.MaxAttempts = 1000 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Send(ctx, record("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Send: %v", err)
	}
}

func TestBrokerThatNeverAnswersCostsTheTimeout(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Async = false; o.Timeout = 100 * time.Millisecond; o.MaxAttempts = 2 })
	send(t, p, "x")
	f.Hold(kmsg.Produce, func(gone <-chan struct{}) { <-gone })
	start := time.Now()
	err := p.Send(t.Context(), record("x"))
	if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
		t.Errorf("Send: %v", err)
	}
	if d := time.Since(start); d < 200*time.Millisecond || d > 5*time.Second {
		t.Errorf("two attempts of 100 ms each took %v", d)
	}
}

func TestIdleConnectionIsKeptForKeepalive(t *testing.T) {
	for keepalive, kept := range map[time.Duration]bool{20 * time.Millisecond: false, time.Minute: true} {
		f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
		p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Keepalive = keepalive })
		send(t, p, "x")
		settled(t, p)
		time.Sleep(200 * time.Millisecond) // idle
		send(t, p, "y")
		settled(t, p)
		if r := f.Produces(); (r[0].Conn == r[1].Conn) != kept {
			t.Errorf("keepalive %v: produced on connections %d and %d", keepalive, r[0].Conn, r[1].Conn)
		}
	}
}

func TestCloseDeliversWhatIsInTheBuffer(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Linger = time.Hour })
	for range 50 {
		send(t, p, "x")
	}
	if left := p.close(t.Context(), errAbandoned); left != 0 {
		t.Errorf("%d left", left)
	}
	if err := p.Send(t.Context(), record("late")); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after the close: %v", err)
	}
	if s := settled(t, p); s.Delivered != 50 || s.Rejected != 1 {
		t.Errorf("%+v", s)
	}
}

func TestCloseCountsWhatItLeaves(t *testing.T) {
	for name, warm := range map[string]bool{"brokers never met": false, "brokers gone": true} {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
			p := newTestProducer(t, f.Addrs(), nil)
			if warm {
				send(t, p, "x")
				settled(t, p)
			}
			f.Close()
			for range 50 {
				send(t, p, "x")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			start := time.Now()
			if left := p.close(ctx, errAbandoned); left != 50 {
				t.Errorf("%d left, want 50: %+v", left, p.totals())
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("closing took %v", d)
			}
		})
	}
}

func TestEveryRecordMeetsOneFateWhileTheProducerCloses(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.BufferRecords = 1000 })
	var wg sync.WaitGroup
	var mu sync.Mutex
	counts := make(map[error]int64)
	for range 16 {
		wg.Go(func() {
			for err := error(nil); !errors.Is(err, ErrClosed); {
				if errors.Is(err, ErrFull) {
					time.Sleep(time.Millisecond) // as a client that is told to retry
				}
				err = p.Send(t.Context(), record("x"))
				mu.Lock()
				counts[err]++
				mu.Unlock()
			}
		})
	}
	time.AfterFunc(10*time.Millisecond, f.DropConnections)
	eventually(t, "some were sent", func() bool { return p.totals().Accepted > 3000 })
	p.close(t.Context(), errAbandoned)
	wg.Wait()
	s := settled(t, p)
	if s.Accepted != counts[nil] || s.Rejected != counts[ErrFull]+counts[ErrClosed] {
		t.Errorf("%+v, senders saw %v", s, counts)
	}
	if got := int64(len(f.Records(t, "t", int(s.Delivered)))); got < s.Delivered {
		t.Errorf("%d records in the topic, %d delivered", got, s.Delivered)
	}
}

// testLog is that of a topic.
func testLog(log *slog.Logger) *deliveryLog {
	p := newProducer(testOptions([]string{"kafka-1:9092", "kafka-2:9092"}, nil), Access{}, &PoolOptions{Log: log}, new(pendingLines))
	return topicOf(p).log
}

func TestLossIsToldOnceAndCounted(t *testing.T) {
	s := testLog(discard)
	if s.line() != "" {
		t.Error("news of nothing")
	}
	for range 37 {
		s.recordsLost(1, partitionLeader{}, errors.New("broker\nsays no"))
	}
	news := s.line()
	if !strings.HasPrefix(news, "37 records to topic t lost since ") || !strings.HasSuffix(news, ": broker says no") {
		t.Errorf("news are %q", news)
	}
	s.recordsLost(1, partitionLeader{}, errors.New("again"))
	if news := s.line(); news != "" {
		t.Errorf("a second line within a second: %q", news)
	}
	s.mu.Lock()
	s.reported = time.Time{}
	s.mu.Unlock()
	if news := s.line(); !strings.HasPrefix(news, "1 records to topic t lost") {
		t.Errorf("a second later: %q", news)
	}
}

func TestRefusedRecordsAreLoggedOnceASecondWithTheirNumber(t *testing.T) {
	var out strings.Builder
	s := testLog(slog.New(slog.NewTextHandler(&out, nil)))
	now := time.Now()
	for i := range 2000 { // in two seconds
		s.recordsRejected(1, now.Add(time.Duration(i)*time.Millisecond), ErrFull)
	}
	if text := out.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "records=1 ") || !strings.Contains(text, "records=1000 ") {
		t.Errorf("the log reads\n%s", text)
	}
	if news := s.line(); !strings.HasPrefix(news, "2000 records to topic t rejected since ") {
		t.Errorf("news are %q", news)
	}
}

func ExampleTooLargeError() {
	fmt.Println(&TooLargeError{Size: 2000, Limit: 1024})
	// Output: the record has 2000 bytes with its envelope, and producer_request_limits_bytes_per_request allows 1024
}

func hostPort(t testing.TB, address string) (host string, port int32) {
	t.Helper()
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return host, int32(n)
}
