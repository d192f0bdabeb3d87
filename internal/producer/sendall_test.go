package producer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/test/kafkatest"
)

// of returns records to topics, of 10 bytes each.
func of(topics ...string) (all []Record) {
	for _, topic := range topics {
		all = append(all, Record{Topic: topic, Value: []byte("0123456789")})
	}
	return all
}

func TestAllRecordsAreAcceptedOrNone(t *testing.T) {
	for _, row := range []struct {
		name    string
		set     func(*Options)
		prepare func(*Producer)
		records []Record
		want    error
		reason  Rejection
	}{
		{"all fit", func(o *Options) { o.BufferRecords = 4 }, nil, of("a", "b", "a", "b"), nil, 0},
		{"too many records", func(o *Options) { o.BufferRecords = 3 }, nil, of("a", "b", "a", "b"), ErrFull, BufferFull},
		{"too many bytes", func(o *Options) { o.BufferBytes = 39 }, nil, of("a", "b", "a", "b"), ErrFull, BufferFull},
		{"too many for one of the topics", func(o *Options) { o.BufferRecords = 100 }, func(p *Producer) {
			use(p, "a", "b") // with 25 for each
			for p.hasRoom(p.topics["a"], 10) {
				_ = p.Send(context.Background(), of("a")[0])
			}
		}, of("b", "a", "b", "b"), ErrFull, BufferFull},
		{"too little memory", nil, func(p *Producer) { p.memory = memory.NewLimit(4*memoryOf(10, 0) - 1) }, of("a", "b", "a", "b"), memory.ErrFull, MemoryFull},
		{"one is too large", func(o *Options) { o.BatchBytes = 100 }, nil, append(of("a", "b", "a"), Record{Topic: "b", Value: make([]byte, 100)}), new(TooLargeError), TooLarge},
		{"closed", nil, func(p *Producer) { p.close(context.Background(), errAbandoned) }, of("a", "b", "a", "b"), ErrClosed, ShuttingDown},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newTestProducer(t, []string{closedPort(t)}, row.set)
			use(p, "a", "b")
			if row.prepare != nil {
				row.prepare(p)
			}
			before := p.totals()
			records, free := p.records, p.bytes
			used := p.memory.Used()
			err := p.SendAll(t.Context(), row.records, nil)
			large, tooLarge := errors.AsType[*TooLargeError](err)
			if _, want := row.want.(*TooLargeError); !errors.Is(err, row.want) && !(want && tooLarge && large.Size > large.Limit) {
				t.Errorf("error is %v, want %v", err, row.want)
			}
			s := p.totals()
			if row.want == nil {
				if s.Accepted != before.Accepted+4 || s.Buffered != before.Buffered+4 {
					t.Errorf("%+v", s)
				}
				return
			}
			if s.Accepted != before.Accepted || s.Buffered != before.Buffered || s.BufferedBytes != before.BufferedBytes || p.records != records || p.bytes != free || p.memory.Used() != used {
				t.Errorf("%+v, before %+v", s, before)
			}
			counted := int64(0)
			for _, name := range []string{"a", "b"} {
				n := p.topics[name].ledger.Rejected[row.reason]
				if n == 0 {
					t.Errorf("none of topic %s is counted", name)
				}
				counted += n
			}
			if counted-before.Rejected != 4 || s.Rejected-before.Rejected != 4 {
				t.Errorf("%d of %d rejected records are counted, each once", counted, len(row.records))
			}
		})
	}
}

func TestSendAllOfNothingDoesNothing(t *testing.T) {
	p := newTestProducer(t, []string{closedPort(t)}, nil)
	if err := p.SendAll(t.Context(), nil, nil); err != nil || len(p.topics) != 0 {
		t.Errorf("%v, %d topics", err, len(p.topics))
	}
}

func TestSendAllDoesNotWaitWithAsync(t *testing.T) {
	p := newTestProducer(t, []string{closedPort(t)}, nil)
	results := []Result{{Partition: 7}}
	if err := p.SendAll(t.Context(), of("t"), results); err != nil || results[0] != (Result{Partition: 7}) {
		t.Errorf("%v, %v", err, results)
	}
}

// The results name where each record is, by whichever way it went there.
func TestResultsSayWhereEachRecordIs(t *testing.T) {
	const each = 20
	for _, way := range []struct {
		name   string
		fault  func(t *testing.T, f *kafkatest.Fake)
		failed int // records with badValue
	}{
		{"sent once", func(*testing.T, *kafkatest.Fake) {}, 0},
		{"sent again", func(t *testing.T, f *kafkatest.Fake) {
			f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 3})
		}, 0},
		{"split", func(t *testing.T, f *kafkatest.Fake) { refuseBatchesOf(f, 3, kerr.MessageTooLarge) }, 0},
		{"without those that were rejected", func(t *testing.T, f *kafkatest.Fake) {
			refuseRecords(t, f, kerr.InvalidTimestamp, func(bad []bool) (named []int) {
				for i := range bad {
					if bad[i] {
						named = append(named, i)
					}
				}
				return named
			})
		}, 3},
	} {
		t.Run(way.name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(3, "a", "b"))
			p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Async, o.Backoff = false, time.Millisecond })
			var records []Record
			for i := range 2 * each {
				r := Record{Topic: []string{"a", "b"}[i%2], Value: fmt.Append(nil, i)}
				if i%3 == 0 {
					r.Key = r.Value
				}
				records = append(records, r)
			}
			for i := range way.failed {
				records[5*i].Value = []byte(badValue)
			}
			// Records that came earlier, so that offsets are not numbers of records.
			for _, topic := range []string{"a", "b"} {
				for i := range 7 {
					if err := p.Send(t.Context(), Record{Topic: topic, Key: fmt.Append(nil, i)}); err != nil {
						t.Fatal(err)
					}
				}
			}
			way.fault(t, f)
			results := make([]Result, len(records))
			if err := p.SendAll(t.Context(), records, results); err != nil {
				t.Fatal(err)
			}
			is := make(map[string]*kgo.Record)
			for _, topic := range []string{"a", "b"} {
				for _, r := range f.Records(t, topic, 7) {
					is[string(r.Value)] = r
				}
			}
			failed := 0
			for i, r := range results {
				if string(records[i].Value) == badValue {
					if failed++; r.Err == nil || r.Offset != -1 || !errors.Is(r.Err, kafka.InvalidTimestamp) {
						t.Errorf("a rejected record: %+v", r)
					}
					continue
				}
				if at := is[string(records[i].Value)]; r.Err != nil || at == nil || at.Topic != records[i].Topic || at.Partition != r.Partition || at.Offset != r.Offset {
					t.Errorf("record %d: %+v, want that of %+v", i, r, at)
				}
			}
			if failed != way.failed {
				t.Errorf("%d failed", failed)
			}
			settled(t, p)
		})
	}
}

func TestResultsOfRecordsThatNobodyAcknowledgesHaveNoOffset(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Async, o.Acks = false, 0 })
	results := make([]Result, 3)
	if err := p.SendAll(t.Context(), of("t", "t", "t"), results); err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r != (Result{0, -1, nil}) {
			t.Errorf("record %d: %+v", i, r)
		}
	}
}

// A broker may accept records and give no offset.
func TestResultsHaveNoOffsetThatTheBrokerDidNotGive(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	f.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		response := r.ResponseKind().(*kmsg.ProduceResponse)
		response.Topics = []kmsg.ProduceResponseTopic{{Topic: "t", Partitions: []kmsg.ProduceResponseTopicPartition{{BaseOffset: -1}}}}
		return response, nil, true
	})
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Async = false })
	results := make([]Result, 3)
	if err := p.SendAll(t.Context(), of("t", "t", "t"), results); err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r != (Result{0, -1, nil}) {
			t.Errorf("record %d: %+v", i, r)
		}
	}
}

// One topic is delivered and one is not: each record has its own fate.
func TestResultsAreThoseOfEachTopic(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Async, o.Backoff, o.MaxAttempts = false, time.Millisecond, 2 })
	h := &Handle{producer: p, topics: []string{"missing", "t"}}
	results := make([]Result, 3)
	if err := h.SendAll(t.Context(), of("t", "missing", "t"), results); err != nil {
		t.Fatal(err)
	}
	if results[0] != (Result{0, 0, nil}) || results[2] != (Result{0, 1, nil}) {
		t.Errorf("%+v", results)
	}
	if r := results[1]; r.Err == nil || r.Partition != -1 || r.Offset != -1 || h.Explain(r.Err) == "" {
		t.Errorf("of the topic that is missing: %+v", r)
	}
	if s := settled(t, p); s.Delivered != 2 || s.Failed != 1 {
		t.Errorf("%+v", s)
	}
}

func TestResultsThatAreMissingWhenTheContextEndsHaveItsCause(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t", "held"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Async = false })
	let, ctx, cause := make(chan struct{}), t.Context(), errors.New("the client has gone")
	ctx, cancel := context.WithCancelCause(ctx)
	f.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if request.(*kmsg.ProduceRequest).Topics[0].Topic == "held" {
			f.SleepControl(func() { <-let })
		}
		return nil, nil, false
	})
	go func() {
		for p.totals().Delivered < 1 {
			time.Sleep(time.Millisecond)
		}
		cancel(cause)
	}()
	results := make([]Result, 2)
	if err := p.SendAll(ctx, of("t", "held"), results); err != nil {
		t.Fatal(err)
	}
	if results[0] != (Result{0, 0, nil}) && !errors.Is(results[0].Err, cause) { // counted just before its sender is told
		t.Errorf("%+v", results[0])
	}
	if results[1] != (Result{-1, -1, cause}) {
		t.Errorf("%+v", results[1])
	}
	close(let)
	if s := settled(t, p); s.Delivered != 2 {
		t.Errorf("%+v", s)
	}
	if results[1] != (Result{-1, -1, cause}) {
		t.Error("a result came when its sender had gone")
	}
}

// Many senders of many records meet faults and a buffer that is too small: each record has one
// fate, which is the one that its sender is told.
func TestSumsAgreeWhereRecordsAreSentTogether(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(3, "a", "b"))
	refuseBatchesOf(f, 15, kerr.MessageTooLarge)
	for _, async := range []bool{true, false} {
		p := newTestProducer(t, f.Addrs(), func(o *Options) {
			o.Async, o.BufferRecords, o.Backoff, o.MaxAttempts = async, 300, time.Millisecond, 2
		})
		fault := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 20})
		var mu sync.Mutex
		var accepted, refused, delivered, failed int64
		var senders sync.WaitGroup
		for range 8 {
			senders.Go(func() {
				for range 40 {
					var records []Record
					for range 1 + rand.IntN(50) {
						records = append(records, of([]string{"a", "b", "missing"}[rand.IntN(3)])...)
					}
					results := make([]Result, len(records))
					err := p.SendAll(context.Background(), records, results)
					mu.Lock()
					if n := int64(len(records)); err != nil {
						refused += n
					} else {
						accepted += n
					}
					for _, r := range results {
						switch {
						case err != nil || async:
						case r.Err != nil:
							failed++
						default:
							delivered++
						}
					}
					mu.Unlock()
				}
			})
		}
		senders.Wait()
		if async {
			p.fail(topicNamed(p, "missing"), func(*queued) bool { return true }, errTest)
		}
		s := settled(t, p)
		if s.Accepted != accepted || s.Rejected != refused || !async && (s.Delivered != delivered || s.Failed != failed) {
			t.Errorf("async %v: %+v, the senders count %d accepted, %d refused, %d delivered, %d failed", async, s, accepted, refused, delivered, failed)
		}
		p.mu.Lock()
		for _, topic := range p.topics {
			checkSums(t, &topic.ledger.TopicStats)
		}
		if p.records.used != 0 || p.bytes.used != 0 {
			t.Errorf("%+v, %+v", p.records, p.bytes)
		}
		p.mu.Unlock()
		fault.Remove()
	}
}
