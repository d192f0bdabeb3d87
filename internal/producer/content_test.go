package producer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/memory"
	rec "kafka-upstream/internal/record"
	"kafka-upstream/internal/test/kafkatest"
)

// contents are records of every content: keys, values and headers that are null, empty, and
// neither. Each has the header "n", by which they are in order.
func contents(topic string) (all []Record) {
	hourAgo := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for _, key := range [][]byte{nil, {}, []byte("k")} {
		for _, value := range [][]byte{nil, {}, []byte("v")} {
			all = append(all, Record{Topic: topic, Key: key, Value: value, Time: hourAgo, Headers: []rec.Header{
				{Key: "n", Value: fmt.Append(nil, len(all))},
				{Key: "same", Value: []byte{0, 0xff}}, {Key: "same", Value: []byte{}}, {Key: "ü"},
			}})
		}
	}
	return append(all, Record{Topic: topic, Headers: []rec.Header{{Key: "n", Value: []byte("9")}}}) // no other content
}

// wantContents checks that what a topic has is exactly the records.
func wantContents(t *testing.T, got []*kgo.Record, want []Record) {
	t.Helper()
	slices.SortFunc(got, func(a, b *kgo.Record) int { return bytes.Compare(a.Headers[0].Value, b.Headers[0].Value) })
	same := func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if !same(g.Key, w.Key) || !same(g.Value, w.Value) {
			t.Errorf("record %d has key %q (null: %v), value %q (null: %v)", i, g.Key, g.Key == nil, g.Value, g.Value == nil)
		}
		if !slices.EqualFunc(g.Headers, w.Headers, func(a kgo.RecordHeader, b rec.Header) bool { return a.Key == b.Key && same(a.Value, b.Value) }) {
			t.Errorf("record %d has headers %v, want %v", i, g.Headers, w.Headers)
		}
		if !w.Time.IsZero() && !g.Timestamp.Equal(w.Time) {
			t.Errorf("record %d is of %v, want %v", i, g.Timestamp, w.Time)
		}
	}
}

// Headers, nulls and timestamps are what they were by whichever way a record goes.
func TestContentIsKeptByEveryWay(t *testing.T) {
	for _, way := range []struct {
		name  string
		set   func(*Options)
		fault func(t *testing.T, f *kafkatest.Fake)
	}{
		{"sent once", nil, func(*testing.T, *kafkatest.Fake) {}},
		{"sent again", nil, func(t *testing.T, f *kafkatest.Fake) {
			f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 3})
		}},
		{"split", nil, func(t *testing.T, f *kafkatest.Fake) { refuseBatchesOf(f, 2, kerr.MessageTooLarge) }},
		{"without those that were rejected", nil, func(t *testing.T, f *kafkatest.Fake) {
			refuseRecords(t, f, kerr.InvalidTimestamp, func(bad []bool) (named []int) {
				if i := slices.Index(bad, true); i >= 0 {
					return []int{i}
				}
				return nil
			})
		}},
		{"of a key that chooses no partition", func(o *Options) { o.Partitioner = "sticky" }, func(*testing.T, *kafkatest.Fake) {}},
	} {
		t.Run(way.name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(2, "t"))
			way.fault(t, f)
			p := newTestProducer(t, f.Addrs(), func(o *Options) {
				o.Backoff = time.Millisecond
				o.Linger = time.Hour
				if way.set != nil {
					way.set(o)
				}
			})
			want := contents("t")
			bad := []Record{{Topic: "t", Value: []byte(badValue)}, {Topic: "t", Key: []byte{}, Value: []byte(badValue)}, {Topic: "t", Key: []byte("k"), Value: []byte(badValue)}}
			sent := slices.Clone(want)
			if strings.Contains(way.name, "rejected") {
				sent = append(sent, bad...)
			}
			for _, r := range sent {
				if err := p.Send(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			p.close(t.Context(), errAbandoned)
			if s := settled(t, p); s.Delivered != int64(len(want)) {
				t.Errorf("%+v", s)
			}
			wantContents(t, f.Records(t, "t", len(want)), want)
		})
	}
}

// A consumer finds a record at its batch's offset and the delta in the record.
func TestRecordsOfABatchHaveConsecutiveOffsets(t *testing.T) {
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
			p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Compression, o.BatchRecords, o.Linger = codec, 100, time.Hour })
			for range 300 {
				send(t, p, strings.Repeat("x", 100))
			}
			settled(t, p)
			records := f.Records(t, "t", 300)
			for i, r := range records {
				if r.Offset != int64(i) {
					t.Fatalf("record %d has the offset %d", i, r.Offset)
				}
			}
			if n := len(f.Produces()); n > 10 {
				t.Errorf("%d requests: the records are in no batches", n)
			}
		})
	}
}

func TestContentIsKeptWhereThePartitionIsGone(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(8, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) {
		o.Partitioner = "sticky" // so that records with keys find another partition, too
		o.Backoff, o.MaxAttempts, o.BatchRecords = time.Millisecond, 1, 1
	})
	for range 8 {
		send(t, p, "before")
	}
	settled(t, p)
	recreate(t, f, 1)
	want := contents("t")
	for _, r := range want {
		if err := p.Send(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if s := settled(t, p); s.Failed > 0 {
		t.Errorf("%+v; Kong's error log reads %q", s, p.pending.next())
	}
	wantContents(t, f.Records(t, "t", len(want)), want)
}

// refuseBatchesOf has the broker refuse batches with that many records or more.
func refuseBatchesOf(f *kafkatest.Fake, least int, code *kerr.Error) {
	f.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		r := req.(*kmsg.ProduceRequest)
		from := r.Topics[0].Partitions[0]
		var b kmsg.RecordBatch
		if err := b.ReadFrom(from.Records); err != nil || int(b.NumRecords) < least {
			return nil, nil, false
		}
		answer := kmsg.NewProduceResponseTopicPartition()
		answer.Partition, answer.ErrorCode = from.Partition, code.Code
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID, topic.Partitions = r.Topics[0].Topic, r.Topics[0].TopicID, append(topic.Partitions, answer)
		res := r.ResponseKind().(*kmsg.ProduceResponse)
		res.Topics = append(res.Topics, topic)
		return res, nil, true
	})
}

// A batch must never be larger than its limit, nor larger than kafka-go's Writer believes, which
// would cut it in two.
func TestSizeOfARecordIsNoLessThanItTakes(t *testing.T) {
	headers := func(n, key, value int) (all []kafka.Header) {
		for range n {
			all = append(all, kafka.Header{Key: strings.Repeat("k", key), Value: make([]byte, value)})
		}
		return all
	}
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	for _, m := range []kafka.Message{
		{Value: []byte("x")},
		{Key: make([]byte, 300), Value: make([]byte, 70_000)},
		{Headers: headers(1, 0, 0)},
		{Headers: headers(1, 64, 64), Value: []byte{}},
		{Headers: headers(63, 1, 1)},
		{Headers: headers(64, 1, 1)},
		{Headers: headers(9000, 0, 0)},
		{Headers: headers(3, 9000, 200_000), Value: make([]byte, 10)},
	} {
		before := len(f.Produces())
		p := newTestProducer(t, f.Addrs(), nil)
		r := Record{Topic: "t", Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, rec.Header(h))
		}
		if err := p.Send(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		settled(t, p)
		produces := f.Produces()
		if got, most := produces[len(produces)-1].Batches[0].Bytes, sizeOfMessage(&m)+Overhead; len(produces) != before+1 || int64(got) > most {
			t.Errorf("%d headers: the batch has %d bytes, and %d are counted", len(m.Headers), got, most)
		}
	}
}

func TestHeadersCountInEveryLimit(t *testing.T) {
	h := []rec.Header{{Key: "0123456789", Value: make([]byte, 980)}} // 1000 bytes with their overhead
	t.Run("request", func(t *testing.T) {
		p := newTestProducer(t, []string{closedPort(t)}, func(o *Options) { o.BatchBytes = 1000 + Overhead + 10 })
		if err := p.Send(t.Context(), Record{Topic: "t", Value: make([]byte, 10), Headers: h}); err != nil {
			t.Errorf("a record that fits: %v", err)
		}
		err := p.Send(t.Context(), Record{Topic: "t", Value: make([]byte, 11), Headers: h})
		if large, ok := errors.AsType[*TooLargeError](err); !ok || large.Size != large.Limit+1 {
			t.Errorf("a record that does not: %v", err)
		}
	})
	t.Run("buffer", func(t *testing.T) {
		p := newTestProducer(t, []string{closedPort(t)}, func(o *Options) { o.BufferBytes = 2000 })
		for i, want := range []error{nil, nil, ErrFull} {
			if err := p.Send(t.Context(), Record{Topic: "t", Headers: h}); !errors.Is(err, want) {
				t.Errorf("record %d: %v, want %v", i, err, want)
			}
		}
		if s := p.totals(); s.BufferedBytes != 2000 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("memory", func(t *testing.T) {
		p := newTestProducer(t, []string{closedPort(t)}, nil)
		p.memory = memory.NewLimit(2 * memoryOf(1000, 1))
		for i, want := range []error{nil, nil, memory.ErrFull} {
			if err := p.Send(t.Context(), Record{Topic: "t", Headers: h}); !errors.Is(err, want) {
				t.Errorf("record %d: %v, want %v", i, err, want)
			}
		}
		p.fail(topicOf(p), func(*queued) bool { return true }, errTest)
		if settled(t, p); p.memory.Used() != 0 {
			t.Errorf("%d bytes are taken when all is over", p.memory.Used())
		}
	})
	t.Run("batch", func(t *testing.T) {
		var b backlog
		for range 3 {
			b.push(queued{headers: &[]kafka.Header{{Key: h[0].Key, Value: h[0].Value}}})
		}
		if n, size := b.batch(10, 2*(1000+recordOverhead)); n != 2 || size != 2*(1000+recordOverhead) {
			t.Errorf("a batch has %d records, %d bytes", n, size)
		}
	})
}

// The timestamp of a record says nothing about when it came: it lingers, and waits for its
// topic, as others do.
func TestRecordsOfAnyTimeAreSentTogether(t *testing.T) {
	const n = 50
	a := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, a.Addrs(), func(o *Options) { o.Linger = time.Hour; o.BatchRecords = n })
	for i := range n {
		at := time.UnixMilli(cmp.Or(int64(i%3)*1_700_000_000_000, 1)) // 1970, 2023, 2077
		if err := p.Send(t.Context(), Record{Topic: "t", Value: []byte("x"), Time: at}); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, p)
	if got := len(a.Produces()); got != 1 {
		t.Errorf("%d requests", got)
	}
}

func TestRecordOfLongAgoIsNotGivenUpForItsTime(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Backoff = time.Millisecond })
	if err := p.Send(t.Context(), Record{Topic: "t", Value: []byte("x"), Time: time.UnixMilli(1)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the topic is known to be missing", func() bool { return failing(p, "t") })
	if err := f.CreateTopic("t", 1, nil); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, p); s.Delivered != 1 {
		t.Errorf("%+v", s)
	}
}
