package producer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
)

// holdTopic has brokers not answer requests with records for the topic until let is closed.
func holdTopic(f *kafkatest.Fake, topic string, let <-chan struct{}) {
	f.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if request.(*kmsg.ProduceRequest).Topics[0].Topic == topic {
			f.SleepControl(func() { <-let })
		}
		return nil, nil, false
	})
}

// One topic has an outage and fills what it may of the buffer. 99 others, of which most get
// their first record only then, lose none, though there are more topics than half of the
// records that the buffer holds.
func TestTopicsHaveRoomDuringTheOutageOfAnother(t *testing.T) {
	topics := topicNames(100)
	for name, set := range map[string]func(*Options){
		"records": func(o *Options) { o.BufferRecords = 100 },
		"bytes":   func(o *Options) { o.BufferBytes = 16 * 4000; o.BatchBytes = 4000 + Overhead }, // 64 KB for records of 4 KB
	} {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, append(topics, "out")...))
			let := make(chan struct{})
			holdTopic(f, "out", let)
			pool := NewPool(PoolOptions{Security: plain, Log: discard})
			h := acquireTopics(t, pool, testOptions(f.Addrs(), func(o *Options) { set(o); o.Linger = time.Millisecond }), append(topics, "out")...)
			p := h.producer
			value := make([]byte, 4000)
			accepted := 0
			for sent := range topics { // as many as fit, while others come into use
				for {
					err := h.Send(t.Context(), Record{Topic: "out", Value: value})
					if errors.Is(err, ErrFull) {
						break
					} else if err != nil {
						t.Fatal(err)
					}
					accepted++
				}
				for range 3 {
					if err := h.Send(t.Context(), Record{Topic: topics[sent], Value: value}); err != nil {
						t.Fatalf("topic %d of %d, with %d records of the other: %v", sent, len(topics), accepted, err)
					}
					eventually(t, "the record is delivered", func() bool {
						p.mu.Lock()
						defer p.mu.Unlock()
						return p.topics[topics[sent]].ledger.Buffered.Records == 0
					})
				}
			}
			if limit := int(min(p.records.limit, p.bytes.limit/4000)); accepted < limit/2 || accepted > limit*3/4+1 {
				t.Errorf("the topic that is out has %d records of the %d", accepted, limit)
			}
			close(let)
			settled(t, p)
			pool.Close(t.Context())
		})
	}
}

// Half of the topics have an outage: the rooms of all are divided before it, and the others
// keep theirs.
func TestTopicsKeepTheirRoomDuringTheOutageOfMany(t *testing.T) {
	p := newTestProducer(t, []string{closedPort(t)}, func(o *Options) { o.BufferRecords = 1000 })
	topics := topicNames(50)
	use(p, topics...)
	for _, topic := range topics[:25] {
		fill(t, p, topic)
	}
	for _, topic := range topics[25:] {
		if n := fill(t, p, topic); n != 10 {
			t.Errorf("%s has %d records, want its 10", topic, n)
		}
	}
}

func TestQuotaOfManyTopics(t *testing.T) {
	for _, row := range []struct {
		limit, least int64
		topics       []int64 // what each uses
		more         int
		want         int64 // how much more the first may use
	}{
		{100, 1, []int64{0}, 0, 100},        // a topic that is the only one
		{100, 1, []int64{0}, 1, 75},         // and one that may come
		{100, 1, []int64{0, 75}, 0, 25},     // which has room
		{100, 1, []int64{0, 75}, 1, 16},     // as the one after it has
		{100, 1, make([]int64, 100), 0, 51}, // more topics than half of the limit
		{100, 1, []int64{0, 51, 1}, 0, 33},  // few topics
		{100, 1, []int64{0, 100}, 0, 25},    // a topic that comes when another one has filled the buffer
		{100, 1, []int64{20, 100}, 0, 5},
		{100, 1, []int64{25, 100}, 0, 0},
		{100, 1, []int64{0, 100, 25}, 0, 16},
		{100, 1, []int64{0, 100, 50, 45}, 0, 5}, // up to twice the limit
		{1, 1, []int64{0, 0, 0}, 1, 1},
		{1, 1, []int64{0, 1, 0}, 1, 1},
		{1, 1, []int64{0, 1, 1}, 1, 0},
		{0, 0, []int64{0}, 0, 0},
		{1600, 100, make([]int64, 300), 0, 900}, // no part is smaller than a record
		{1600, 100, append([]int64{0, 900}, make([]int64, 298)...), 0, 100},
	} {
		q := quota{limit: row.limit, least: row.least}
		for _, n := range row.topics {
			q.used += n
		}
		q.share(row.topics, row.more)
		if got := q.room(row.topics[0]); got != row.want {
			t.Errorf("%d of %d topics: room for %d, want %d", row.limit, len(row.topics), got, row.want)
		}
	}
}

// Whatever comes and goes, the sums are those of the topics, and the limit holds but for parts of
// topics that came late. For as long as the parts are the same and there are parts for all, each
// topic has room up to its own.
func TestQuotaKeepsItsPromises(t *testing.T) {
	for run := range uint64(300) {
		r := rand.New(rand.NewPCG(run, 0))
		q := quota{limit: 1 + r.Int64N(1000), least: 1 + r.Int64N(50)}
		var used []int64 // by topic
		kept := true     // no topic came since the buffer was empty
		for range 1000 {
			switch i := r.IntN(max(len(used), 1)); {
			case len(used) == 0, r.IntN(200) == 0: // a topic more
				used = append(used, 0)
				q.share(used, r.IntN(2))
				kept = q.used == 0
			case r.IntN(3) > 0: // a record
				n := r.Int64N(100)
				if q.room(used[i]) < n {
					continue
				}
				q.add(used[i], n)
				used[i] += n
			default: // some are completed
				n := r.Int64N(used[i] + 1)
				q.add(used[i], -n)
				used[i] -= n
			}
			sum, beyond := int64(0), int64(0)
			for _, n := range used {
				sum += n
				beyond += max(n-q.reserved, 0)
			}
			if q.used != sum || q.beyond != beyond || sum > 2*q.limit || kept && q.reserved*int64(len(used)) <= q.limit/2 && sum > q.limit {
				t.Fatalf("run %d: %+v of topics that use %v, %d beyond their parts", run, q, used, beyond)
			}
			if sum == 0 {
				kept = true
			}
			for _, n := range used {
				room := q.room(n)
				if room < 0 || room == 0 != (q.fill(n) == 1) || kept && q.reserved*int64(len(used)) <= q.limit/2 && room < q.reserved-n {
					t.Fatalf("run %d: room for %d where a topic uses %d, of %+v", run, room, n, q)
				}
			}
		}
	}
}

// Parts that are never smaller than a record leave nothing of the buffer unused.
func TestManyTopicsWithoutOutageShareTheWholeBuffer(t *testing.T) {
	p := newTestProducer(t, []string{closedPort(t)}, func(o *Options) { o.BufferRecords = 100 })
	accepted := 0
	for i := range 100 {
		if p.Send(t.Context(), of(fmt.Sprintf("topic-%d", i))[0]) == nil {
			accepted++
		}
	}
	if accepted != 100 {
		t.Errorf("%d records of as many topics are accepted", accepted)
	}
}
