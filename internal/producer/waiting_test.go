package producer

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
)

// A topic that brokers do not know for a moment, after an outage that was longer than
// they may take to know it: the outage does not count.
func TestOutageDoesNotCountAsTimeInWhichATopicIsMissing(t *testing.T) {
	address, opts := onOnePort(t)
	p := newTestProducer(t, []string{address}, nil)
	setMaxUnavailable(p, 300*time.Millisecond)
	send(t, p, "x", "y")
	eventually(t, "the records are older than that", func() bool { return time.Since(firstTime(p)) > 2*p.maxUnavailable })
	f := kafkatest.StartFake(t, opts...)
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Err: kerr.LeaderNotAvailable, Count: 2})
	if s := settled(t, p); s.Failed > 0 {
		t.Errorf("%+v", s)
	}
}

// firstTime returns when the first record that is not in flight came.
func firstTime(p *Producer) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.started.Add(p.topics["t"].unkeyed.first().accepted)
}

// A partition that was just added, of which its leader and another broker do not know for
// a moment.
func TestPartitionThatBrokersDoNotKnowYetIsWaitedFor(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(8, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.MaxAttempts = 1 })
	send(t, p, "x")
	settled(t, p)
	until := time.Now().Add(300 * time.Millisecond)
	f.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if time.Now().After(until) {
			return nil, nil, false
		}
		request := req.(*kmsg.ProduceRequest)
		partition := kmsg.NewProduceResponseTopicPartition()
		partition.Partition = request.Topics[0].Partitions[0].Partition
		partition.ErrorCode = kerr.UnknownTopicOrPartition.Code
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.Partitions = "t", append(topic.Partitions, partition)
		response := request.ResponseKind().(*kmsg.ProduceResponse)
		response.Topics = append(response.Topics, topic)
		return response, nil, true
	})
	f.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if time.Now().After(until) {
			return nil, nil, false
		}
		response := req.ResponseKind().(*kmsg.MetadataResponse)
		host, port := hostPort(t, f.Addrs()[0])
		response.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 0, Host: host, Port: port}}
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = kmsg.StringPtr("t")
		for i := range int32(4) { // of 8
			partition := kmsg.NewMetadataResponseTopicPartition()
			partition.Partition, partition.Replicas, partition.ISR = i, []int32{0}, []int32{0}
			topic.Partitions = append(topic.Partitions, partition)
		}
		response.Topics = append(response.Topics, topic)
		return response, nil, true
	})
	if err := p.Send(t.Context(), Record{Topic: "t", Key: []byte("123456789"), Value: []byte("x")}); err != nil { // of partition 6
		t.Fatal(err)
	}
	if s := settled(t, p); s.Failed > 0 {
		t.Errorf("%+v; Kong's error log reads %q", s, p.pending.next())
	}
}

// A batch of records without a key takes the partition that has become free; records with
// a key have no other one.
func TestRecordsWithoutKeyDoNotPassByOlderOnesWithAKey(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.BatchRecords = 1 })
	send(t, p, "x")
	settled(t, p)
	let := make(chan struct{})
	f.Hold(kmsg.Produce, func(gone <-chan struct{}) {
		select {
		case <-gone:
		case <-let:
		}
	})
	send(t, p, "in flight")
	eventually(t, "it is", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.topics["t"].inFlight) == 1
	})
	if err := p.Send(t.Context(), Record{Topic: "t", Key: []byte("k"), Value: []byte("keyed")}); err != nil {
		t.Fatal(err)
	}
	send(t, p, "a", "b", "c")
	close(let)
	settled(t, p)
	var values []string
	for _, r := range f.Records(t, "t", 6) {
		values = append(values, string(r.Value))
	}
	if got := strings.Join(values, " "); got != "x in flight keyed a b c" {
		t.Errorf("the topic has %s", got)
	}
}

// The Writer may sleep before its next attempt when its producer is closed.
func TestRecordsThatOutliveTheirProducerAreCountedAndToldOf(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	pool := NewPool(PoolOptions{Security: plain, Log: discard, OrphanTimeout: 50 * time.Millisecond})
	h := acquire(t, pool, testOptions(f.Addrs(), func(o *Options) { o.Backoff = time.Second }))
	send(t, h.producer, "a", "b")
	eventually(t, "an attempt failed", func() bool { return topicOf(h.producer).log.failing.Load() })
	h.Release()
	var told strings.Builder
	eventually(t, "they are counted and told of", func() bool {
		told.WriteString(pool.PendingLogLine())
		s := pool.Stats().Totals()
		return s.Failed == 2 && s.Buffered == 0 && strings.Contains(told.String(), "2 records to topic t lost")
	})
	pool.Close(context.Background())
}

// The timer of an earlier release may find that the producer was replaced.
func TestProducerThatIsInUseIsNotClosedForAnEarlierOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolOptions{Security: plain, Log: discard, OrphanTimeout: time.Minute})
		cfg := testOptions([]string{"127.0.0.1:1"}, nil)
		h := acquire(t, pool, cfg)
		h.Release()
		time.Sleep(2 * idleTime)
		again := acquire(t, pool, cfg)
		pool.removeUnused(cfg.Key(), h.producer)
		if again.producer == h.producer || pool.producers[cfg.Key()] != again.producer {
			t.Error("a producer in use is not the pool's any more")
		}
		pool.Close(t.Context())
	})
}

// Clients may choose among many topics that do not exist.
func TestBrokersAreAskedLessAndLessForATopicThatIsMissing(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Backoff = 0 })
	begin := time.Now()
	send(t, p, "x")
	eventually(t, "brokers were asked 6 times", func() bool {
		topic := topicOf(p)
		p.mu.Lock()
		defer p.mu.Unlock()
		return topic.ledger.MetadataRequests >= 6
	})
	if d := time.Since(begin); d < 320*time.Millisecond { // 20, 20, 40, 80 and 160 ms
		t.Errorf("6 times in %v", d)
	}
}
