package producer

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/testcert"
)

// load sends numbered records until it is stopped.
type load struct {
	t    *testing.T
	p    *Producer
	stop chan struct{}
	wg   sync.WaitGroup
	mu   sync.Mutex
	sent map[string]bool // accepted
}

func startLoad(t *testing.T, p *Producer) *load {
	l := &load{t: t, p: p, stop: make(chan struct{}), sent: make(map[string]bool)}
	for sender := range 4 {
		l.wg.Go(func() {
			pace := time.NewTicker(500 * time.Microsecond)
			defer pace.Stop()
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				case <-pace.C:
				}
				v := strconv.Itoa(sender) + "/" + strconv.Itoa(i)
				switch err := p.Send(context.Background(), record(v)); {
				case err == nil:
					l.mu.Lock()
					l.sent[v] = true
					l.mu.Unlock()
				case !errors.Is(err, ErrFull):
					t.Errorf("sending: %v", err)
				}
			}
		})
	}
	return l
}

// end stops the load, waits until every record has met its fate, and compares
// what is in the topic with what was accepted. It returns how many records are
// missing and how many are there more than once.
func (l *load) end(f *kafkatest.Fake) (lost, doubled int) {
	l.t.Helper()
	close(l.stop)
	l.wg.Wait()
	s := settled(l.t, l.p)
	seen := make(map[string]int)
	for _, r := range f.Records(l.t, "t", int(s.Delivered)) {
		if !l.sent[string(r.Value)] {
			l.t.Errorf("%q is in the topic, and nobody was told that it was accepted", r.Value)
		}
		seen[string(r.Value)]++
	}
	for v := range l.sent {
		switch n := seen[v]; {
		case n == 0:
			lost++
		case n > 1:
			doubled++
		}
	}
	if int64(len(l.sent)) != s.Accepted || int64(lost) > s.Failed {
		l.t.Errorf("%d senders were told that their record was accepted, %d records are missing: %+v", len(l.sent), lost, s)
	}
	l.t.Logf("accepted %d, lost %d, doubled %d, failed %d", s.Accepted, lost, doubled, s.Failed)
	return lost, doubled
}

func TestFaultLeadershipMovesLosesNothing(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(3), kfake.SeedTopics(10, "t"))
	p := newTestProducer(t, f.Addrs(), nil)
	l := startLoad(t, p)
	for range 8 {
		time.Sleep(250 * time.Millisecond)
		f.ShufflePartitionLeaders()
	}
	if lost, _ := l.end(f); lost > 0 {
		t.Errorf("%d lost", lost)
	}
}

// leaderless has the cluster name no leader for the partition until then.
func leaderless(f *kafkatest.Fake, until time.Time) {
	f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if time.Now().After(until) {
			f.DropControl()
			return nil, nil, false
		}
		return nil, errors.New("cut"), true
	})
	host, port, _ := net.SplitHostPort(f.Addrs()[0])
	n, _ := strconv.Atoi(port)
	f.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if time.Now().After(until) {
			f.DropControl()
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.MetadataResponse)
		b := kmsg.NewMetadataResponseBroker()
		b.Host, b.Port = host, int32(n)
		resp.Brokers = append(resp.Brokers, b)
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = kmsg.StringPtr("t")
		partition := kmsg.NewMetadataResponseTopicPartition()
		partition.Leader, partition.ErrorCode = -1, kerr.LeaderNotAvailable.Code
		topic.Partitions = append(topic.Partitions, partition)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
}

func TestFaultPartitionWithoutLeaderLosesNothing(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), nil)
	l := startLoad(t, p)
	eventually(t, "some are delivered", func() bool { return p.totals().Delivered > 0 })
	leaderless(f, time.Now().Add(3*time.Second)) // thrice what the attempts would take
	time.Sleep(3 * time.Second)
	if lost, _ := l.end(f); lost > 0 {
		t.Errorf("%d lost", lost)
	}
}

// restart ends all brokers, has them away for some time, and starts them again
// with what they had.
func restart(t *testing.T, f *kafkatest.Fake, away time.Duration, opts ...kfake.Opt) *kafkatest.Fake {
	t.Helper()
	f.Close()
	time.Sleep(away)
	return kafkatest.StartFake(t, opts...)
}

func onOnePort(t *testing.T) (address string, opts []kfake.Opt) {
	t.Helper()
	address = closedPort(t)
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return address, []kfake.Opt{kfake.NumBrokers(1), kfake.Ports(n), kfake.SeedTopics(10, "t"), kfake.DataDir(t.TempDir())}
}

func TestFaultAllBrokersAwayLosesNothing(t *testing.T) {
	address, opts := onOnePort(t)
	p := newTestProducer(t, []string{address}, nil)
	l := startLoad(t, p) // from the start
	time.Sleep(1500 * time.Millisecond)
	f := kafkatest.StartFake(t, opts...)
	eventually(t, "some are delivered", func() bool { return p.totals().Delivered > 0 })
	f = restart(t, f, 2*time.Second, opts...) // and in the middle
	if lost, _ := l.end(f); lost > 0 {
		t.Errorf("%d lost", lost)
	}
}

func TestFaultRestartWithManyIdleConnectionsLosesNothing(t *testing.T) {
	address, opts := onOnePort(t)
	opts = append(opts, kfake.SeedTopics(50, "t"))
	f := kafkatest.StartFake(t, opts...)
	p := newTestProducer(t, []string{address}, func(o *Options) { o.BatchRecords = 1 })
	for range 10 { // one record for each partition, all at once
		for range 50 {
			send(t, p, "x")
		}
	}
	settled(t, p)
	before := f.Connections()
	f = restart(t, f, 0, opts...)
	send(t, p, "after")
	if s := settled(t, p); s.Failed > 0 {
		t.Errorf("after a restart with %d connections: %+v", before, s)
	}
	_ = f
}

func TestFaultConnectionsResetLosesNothing(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"))
	p := newTestProducer(t, f.Addrs(), nil)
	l := startLoad(t, p)
	for range 8 { // not as many as attempts, nor at their pace: one batch may meet each of them
		time.Sleep(130 * time.Millisecond)
		f.DropConnections()
	}
	if lost, _ := l.end(f); lost > 0 {
		t.Errorf("%d lost", lost)
	}
}

func TestFaultBrokerThatDoesNotAnswerForATimeLosesNothing(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(10, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Timeout = 300 * time.Millisecond })
	l := startLoad(t, p)
	eventually(t, "some are delivered", func() bool { return p.totals().Delivered > 0 })
	silent := time.Now().Add(time.Second)
	f.Hold(kmsg.Produce, func(gone <-chan struct{}) {
		select {
		case <-gone:
		case <-time.After(time.Until(silent)):
		}
	})
	time.Sleep(time.Second)
	if lost, _ := l.end(f); lost > 0 {
		t.Errorf("%d lost", lost)
	}
}

// The broker applied the batch, and said that it had not within its time.
func TestFaultAcknowledgementLostDoublesAndLosesNothing(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 2})
	p := newTestProducer(t, f.Addrs(), nil)
	l := startLoad(t, p)
	time.Sleep(300 * time.Millisecond)
	lost, doubled := l.end(f)
	if lost > 0 || doubled == 0 {
		t.Errorf("%d lost, %d doubled: want none lost, and those of the first batch doubled", lost, doubled)
	}
}

func TestFaultTopicDeletedFailsItsRecordsAndTellsWhy(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.MaxAttempts = 1 })
	send(t, p, "x")
	settled(t, p)
	if err := f.DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	send(t, p, "y")
	if s := settled(t, p); s.Failed != 1 {
		t.Errorf("%+v", s)
	}
	if news := p.pending.next(); !strings.Contains(news, "1 records to topic t lost") || !strings.Contains(news, "Unknown Topic") {
		t.Errorf("Kong's error log reads %q", news)
	}
}

func TestFaultTopicThatNobodyMakesFailsItsRecordsWhenPatienceIsOver(t *testing.T) {
	f := kafkatest.StartFake(t)
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.MaxAttempts = 1 })
	setMaxUnavailable(p, 300*time.Millisecond)
	began := time.Now()
	send(t, p, "x")
	if s := settled(t, p); s.Failed != 1 {
		t.Errorf("%+v", s)
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("given up after %v", took)
	}
}

func TestFaultPartitionThatNobodyLeadsFailsItsRecordsWhenPatienceIsOver(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.MaxAttempts = 2 })
	setMaxUnavailable(p, 300*time.Millisecond)
	send(t, p, "before")
	settled(t, p)
	until := time.Now().Add(5 * time.Second)
	leaderless(f, until)
	send(t, p, "x")
	if s := settled(t, p); s.Failed != 1 || time.Now().After(until) {
		t.Errorf("%+v", s)
	}
	if news := p.pending.next(); !strings.Contains(news, "gave up after 300ms") {
		t.Errorf("Kong's error log reads %q", news)
	}
}

// One request is in flight for a partition, so no retry overtakes another batch.
func TestOrderIsKeptWithinAPartitionAcrossRetries(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.BatchRecords = 10; o.Backoff = time.Millisecond; o.MaxAttempts = 100 })
	for i := range 1000 {
		if i%100 == 0 {
			f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 2})
		}
		send(t, p, strconv.Itoa(i))
	}
	if s := settled(t, p); s.Delivered != 1000 {
		t.Errorf("%+v", s)
	}
	for i, r := range f.Records(t, "t", 1000) {
		if string(r.Value) != strconv.Itoa(i) {
			t.Fatalf("at offset %d is %q", r.Offset, r.Value)
		}
	}
}

func TestFaultPartitionsAddedAreUsed(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.BatchRecords = 1 })
	send(t, p, "x")
	settled(t, p)
	client, err := kgo.NewClient(kgo.SeedBrokers(f.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).UpdatePartitions(t.Context(), 3, "t"); err != nil {
		t.Fatal(err)
	}
	p.cluster.CloseIdleConnections()
	if err := p.cluster.Await(t.Context(), "t"); err != nil { // as when the metadata is old
		t.Fatal(err)
	}
	eventually(t, "all partitions are used", func() bool {
		send(t, p, "y")
		used := make(map[int32]bool)
		for _, r := range f.Records(t, "t", 0) {
			used[r.Partition] = true
		}
		return len(used) == 3
	})
	settled(t, p)
}

func TestFaultRecordTooLargeForTheBrokerFailsAlone(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "2000"}))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.BatchRecords = 20; o.Linger = time.Hour })
	for i := range 20 {
		v := strconv.Itoa(i)
		if i == 7 || i == 13 {
			v += strings.Repeat("x", 3000)
		}
		send(t, p, v)
	}
	if s := settled(t, p); s.Delivered != 18 || s.Failed != 2 {
		t.Errorf("%+v", s)
	}
	var got []string
	for _, r := range f.Records(t, "t", 18) {
		got = append(got, string(r.Value))
	}
	if want := strings.Split("0 1 2 3 4 5 6 8 9 10 11 12 14 15 16 17 18 19", " "); !slices.Equal(got, want) {
		t.Errorf("in the topic are %q, want %q", got, want)
	}
	if news := p.pending.next(); !strings.Contains(news, "2 records to topic t lost") {
		t.Errorf("Kong's error log reads %q", news)
	}
}

// Kafka names the records for which it refuses a batch: timestamps too far from
// its clock, no key for a compacted topic.
func TestFaultSomeRecordsOfABatchRefusedFailAlone(t *testing.T) {
	const each = 20
	f := kafkatest.StartFake(t, kfake.SeedTopics(3, "t"))
	refused := refuseRecords(t, f, kerr.InvalidTimestamp, func(bad []bool) (named []int) {
		for i := range bad {
			if bad[i] {
				named = append(named, i)
			}
		}
		return named
	})
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.BatchRecords = each; o.Linger = time.Hour })
	var want []string
	for i := range 6 * each { // batches for all partitions: with one or two bad records, with none, and with none but bad ones
		r := record(strconv.Itoa(i))
		switch batch := i / each; {
		case batch < 4 && i%each == 2*batch, batch == 2 && i%each == 19, batch == 5:
			r.Value = []byte(badValue)
		default:
			want = append(want, string(r.Value))
		}
		if err := p.Send(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if s := settled(t, p); s.Delivered != int64(len(want)) || s.Failed != int64(6*each-len(want)) {
		t.Errorf("%+v, want %d delivered", s, len(want))
	}
	got := make(map[int32][]int)
	var all []string
	for _, r := range f.Records(t, "t", len(want)) {
		i, _ := strconv.Atoi(string(r.Value))
		got[r.Partition] = append(got[r.Partition], i)
		all = append(all, string(r.Value))
	}
	for partition, numbers := range got {
		if !slices.IsSorted(numbers) {
			t.Errorf("partition %d has %v", partition, numbers)
		}
	}
	slices.Sort(all)
	slices.Sort(want)
	if !slices.Equal(all, want) {
		t.Errorf("in the topic are %q, want %q", all, want)
	}
	if n := refused.Load(); n != 5 {
		t.Errorf("%d batches were refused, want 5: the good records go once more, the bad ones do not", n)
	}
	if news := p.pending.next(); !strings.Contains(news, "25 records to topic t lost") || !strings.Contains(news, "is of another time") {
		t.Errorf("Kong's error log reads %q", news)
	}
}

// badValue is the value of the records that brokers mind.
const badValue = "bad"

// refuseRecords has the batches refused in which which names records, being told which
// ones are bad. It counts them.
func refuseRecords(t *testing.T, f *kafkatest.Fake, code *kerr.Error, which func(bad []bool) (named []int)) *atomic.Int32 {
	refused := new(atomic.Int32)
	f.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		r := req.(*kmsg.ProduceRequest)
		from := r.Topics[0].Partitions[0]
		answer := kmsg.NewProduceResponseTopicPartition()
		answer.Partition, answer.ErrorCode = from.Partition, code.Code
		for _, i := range which(badOnes(t, from.Records)) {
			named := kmsg.NewProduceResponseTopicPartitionErrorRecord()
			named.RelativeOffset, named.ErrorMessage = int32(i), kmsg.StringPtr("is of another time")
			answer.ErrorRecords = append(answer.ErrorRecords, named)
		}
		if len(answer.ErrorRecords) == 0 {
			return nil, nil, false
		}
		refused.Add(1)
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID, topic.Partitions = r.Topics[0].Topic, r.Topics[0].TopicID, append(topic.Partitions, answer)
		res := r.ResponseKind().(*kmsg.ProduceResponse)
		res.Topics = append(res.Topics, topic)
		return res, nil, true
	})
	return refused
}

// Whatever a broker says of records, a batch that is too large is halved where it was
// to go, and one that may be tried again is.
func TestFaultRecordsNamedWithOtherCodesChangeNothing(t *testing.T) {
	const each, attempts = 8, 3
	for _, c := range []struct {
		code      *kerr.Error
		named     func(bad []bool) []int
		delivered int64
		refused   int32
	}{
		{kerr.MessageTooLarge, func(bad []bool) []int {
			if len(bad) > 1 {
				return []int{0}
			}
			return nil
		}, 3 * each, 3 * (each - 1)},
		{kerr.CorruptMessage, func([]bool) []int { return []int{0} }, 0, 3 * attempts},
	} {
		t.Run(c.code.Message, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(3, "t"))
			refused := refuseRecords(t, f, c.code, c.named)
			p := newTestProducer(t, f.Addrs(), func(o *Options) {
				o.BatchRecords = each
				o.Linger = time.Hour
				o.MaxAttempts = attempts
				o.Backoff = time.Millisecond
			})
			for i := range 3 * each {
				send(t, p, strconv.Itoa(i))
			}
			if s := settled(t, p); s.Delivered != c.delivered {
				t.Errorf("%+v, want %d delivered", s, c.delivered)
			}
			if n := refused.Load(); n != c.refused {
				t.Errorf("%d batches were refused, want %d", n, c.refused)
			}
			got := make(map[int32]int)
			for _, r := range f.Records(t, "t", int(c.delivered)) {
				got[r.Partition]++
			}
			for partition, n := range got {
				if n != each {
					t.Errorf("partition %d has %d records, want %d", partition, n, each)
				}
			}
		})
	}
}

// badOnes tells of each record in a batch whether it is bad.
func badOnes(t *testing.T, raw []byte) (are []bool) {
	var batch kmsg.RecordBatch
	if err := batch.ReadFrom(raw); err != nil {
		t.Error(err)
		return nil
	}
	for rest := batch.Records; len(rest) > 0; {
		length, n := binary.Varint(rest)
		var r kmsg.Record
		if err := r.ReadFrom(rest[:n+int(length)]); err != nil {
			t.Error(err)
			return nil
		}
		are = append(are, string(r.Value) == badValue)
		rest = rest[n+int(length):]
	}
	return are
}

func TestFaultAuthorizationRefusedFailsAndTellsWhy(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.Produce, kmsg.Metadata} {
		f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
		f.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		p := newTestProducer(t, f.Addrs(), func(o *Options) { o.MaxAttempts = 2; o.Backoff = time.Millisecond })
		send(t, p, "x")
		if s := settled(t, p); s.Failed != 1 {
			t.Errorf("%+v", s)
		}
		if news := p.pending.next(); !strings.Contains(news, "Authorization") {
			t.Errorf("Kong's error log reads %q", news)
		}
	}
}

func TestFaultHandshakesDroppedLosesNothing(t *testing.T) {
	ca := testcert.New("brokers")
	var until atomic.Pointer[time.Time]
	server := ca.ServerConfig("127.0.0.1")
	server.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if u := until.Load(); u != nil && time.Now().Before(*u) {
			_ = hello.Conn.Close()
			return nil, errors.New("dropped")
		}
		return nil, nil
	}
	f := kafkatest.StartFakeTLS(t, server, kfake.SeedTopics(10, "t"))
	p := newProducer(testOptions(f.Addrs(), nil), Access{TLS: &tls.Config{RootCAs: ca.Pool()}}, &PoolOptions{Log: discard}, new(pendingLines))
	t.Cleanup(func() { p.close(context.Background(), errAbandoned) })
	l := startLoad(t, p)
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		u := time.Now().Add(500 * time.Millisecond)
		until.Store(&u)
		f.DropConnections()
		time.Sleep(500 * time.Millisecond)
	}
	if lost, _ := l.end(f); lost > 0 {
		t.Errorf("%d lost", lost)
	}
}

func TestFaultBootstrapServerThatNeverAnswersCostsItsShareOfTheTimeout(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	hole, err := net.Listen("tcp", "127.0.0.1:0") // accepts nothing once its backlog is full
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	for name, bad := range map[string]string{"refuses": closedPort(t), "silent": hole.Addr().String()} {
		p := newTestProducer(t, []string{bad, f.Addrs()[0]}, func(o *Options) {
			o.Timeout = 500 * time.Millisecond
			o.Async = false
			o.MaxAttempts = 100
			o.Backoff = time.Millisecond
		})
		if err := p.Send(t.Context(), record("x")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFaultOutageGrowsNoGoroutineAndNoTimer(t *testing.T) {
	address, opts := onOnePort(t)
	f := kafkatest.StartFake(t, opts...)
	p := newTestProducer(t, []string{address}, func(o *Options) { o.BufferRecords = 1000; o.Backoff = 20 * time.Millisecond })
	send(t, p, "x")
	settled(t, p)
	f.Close()
	for range 5000 {
		if err := p.Send(t.Context(), record("x")); err != nil && !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	eventually(t, "the failure is noticed", func() bool { return topicOf(p).log.failing.Load() })
	before := runtime.NumGoroutine()
	for range 200 { // looks at the cluster pass
		_ = p.Send(t.Context(), record("x"))
		time.Sleep(10 * time.Millisecond)
	}
	if after := runtime.NumGoroutine(); after > before+20 {
		t.Errorf("%d goroutines became %d", before, after)
	}
	f = kafkatest.StartFake(t, opts...)
	if s := settled(t, p); s.Failed > 0 {
		t.Errorf("%+v", s)
	}
	_ = f
}
