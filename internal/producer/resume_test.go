package producer

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

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
