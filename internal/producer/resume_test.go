package producer

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/spool"
	"kafka-upstream/internal/test/kafkatest"
)

func exact(o *Options) { o.Durable, o.Idempotent, o.Acks = true, true, -1 }

// leaveBatch has a process deliver a record whose acknowledgement is lost with it. The topic has
// that many records then.
func leaveBatch(t *testing.T, dir string, f *kafkatest.Fake, r Record, n int) {
	t.Helper()
	p := startProcess(t, dir, nil)
	lost := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: -1}) // it is carried out
	appendRecords(t, acquireTopics(t, p.Pool, testOptions(f.Addrs(), exact), r.Topic), r)
	f.Records(t, r.Topic, n)
	p.end(0)
	lost.Remove()
}

// A batch of a former process that is given up before it is sent must not leave its identity to
// the next one: the broker, which has it, would take that one for it, and drop it.
func TestBatchThatIsGivenUpLeavesItsIdentityToNoOther(t *testing.T) {
	dir := t.TempDir()
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	leaveBatch(t, dir, f, record("old"), 1)

	denied := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	p := startProcess(t, dir, nil)
	h := acquireTopics(t, p.Pool, testOptions(f.Addrs(), func(o *Options) { exact(o); o.MaxAttempts = 1 }), "t")
	eventually(t, "it is given up", func() bool { return p.totals().Failed == 1 })
	denied.Remove()
	appendRecords(t, h, record("new"))
	eventually(t, "the other is delivered", func() bool { return p.totals().Delivered == 1 })
	if got := valuesOf(t, f, "t", 2); !slices.Equal(got, []string{"old", "new"}) {
		t.Errorf("the topic has %q", got)
	}
}

// A batch that cannot be sent as it was is sent as new records, but for those that are done with.
func TestRecordsOfABatchThatAreDoneWithAreNotSentAgain(t *testing.T) {
	dir := t.TempDir()
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	o := testOptions(f.Addrs(), durable) // without idempotence
	s, err := spool.Open(spool.Options{Dir: dir, Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	q := s.Queue(o.destination(), "t")
	at := make(chan []spool.Position, 1)
	var entries []spool.Entry
	for _, v := range []string{"a", "b", "c", "d"} {
		entries = append(entries, spool.Entry{Queue: q, Record: spool.Record{Value: []byte(v)}})
	}
	if err := s.Append(entries, func(p []spool.Position, _ error) { at <- p }); err != nil {
		t.Fatal(err)
	}
	all := <-at
	if err := q.WriteBatch(spool.Batch{ProducerID: 1, Positions: all}); err != nil {
		t.Fatal(err)
	}
	q.Done(all[:2]) // such as those that the broker has refused
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	limit := memory.NewLimit(1 << 20)
	p := startProcess(t, dir, func(_ *spool.Options, o *PoolOptions) { o.Memory = limit })
	acquireTopics(t, p.Pool, o, "t")
	eventually(t, "the spool is empty", func() bool { return p.spool.Stats().Records == 0 })
	if got := valuesOf(t, f, "t", 2); !slices.Equal(got, []string{"c", "d"}) {
		t.Errorf("the topic has %q", got)
	}
	eventually(t, "all memory is free", func() bool { return limit.Used() == 0 })
}

// As where Kong's old process is killed after a reload.
func TestBatchIsWrittenOnceIfItsProcessEndsBesideThisOne(t *testing.T) {
	dir := t.TempDir()
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := startProcess(t, dir, nil)
	h := acquireTopics(t, p.Pool, testOptions(f.Addrs(), exact), "t")
	appendRecords(t, h, record("first"))
	eventually(t, "it is delivered", func() bool { return p.totals().Delivered == 1 })
	leaveBatch(t, dir, f, record("old"), 2)
	eventually(t, "that of the other process is adopted and delivered", func() bool { return p.totals().Delivered == 2 })
	appendRecords(t, h, record("last"))
	eventually(t, "all are delivered", func() bool { return p.totals().Delivered == 3 })
	if got := valuesOf(t, f, "t", 3); !slices.Equal(got, []string{"first", "old", "last"}) {
		t.Errorf("the topic has %q", got)
	}
}

// Only its own partition waits for a batch of a former process.
func TestBatchOfAFormerProcessHoldsUpNoOtherPartition(t *testing.T) {
	p := startProcess(t, t.TempDir(), nil)
	q := acquireTopics(t, p.Pool, testOptions([]string{closedPort(t)}, exact), "t").producer
	q.mu.Lock()
	defer q.mu.Unlock()
	of := q.topic("t")
	of.known, of.inFlight[0] = true, true
	one := queued{value: []byte("x"), accepted: -time.Second, stored: new(spool.Stored)}
	of.resumed[0], of.keyed[0], of.keyed[1] = new(resumption), new(backlog), new(backlog)
	of.resumed[0].push(one)
	of.keyed[0].push(one)
	of.keyed[1].push(one)
	q.addBacklogged(of, 3)
	next := func() int {
		messages, _ := q.nextBatchOf(of, time.Now())
		if len(messages) == 0 {
			return -1
		}
		return messages[0].Partition
	}
	if got := []int{next(), next()}; !slices.Equal(got, []int{1, -1}) || q.resuming != nil {
		t.Errorf("the batches are of partitions %v", got)
	}
	delete(of.inFlight, 0)
	if got := next(); got != 0 || q.resuming == nil {
		t.Errorf("the batch is of partition %d", got)
	}
	q.addBacklogged(of, -1)
	clear(of.keyed)
}
