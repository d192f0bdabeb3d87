package producer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
)

// fill sends records to the topic until the buffer is full to it, and returns their number.
func fill(t *testing.T, p *Producer, topic string) (n int) {
	t.Helper()
	for {
		switch err := p.Send(t.Context(), Record{Topic: topic, Value: []byte("0123456789")}); {
		case errors.Is(err, ErrFull):
			return n
		case err != nil:
			t.Fatal(err)
		}
		n++
	}
}

// use gives the producer topics as if records had been sent to them.
func use(p *Producer, topics ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range topics {
		p.topic(name)
	}
}

func TestNoisyTopicLeavesOthersTheirShareOfTheBuffer(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"records": func(o *Options) { o.BufferRecords = 1000 },
		"bytes":   func(o *Options) { o.BufferBytes = 10000 },
	} {
		t.Run(name, func(t *testing.T) {
			p := newTestProducer(t, []string{closedPort(t)}, set)
			use(p, "noisy", "a", "b", "c", "d") // each has 100 records of the 1000 for itself
			if n := fill(t, p, "noisy"); n != 600 {
				t.Errorf("the noisy topic has %d records, want its 100 and the 500 that are free", n)
			}
			for _, topic := range []string{"a", "b", "c", "d"} {
				if n := fill(t, p, topic); n != 100 {
					t.Errorf("topic %s has %d records, want its share of 100", topic, n)
				}
			}
			if s := p.totals(); s.Buffered != 1000 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Nothing is known of a configuration before its first request, so it cannot have a part of the
// buffer before others fill it.
func TestTopicThatComesWhenAnotherHasFilledTheBufferHasRoom(t *testing.T) {
	p := newTestProducer(t, []string{closedPort(t)}, func(o *Options) { o.BufferRecords = 100 })
	if n := fill(t, p, "t"); n != 100 {
		t.Errorf("a single topic has %d records, want all 100", n)
	}
	if n := fill(t, p, "late"); n != 25 {
		t.Errorf("the topic that came late has %d records, want its share of 25", n)
	}
	if n := fill(t, p, "t"); n != 0 {
		t.Errorf("%d more records fit into a full buffer", n)
	}
	failed := 0
	p.fail(topicOf(p), func(*queued) bool { failed++; return failed <= 30 }, errTest)
	if n := fill(t, p, "t"); n != 5 {
		t.Errorf("%d more records, want 5 of the 30 that left: the others were beyond the limit", n)
	}
}

// A buffer is not full to a topic that could still use its share.
func TestBufferIsFullToTheTopicThatFillsIt(t *testing.T) {
	pool := NewPool(PoolOptions{Security: plain, Log: discard})
	defer pool.Close(expired(t))
	o := testOptions([]string{closedPort(t)}, func(o *Options) { o.BufferRecords = 100 })
	h, err := pool.Acquire(t.Context(), o, "noisy", "quiet")
	if err != nil {
		t.Fatal(err)
	}
	use(h.producer, "noisy")
	pool.Stats()
	use(h.producer, "quiet")
	fill(t, h.producer, "noisy")
	s := pool.Stats()
	if noisy, quiet := s.Topics[0].Buffers[0], s.Topics[1].Buffers[0]; noisy.Fill != 1 || quiet.Fill != 0 || quiet.Limit.Records != 100 {
		t.Errorf("noisy: %+v, quiet: %+v", noisy, quiet)
	}
}

func TestTopicsWithTheSameSettingsShareAProducer(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(3, "a", "b", "c"))
	pool := NewPool(PoolOptions{Security: plain, Log: discard})
	var handles []*Handle
	for _, topic := range []string{"a", "b", "c"} {
		h, err := pool.Acquire(t.Context(), testOptions(f.Addrs(), nil), topic)
		if err != nil {
			t.Fatal(err)
		}
		handles = append(handles, h)
		for i := range 10 {
			if err := h.Send(t.Context(), Record{Topic: topic, Value: []byte(strconv.Itoa(i))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if producers(pool) != 1 {
		t.Errorf("%d producers", producers(pool))
	}
	for _, topic := range []string{"a", "b", "c"} {
		f.Records(t, topic, 10)
	}
	settled(t, handles[0].producer)
	pool.Close(t.Context())
	for _, topic := range pool.Stats().Topics {
		checkSums(t, &topic)
		if topic.Delivered.Records != 10 || topic.ProduceRequests == 0 || topic.MetadataRequests == 0 {
			t.Errorf("topic %s: %+v", topic.Topic, topic)
		}
	}
}

func TestTopicThatIsMissingHoldsUpNoOther(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(3, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Backoff = 10 * time.Millisecond })
	to := func(topic string) {
		t.Helper()
		if err := p.Send(t.Context(), Record{Topic: topic, Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	to("missing")
	eventually(t, "it is known to be missing", func() bool { return p.totals().Buffered == 1 && failing(p, "missing") })
	for range 20 {
		to("t")
		to("missing")
	}
	eventually(t, "the others are delivered", func() bool { return p.totals().Delivered == 20 })
	if failing(p, "t") {
		t.Error("a topic counts as failing because of another one")
	}
	if line := p.pending.next(); line != "" && strings.Contains(line, "topic t ") {
		t.Errorf("Kong's error log reads %q", line)
	}
	if err := f.CreateTopic("missing", 2, nil); err != nil {
		t.Fatal(err)
	}
	f.Records(t, "missing", 21)
	settled(t, p)
}

func failing(p *Producer, topic string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.topics[topic].log.failing.Load()
}

// The records of a topic wait for a batch in flight; those of others only for their linger.
func TestBatchInFlightDoesNotDelayTheLingerOfOthers(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "held", "t"))
	p := newTestProducer(t, f.Addrs(), nil)
	send(t, p, "x") // its metadata is known from now on
	settled(t, p)
	let := make(chan struct{})
	f.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if request.(*kmsg.ProduceRequest).Topics[0].Topic == "held" {
			f.SleepControl(func() { <-let })
		}
		return nil, nil, false
	})
	for i := range 2 {
		if err := p.Send(t.Context(), Record{Topic: "held", Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the first is in flight, and the second waits for it", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.inFlight == 1 && p.topics["held"].backlogged == i && (i == 0 || p.wakeOnCompletion)
		})
	}
	send(t, p, "y")
	eventually(t, "the other topic is delivered", func() bool { return p.totals().Delivered == 2 })
	close(let)
	settled(t, p)
}

// The batches of one topic that get no answer do not take all that may be in flight.
func TestTopicInFlightHoldsUpNoOther(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(8, "held"), kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.BatchRecords = 1 })
	p.maxInFlight = 4
	let := make(chan struct{})
	f.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if request.(*kmsg.ProduceRequest).Topics[0].Topic == "held" {
			f.SleepControl(func() { <-let })
		}
		return nil, nil, false
	})
	for range 20 {
		if err := p.Send(t.Context(), Record{Topic: "held", Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "as many batches are in flight as may be", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.inFlight == 4
	})
	for range 20 {
		send(t, p, "y")
	}
	eventually(t, "the other topic is delivered", func() bool { return p.totals().Delivered == 20 })
	close(let)
	settled(t, p)
}

func TestLossesAreToldByTopic(t *testing.T) {
	p := newTestProducer(t, []string{closedPort(t)}, nil)
	var lines []string
	for _, topic := range []string{"a", "b"} {
		if err := p.Send(t.Context(), Record{Topic: topic, Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		at := p.topics[topic]
		p.mu.Unlock()
		p.fail(at, func(*queued) bool { return true }, errTest)
	}
	for line := p.pending.next(); line != ""; line = p.pending.next() {
		lines = append(lines, line)
	}
	slices.Sort(lines)
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "1 records to topic a lost") || !strings.HasPrefix(lines[1], "1 records to topic b lost") {
		t.Errorf("Kong's error log reads %q", lines)
	}
}

// A topic that no instance has any more does not keep the server from being ready, its
// records are given up when they have waited for long enough, and its counts stay, while the
// producer lives on for another topic.
func TestTopicWithoutInstanceIsGivenUpAndForgotten(t *testing.T) {
	address := closedPort(t)
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolOptions{Security: plain, Log: discard, OrphanTimeout: 10 * time.Minute})
		o := testOptions([]string{address}, nil)
		stays, err := pool.Acquire(t.Context(), o, "stays")
		if err != nil {
			t.Fatal(err)
		}
		use(stays.producer, "stays")
		pool.Stats()
		h := acquire(t, pool, o)
		send(t, h.producer, "a", "b")
		time.Sleep(time.Minute)
		if ready(pool) {
			t.Error("ready, though an instance's records are not delivered")
		}
		h.Release()
		if !ready(pool) {
			t.Error("not ready for records that no instance has")
		}
		time.Sleep(10*time.Minute - time.Second)
		if s := pool.Stats().Totals(); s.Buffered != 2 {
			t.Errorf("given up before the timeout: %+v", s)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if line := pool.PendingLogLine(); !strings.Contains(line, "2 records to topic t lost") || !strings.Contains(line, "10m0s (-orphan-timeout)") {
			t.Errorf("Kong's error log reads %q", line)
		}
		time.Sleep(2 * time.Minute)
		if s := pool.Stats(); producers(pool) != 1 || len(stays.producer.topics) != 1 || s.Totals().Failed != 2 || len(s.Topics[1].Buffers) != 0 {
			t.Errorf("%d producers of %d topics, %+v", producers(pool), len(stays.producer.topics), s.Totals())
		}
		again := acquire(t, pool, o) // as when the configuration comes back
		send(t, again.producer, "c")
		if s := pool.Stats().Totals(); s.Accepted != 3 || again.producer != stays.producer {
			t.Errorf("%+v", s)
		}
		again.Release()
		stays.Release()
		time.Sleep(12 * time.Minute)
		if s := pool.Stats().Totals(); producers(pool) != 0 || s.Failed != 3 {
			t.Errorf("%d producers, %+v", producers(pool), s)
		}
		pool.Close(expired(t))
		time.Sleep(time.Minute)
	})
}

// kafka-go's Writer keeps a goroutine for each partition that it has ever written to.
func TestForgottenTopicLeavesNoGoroutine(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"), kfake.SeedTopics(8, "other"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.BatchRecords = 1 })
	p.idle = time.Hour
	send(t, p, "x")
	settled(t, p)
	for range 8 {
		if err := p.Send(t.Context(), Record{Topic: "other", Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, p)
	if n := partitionWriters(); n != 9 {
		t.Fatalf("%d goroutines of the Writer, want one for each partition", n)
	}
	p.mu.Lock()
	other := p.topics["other"]
	p.mu.Unlock()
	p.forget(other)
	send(t, p, "y")
	settled(t, p)
	eventually(t, "its goroutines have ended", func() bool { return partitionWriters() == 1 })
}

func TestTopicWithRecordsIsNotForgotten(t *testing.T) {
	p := newTestProducer(t, []string{closedPort(t)}, nil)
	send(t, p, "x")
	p.mu.Lock()
	last := p.topics["t"]
	p.mu.Unlock()
	if p.forget(last) != nil || p.totals().Buffered != 1 {
		t.Errorf("the topic is forgotten, with %+v", p.totals())
	}
}

func partitionWriters() int {
	stacks := make([]byte, 4<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "partitionWriter).writeBatches(")
}

// Records with keys make batches that are nearly as full as those of others.
func TestKeyedRecordsMakeFullRequests(t *testing.T) {
	const perSecond, seconds = 4000, 2
	f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Linger = time.Second })
	for i, began := 0, time.Now(); i < perSecond*seconds; time.Sleep(time.Millisecond) { // a gateway's pace
		for due := int(time.Since(began).Seconds() * perSecond); i < min(due, perSecond*seconds); i++ {
			if err := p.Send(context.Background(), Record{Topic: "t", Key: fmt.Appendf(nil, "key-%d", i), Value: []byte("x")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.mu.Lock()
	s := p.topics["t"].ledger.TopicStats
	p.mu.Unlock()
	if perRequest := s.Delivered.Records / s.ProduceRequests; perRequest < 170 {
		t.Errorf("%d records a produce request", perRequest)
	}
	settled(t, p)
}
