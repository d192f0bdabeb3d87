package producer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
)

func acquireTopics(t *testing.T, p *Pool, o Options, topics ...string) *Handle {
	t.Helper()
	h, err := p.Acquire(t.Context(), o, topics...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// topicNamed returns the state of a topic, nil for none.
func topicNamed(p *Producer, name string) *topic {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.topics[name]
}

func has(p *Producer, topic string) bool { return topicNamed(p, topic) != nil }

func topicNames(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("topic-%d", i))
	}
	return all
}

func TestTopicsThatAreNeverSentToCostNothing(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	pool := NewPool(PoolOptions{Security: plain, Log: discard})
	h := acquireTopics(t, pool, testOptions(f.Addrs(), nil), append(topicNames(300), "t", "t")...)
	if err := h.Send(t.Context(), record("x")); err != nil {
		t.Fatal(err)
	}
	settled(t, h.producer)
	if n := len(h.producer.topics); n != 1 {
		t.Errorf("%d topics have state", n)
	}
	if s := pool.Stats(); len(s.Topics) != 1 || s.Topics[0].MetadataRequests == 0 {
		t.Errorf("%d topics are counted", len(s.Topics))
	}
	if h.Unavailable("topic-7") != "" {
		t.Error("a topic that was never sent to is unavailable")
	}
	pool.Close(t.Context())
}

// A topic is forgotten with the last instance that may send to it; the others stay.
func TestTopicsAreForgottenWithTheLastHandleThatHasThem(t *testing.T) {
	address := closedPort(t)
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolOptions{Security: plain, Log: discard, OrphanTimeout: 10 * time.Minute})
		o := testOptions([]string{address}, nil)
		a, b := acquireTopics(t, pool, o, "one", "both"), acquireTopics(t, pool, o, "both", "two")
		p := a.producer
		for _, topic := range []string{"one", "both", "two"} {
			if err := a.Send(t.Context(), of(topic)[0]); err != nil {
				t.Fatal(err)
			}
			p.fail(topicNamed(p, topic), func(*queued) bool { return true }, errTest)
		}
		a.Release()
		time.Sleep(2 * idleTime)
		if has(p, "one") || !has(p, "both") || !has(p, "two") {
			t.Errorf("it has the first: %v, the second: %v, the third: %v", has(p, "one"), has(p, "both"), has(p, "two"))
		}
		b.Release()
		time.Sleep(2 * idleTime)
		if producers(pool) != 0 {
			t.Error("the producer is not closed")
		}
		if s := pool.Stats(); s.Totals().Failed != 3 || len(s.Topics) != 3 {
			t.Errorf("%+v", s.Totals())
		}
		pool.Close(expired(t))
		time.Sleep(time.Minute)
	})
}

// A request of an instance that was released may send to a topic that no other has.
func TestTopicThatNoHandleHasIsForgotten(t *testing.T) {
	address := closedPort(t)
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolOptions{Security: plain, Log: discard, OrphanTimeout: 10 * time.Minute})
		h := acquireTopics(t, pool, testOptions([]string{address}, nil), "t")
		if err := h.Send(t.Context(), of("stray")[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if !ready(pool) {
			t.Error("not ready for a record that no instance has")
		}
		time.Sleep(10 * time.Minute)
		if s := pool.Stats().Totals(); s.Failed != 1 || has(h.producer, "stray") {
			t.Errorf("%+v; it has the topic: %v", s, has(h.producer, "stray"))
		}
		if line := pool.PendingLogLine(); !strings.Contains(line, "1 records to topic stray lost") {
			t.Errorf("Kong's error log reads %q", line)
		}
		if producers(pool) != 1 {
			t.Error("the producer is closed, though an instance has it")
		}
		pool.Close(expired(t))
		time.Sleep(time.Minute)
	})
}

func TestProducerWithoutARecordIsClosedAfterItsRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolOptions{Security: plain, Log: discard})
		h := acquireTopics(t, pool, testOptions([]string{"127.0.0.1:1"}, nil), "t")
		time.Sleep(time.Hour)
		h.Release()
		time.Sleep(idleTime - time.Second)
		if producers(pool) != 1 {
			t.Error("closed within a minute of its release")
		}
		time.Sleep(2 * time.Second)
		if producers(pool) != 0 {
			t.Error("not closed")
		}
		pool.Close(expired(t))
	})
}

// The requests of a released instance may still send, to topics that are new to the producer.
func TestClosedProducerIsNotKeptByLateRecords(t *testing.T) {
	pool := NewPool(PoolOptions{Security: plain, Log: discard})
	h := acquireTopics(t, pool, testOptions([]string{"127.0.0.1:1"}, nil), "t")
	pool.Close(expired(t))
	if err := h.Send(t.Context(), record("late")); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if n := len(pool.pending.logs); n != 0 {
		t.Errorf("%d logs keep it", n)
	}
}

// Kong replaces instances again and again; none of that may put off the end of what is unused.
func TestReleasesDoNotPutOffTheEndOfATopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolOptions{Security: plain, Log: discard})
		o := testOptions([]string{"127.0.0.1:1"}, nil)
		stays := acquireTopics(t, pool, o, "stays")
		gone := acquireTopics(t, pool, o, "gone")
		use(stays.producer, "gone")
		gone.Release()
		for range 20 {
			h := acquireTopics(t, pool, o, "other")
			use(stays.producer, "other")
			time.Sleep(10 * time.Second)
			h.Release()
		}
		if has(stays.producer, "gone") {
			t.Error("the topic is not forgotten")
		}
		pool.Close(expired(t))
		time.Sleep(time.Minute)
	})
}

// Records in flight to brokers that never answer do not keep a producer whose topics are all
// orphaned.
func TestSeveralOrphanedTopicsInFlightAreGivenUp(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "a", "b"))
	let := make(chan struct{})
	defer close(let)
	f.Hold(kmsg.Produce, func(gone <-chan struct{}) {
		select {
		case <-let:
		case <-gone:
		}
	})
	pool := NewPool(PoolOptions{Security: plain, Log: discard, OrphanTimeout: 50 * time.Millisecond})
	h := acquireTopics(t, pool, testOptions(f.Addrs(), nil), "a", "b")
	if err := h.SendAll(t.Context(), of("a", "b"), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they are in flight", func() bool {
		h.producer.mu.Lock()
		defer h.producer.mu.Unlock()
		return h.producer.inFlight == 2
	})
	h.Release()
	eventually(t, "they are given up", func() bool { return pool.Stats().Totals().Failed == 2 && producers(pool) == 0 })
	pool.Close(t.Context())
}
