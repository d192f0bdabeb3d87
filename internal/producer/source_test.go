package producer

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/spool"
	"kafka-upstream/internal/test/kafkatest"
)

// What was given back because Kong had no configuration for it is delivered when it has the same
// one again, also if the producer still has the topic.
func TestRecordsThatWereGivenBackAreTakenByTheSameConfiguration(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	release := make(chan struct{})
	f.Hold(kmsg.Metadata, func(gone <-chan struct{}) {
		select {
		case <-release:
		case <-gone:
		}
	})
	p := startProcess(t, t.TempDir(), func(_ *spool.Options, o *PoolOptions) { o.OrphanTimeout = 10 * time.Millisecond })
	h := acquireTopics(t, p.Pool, testOptions(f.Addrs(), durable), "t", "u")
	records := series("t", 10)
	appendRecords(t, h, records...)
	eventually(t, "they are in the buffer", func() bool { return p.totals().Buffered == 10 })
	eventually(t, "all were looked for", func() bool {
		h.producer.mu.Lock()
		defer h.producer.mu.Unlock()
		return !h.producer.taker && len(h.producer.ready) == 0
	})
	other := acquireTopics(t, p.Pool, testOptions(f.Addrs(), durable), "u") // the producer stays
	h.Release()
	eventually(t, "they are back in the spool", func() bool { return p.totals().Returned == 10 })
	again := acquireTopics(t, p.Pool, testOptions(f.Addrs(), durable), "t")
	if again.producer != other.producer {
		t.Fatal("there is another producer")
	}
	close(release)
	inOrder(t, valuesOf(t, f, "t", 10), records)
}

// A topic that comes again while the pool forgets it keeps its source.
func TestTopicThatComesAgainAtOnceKeepsItsSource(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := startProcess(t, t.TempDir(), nil)
	h := acquireTopics(t, p.Pool, testOptions(f.Addrs(), durable), "t")
	appendRecords(t, h, record("a"))
	eventually(t, "it is delivered", func() bool { return p.totals().Delivered == 1 })
	q := h.producer
	eventually(t, "the topic is forgotten", func() bool {
		q.mu.Lock()
		taking := q.taker
		of := q.topics["t"]
		q.mu.Unlock()
		return !taking && q.forget(of) != nil
	})
	h = acquireTopics(t, p.Pool, testOptions(f.Addrs(), durable), "t")
	appendRecords(t, h, record("b"))
	if got := valuesOf(t, f, "t", 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the topic has %q", got)
	}
}

// A batch in flight may end after its producer was closed: the next one is told.
func TestWhatIsGivenBackByAClosedProducerIsTaken(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := startProcess(t, t.TempDir(), nil)
	late := acquireTopics(t, p.Pool, testOptions([]string{f.Addrs()[0]}, func(o *Options) { o.Durable, o.MaxAttempts = true, 3 }), "t")
	appendRecords(t, late, record("a"))
	eventually(t, "it is delivered", func() bool { return p.totals().Delivered == 1 })
	next := acquireTopics(t, p.Pool, testOptions(f.Addrs(), durable), "t")
	q := late.producer
	q.mu.Lock()
	of := q.topics["t"]
	q.mu.Unlock()
	q.close(context.Background(), errAbandoned)
	appendRecords(t, next, record("b"))
	eventually(t, "it is delivered", func() bool { return p.totals().Delivered == 2 })

	stored := spool.Stored{Record: spool.Record{Value: []byte("late")}}
	q.mu.Lock()
	one := q.take(of, &stored)
	q.mu.Unlock()
	m := one.message("t", 0)
	q.giveBack(of, []kafka.Message{m}, Amount{1, one.size()})
	if got := valuesOf(t, f, "t", 3); !slices.Equal(got, []string{"a", "b", "late"}) {
		t.Errorf("the topic has %q", got)
	}
}
