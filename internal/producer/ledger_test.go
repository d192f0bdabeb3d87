package producer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/test/kafkatest"
)

var errTest = errors.New("an error of the test")

// testLedger is that of a producer with acks 1 and a large buffer.
func testLedger(set func(*Options)) *ledger {
	l := newLedger("orders", new(testOptions(nil, set)))
	return &l
}

func (l *ledger) wantStalled(t *testing.T, want time.Duration) {
	t.Helper()
	if got := l.stalled(); got != want {
		t.Errorf("stalled for %v, want %v", got, want)
	}
}

func noLinger(o *Options) { o.Linger = 0 }

func TestProducerIsStalledFromTheLastDeliveryOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLedger(noLinger)
		time.Sleep(time.Hour) // idle
		l.wantStalled(t, 0)
		l.accept(1)
		l.wantStalled(t, 0)
		time.Sleep(29 * time.Second)
		l.accept(1)
		l.wantStalled(t, 29*time.Second)
		l.complete(Amount{1, 1}, nil)
		l.wantStalled(t, 0) // one still waits, but they move
		time.Sleep(time.Minute)
		l.wantStalled(t, time.Minute)
		l.complete(Amount{1, 1}, nil)
		l.wantStalled(t, 0)
	})
}

func TestProducerThatLosesAllItIsGivenIsStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLedger(noLinger)
		l.accept(1)
		l.complete(Amount{1, 1}, nil)
		for range 31 { // the buffer is empty each time
			l.wantStalled(t, 0)
			l.accept(1)
			l.complete(Amount{1, 1}, errTest)
			time.Sleep(time.Second)
		}
		l.wantStalled(t, 0) // nothing waits
		l.accept(1)
		l.wantStalled(t, 31*time.Second)
		l.complete(Amount{1, 1}, nil)
		l.accept(1)
		l.wantStalled(t, 0)
	})
}

func TestFailureOfLongAgoDoesNotMakeANewRecordLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLedger(noLinger)
		l.accept(1)
		l.complete(Amount{1, 1}, errTest)
		time.Sleep(StallLimit)
		l.accept(1)
		l.wantStalled(t, 0)
	})
}

// A record may linger for longer than the limit of a stall.
func TestProducerIsNotStalledWhileItsBatchFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLedger(func(o *Options) { o.Linger = time.Minute })
		l.accept(1)
		time.Sleep(time.Minute)
		l.wantStalled(t, 0)
		time.Sleep(29 * time.Second)
		l.wantStalled(t, 29*time.Second)
	})
}

func TestRecordsSentWithoutAcknowledgementAreProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLedger(func(o *Options) { o.Acks, o.Linger = 0, 0 })
		l.accept(5)
		l.accept(5)
		time.Sleep(20 * time.Second)
		l.complete(Amount{1, 5}, nil)
		time.Sleep(20 * time.Second)
		l.wantStalled(t, 20*time.Second)
		if l.Unconfirmed != (Amount{1, 5}) || l.Delivered != (Amount{1, 5}) {
			t.Errorf("unconfirmed %v, delivered %v", l.Unconfirmed, l.Delivered)
		}
	})
}

func TestObservationsAreInTheBucketOfTheNextBound(t *testing.T) {
	var h Histogram
	for _, v := range []float64{0, 1, 1.5, 2, 3, 9, 1000} {
		h.Observe([]float64{1, 2, 4, 8}, v)
	}
	if got := fmt.Sprint(h.Counts[:6]); got != "[2 2 1 0 2 0]" || h.Sum != 1016.5 {
		t.Errorf("%s, %v", got, h.Sum)
	}
	for _, bounds := range [][]float64{DurationBounds, RecordsBounds, BytesBounds} {
		if len(bounds) >= len(h.Counts) {
			t.Errorf("%d bounds for %d counts", len(bounds), len(h.Counts))
		}
	}
}

func TestTopicsAreCountedByNameUpToALimit(t *testing.T) {
	pool := NewPool(PoolOptions{Security: plain, Log: discard})
	defer pool.Close(expired(t))
	o := testOptions([]string{"127.0.0.1:1"}, nil)
	var h *Handle
	var err error
	get := func(topic string) {
		if h, err = pool.Acquire(t.Context(), o, topic); err != nil {
			t.Fatal(err)
		}
		use(h.producer, topic)
		if topic == "topic-0" || topic == "topic-7" {
			pool.Stats()
		}
	}
	for i := range MaxTopics - 1 {
		get(fmt.Sprintf("topic-%d", i))
	}
	get("other") // is a topic like any
	pool.Stats()
	get("\xff\xfe") // no label of a metric
	get(strings.Repeat("x", 250))
	get("one too many")
	get("topic-7")
	s := pool.Stats()
	if n := len(s.Topics); n != MaxTopics+1 {
		t.Fatalf("%d topics", n)
	}
	if first, last := s.Topics[0], s.Topics[MaxTopics]; first.Topic != "topic-0" || last.Topic != OtherTopics || len(last.Buffers) != 3 {
		t.Errorf("the first is %s, the last is %s of %d producers", first.Topic, last.Topic, len(last.Buffers))
	}
}

// TestSumsAgreeAtEveryInstant reads the counts while records are sent, delivered, lost and
// left undelivered, and while producers come and go: the sums of each topic agree, and no
// count goes back.
func TestSumsAgreeAtEveryInstant(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(3, "a", "b"))
	pool := NewPool(PoolOptions{Security: plain, Log: discard, OrphanTimeout: 20 * time.Millisecond})
	away := closedPort(t)
	senders, readers := new(sync.WaitGroup), new(sync.WaitGroup)
	for i := range 4 {
		topic := []string{"a", "b"}[i%2]
		senders.Go(func() {
			for n := range 40 {
				servers := f.Addrs()
				if n%10 == 9 {
					servers = []string{away}
				}
				h, err := pool.Acquire(t.Context(), testOptions(servers, func(o *Options) {
					o.Acks, o.Linger, o.BufferRecords = n%3-1, time.Duration(rand.IntN(4))*time.Millisecond, 100
				}), topic)
				if err != nil {
					t.Error(err)
					return
				}
				for range 100 {
					_ = h.Send(context.Background(), Record{Topic: topic, Value: make([]byte, rand.IntN(50))})
				}
				h.Release()
			}
		})
	}
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			before := make(map[string]TopicStats)
			for {
				select {
				case <-done:
					return
				default:
				}
				_ = pool.PendingLogLine() // a request asks for it at any time
				s := pool.Stats()
				for _, topic := range s.Topics {
					checkSums(t, &topic)
					if was := before[topic.Topic]; topic.Accepted.Records < was.Accepted.Records || topic.Delivered.Bytes < was.Delivered.Bytes ||
						topic.Failed[kafkaerr.Unreachable].Records < was.Failed[kafkaerr.Unreachable].Records || topic.ProduceRequests < was.ProduceRequests {
						t.Errorf("counts of topic %s went back", topic.Topic)
					}
					before[topic.Topic] = topic
				}
				if c := s.Connections; c.Opened < c.Closed {
					t.Errorf("%d connections were opened and %d closed", c.Opened, c.Closed)
				}
			}
		})
	}
	senders.Wait()
	pool.Close(expired(t))
	eventually(t, "every record is completed", func() bool { return pool.Stats().Totals().Buffered == 0 })
	close(done)
	readers.Wait()
	s := pool.Stats()
	for _, topic := range s.Topics {
		if topic.Accepted.Records+topic.Rejected[BufferFull] != 2*40*100 || len(topic.Buffers) != 0 {
			t.Errorf("topic %s: %d accepted, %v rejected, %d buffers", topic.Topic, topic.Accepted.Records, topic.Rejected, len(topic.Buffers))
		}
	}
	eventually(t, "every connection is closed", func() bool { c := pool.Stats().Connections; return c.Opened == c.Closed && c.Opened > 0 })
}

func checkSums(t *testing.T, s *TopicStats) {
	t.Helper()
	completed := s.Undelivered
	completed.add(s.Delivered)
	for _, a := range s.Failed {
		completed.add(a)
	}
	sum := completed
	sum.add(s.Buffered)
	if sum != s.Accepted || s.Buffered.Records < 0 || s.Buffered.Bytes < 0 {
		t.Errorf("topic %s: %v were accepted, %v completed, %v buffered", s.Topic, s.Accepted, completed, s.Buffered)
	}
}
