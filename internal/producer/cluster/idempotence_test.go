package cluster

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
)

func idempotent(o *Options) { o.Acks, o.Idempotent, o.Backoff = -1, true, time.Millisecond }

// sentAs returns what each produce request so far was sent as.
func sentAs(f *kafkatest.Fake) (all []Identity) {
	for _, p := range f.Produces() {
		b := p.Batches[0]
		all = append(all, Identity{b.ProducerID, b.Epoch, b.Sequence})
	}
	return all
}

// shape writes identities with the producer ids as letters, in the order in which they come: a0.3
// is epoch 0, sequence 3; - is none.
func shape(all []Identity) string {
	var ids []int64
	var s []string
	for _, id := range all {
		if id == none {
			s = append(s, "-")
			continue
		}
		i := slices.Index(ids, id.ID)
		if i < 0 {
			i = len(ids)
			ids = append(ids, id.ID)
		}
		s = append(s, fmt.Sprintf("%c%d.%d", 'a'+i, id.Epoch, id.Sequence))
	}
	return strings.Join(s, " ")
}

func wantSentAs(t *testing.T, f *kafkatest.Fake, want string) {
	t.Helper()
	if got := shape(sentAs(f)); got != want {
		t.Errorf("sent as %s, want %s", got, want)
	}
}

func wantInexact(t *testing.T, c *Cluster, noID, refused, unknown int32) {
	t.Helper()
	w := c.watch()
	if a, b, d := w.inexact[NoProducerID].Load(), w.inexact[SequenceRefused].Load(), w.inexact[UnknownOutcome].Load(); a != noID || b != refused || d != unknown {
		t.Errorf("inexact were %d without an id, %d refused, %d with an unknown outcome; want %d, %d, %d", a, b, d, noID, refused, unknown)
	}
}

// wantTopic compares the values in the topic's partition 0.
func wantTopic(t *testing.T, f *kafkatest.Fake, want string) {
	t.Helper()
	if got := values(t, f, len(want)); got != want {
		t.Errorf("the topic has %q, want %q", got, want)
	}
}

func TestBatchesOfAPartitionAreNumbered(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(2, "t"))
	c := newTestCluster(t, f.Addrs(), idempotent)
	produce(t, c, "a", "b", "c")
	produce(t, c, "d")
	other := messages("e")
	other[0].Partition = 1
	if err := c.Produce(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	produce(t, c, "f")
	wantSentAs(t, f, "a0.0 a0.3 b0.0 a0.4")
	if ids, coordinators := f.Requests(kmsg.InitProducerID), f.Requests(kmsg.FindCoordinator); ids != 2 || coordinators != 0 {
		t.Errorf("%d producer ids were asked for, and %d coordinators", ids, coordinators)
	}
	wantInexact(t, c, 0, 0, 0)
}

func TestOtherAcksAreNotIdempotent(t *testing.T) {
	for _, acks := range []int{0, 1} {
		f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
		c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Acks, o.Idempotent = acks, true })
		produce(t, c, "a")
		wantTopic(t, f, "a")
		wantSentAs(t, f, "-")
		c.Resume("t", 0, Identity{1, 2, 3})
		produce(t, c, "b")
		wantTopic(t, f, "ab")
		wantSentAs(t, f, "- -")
	}
}

func TestAcknowledgementLostIsNoDuplicate(t *testing.T) {
	for _, codec := range []string{"none", "lz4"} {
		f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
		c := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.Compression = codec })
		produce(t, c, "a")
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 5})
		m := messages("b", "c")
		if err := c.Produce(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		produce(t, c, "d")
		wantTopic(t, f, "abcd")
		wantSentAs(t, f, "a0.0 a0.1 a0.1 a0.1 a0.1 a0.1 a0.1 a0.3")
		if m[0].Offset != 1 || m[1].Offset != 2 {
			t.Errorf("offsets %d, %d", m[0].Offset, m[1].Offset)
		}
		wantInexact(t, c, 0, 0, 0)
	}
}

func TestDuplicateSequenceIsDelivered(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), idempotent)
	produce(t, c, "a")
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 1})
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.DuplicateSequenceNumber, Count: 1})
	m := messages("b")
	if err := c.Produce(t.Context(), m); err != nil || m[0].Offset != -1 {
		t.Errorf("%v, offset %d", err, m[0].Offset)
	}
	if n := c.watch().duplicates.Load(); n != 1 {
		t.Errorf("%d duplicates", n)
	}
	wantInexact(t, c, 0, 0, 0)
}

func TestIdentityThatABrokerRefusesIsRenewed(t *testing.T) {
	for _, row := range []struct {
		code   *kerr.Error
		times  int
		sentAs string
		noID   int32
	}{
		{kerr.OutOfOrderSequenceNumber, 1, "a0.0 a0.1 a1.0 a1.1", 0},
		{kerr.UnknownProducerID, 1, "a0.0 a0.1 a1.0 a1.1", 0},
		{kerr.InvalidProducerEpoch, 1, "a0.0 a0.1 b0.0 b0.1", 0},
		{kerr.ProducerFenced, 1, "a0.0 a0.1 b0.0 b0.1", 0},
		{kerr.InvalidProducerIDMapping, 1, "a0.0 a0.1 b0.0 b0.1", 0},
		{kerr.InvalidTxnState, 1, "a0.0 a0.1 b0.0 b0.1", 0},
		{kerr.OutOfOrderSequenceNumber, 2, "a0.0 a0.1 a1.0 b0.0 b0.1", 0},
		{kerr.OutOfOrderSequenceNumber, 3, "a0.0 a0.1 a1.0 b0.0 - -", 2},
		{kerr.ClusterAuthorizationFailed, 1, "a0.0 a0.1 - -", 2},
	} {
		for _, uncertain := range []bool{false, true} {
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
			c := newTestCluster(t, f.Addrs(), idempotent)
			produce(t, c, "a")
			want, attempts, refused := row.sentAs, int32(3), int32(0)
			if uncertain { // an attempt before that has no answer, and does not reach the log
				f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NetworkException, Count: 1})
				want, attempts = strings.Replace(want, "a0.1", "a0.1 a0.1", 1), 4
				if refused = 1; row.code == kerr.ClusterAuthorizationFailed {
					refused = 0
				}
			}
			f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: row.code, Count: row.times})
			produce(t, c, "b")
			produce(t, c, "c")
			t.Run(fmt.Sprintf("%s/%d/%v", row.code.Message, row.times, uncertain), func(t *testing.T) {
				wantTopic(t, f, "abc")
				wantSentAs(t, f, want)
				wantInexact(t, c, row.noID, refused, 0)
				if n := c.watch().attempts.Load(); n != attempts {
					t.Errorf("%d attempts were used up, want %d", n, attempts)
				}
			})
		}
	}
}

// What may be in the log is not taken for the next batch, nor the next batch for it.
func TestBatchThatWasGivenUpHasItsIdentityAlone(t *testing.T) {
	for _, row := range []struct {
		code    *kerr.Error
		topic   string
		unknown int32
	}{
		{kerr.RequestTimedOut, "abcd", 1}, // b was written
		{kerr.NotLeaderForPartition, "acd", 1},
		{kerr.KafkaStorageError, "acd", 1},
		{kerr.NotEnoughReplicas, "acd", 0},
		{kerr.TopicAuthorizationFailed, "acd", 0},
		{kerr.MessageTooLarge, "acd", 0},
		{kerr.InvalidTimestamp, "acd", 0},
	} {
		t.Run(row.code.Message, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
			c := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.MaxAttempts = 2 })
			produce(t, c, "a")
			fault := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: row.code, Count: 2})
			if err := c.Produce(t.Context(), messages("b")); err == nil {
				t.Fatal("delivered")
			}
			fault.Remove()
			produce(t, c, "c")
			produce(t, c, "d")
			wantTopic(t, f, row.topic)
			wantInexact(t, c, 0, 0, row.unknown)
			if all := sentAs(f); all[len(all)-2] != (Identity{all[0].ID, 1, 0}) || all[len(all)-1] != (Identity{all[0].ID, 1, 1}) {
				t.Errorf("sent as %s", shape(all))
			}
		})
	}
}

func TestConnectionCutBeforeTheAnswerIsNoDuplicate(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), idempotent)
	produce(t, c, "a")
	for value := range strings.SplitSeq("bcd", "") {
		f.CutAnswers(3)
		produce(t, c, value)
	}
	wantTopic(t, f, "abcd")
	if n := len(f.Produces()); n != 1+3*4 {
		t.Errorf("%d requests", n)
	}
	wantInexact(t, c, 0, 0, 0)
}

func TestBatchThatNeedsAProducerIDWaitsForIt(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotController, kerr.RequestTimedOut} {
		f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
		c := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.MaxAttempts = 1 })
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: code, Count: 3})
		produce(t, c, "a")
		wantSentAs(t, f, "a0.0")
		wantInexact(t, c, 0, 0, 0)
	}
}

// control answers requests with that key until it is ended.
func control(f *kafkatest.Fake, key kmsg.Key, answer func(kmsg.Request) (kmsg.Response, error)) (end func()) {
	var ended atomic.Bool
	f.ControlKey(int16(key), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if ended.Load() {
			return nil, nil, false
		}
		response, err := answer(r)
		return response, err, true
	})
	return func() { ended.Store(true) }
}

func TestBatchIsSentWithoutAProducerIDThatIsNotToBeHad(t *testing.T) {
	for name, fault := range map[string]func(f *kafkatest.Fake) (end func()){
		"no permission": func(f *kafkatest.Fake) func() {
			return f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ClusterAuthorizationFailed, Count: -1}).Remove
		},
		"no controller": func(f *kafkatest.Fake) func() {
			return f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.CoordinatorLoadInProgress, Count: -1}).Remove
		},
		"no answer": func(f *kafkatest.Fake) func() {
			f.Hold(kmsg.InitProducerID, func(gone <-chan struct{}) { <-gone })
			return func() { f.Hold(kmsg.InitProducerID, nil) }
		},
		"hangs up": func(f *kafkatest.Fake) func() {
			return control(f, kmsg.InitProducerID, func(kmsg.Request) (kmsg.Response, error) { return nil, errors.New("cut") })
		},
		"no such request": func(f *kafkatest.Fake) func() {
			return control(f, kmsg.ApiVersions, func(r kmsg.Request) (kmsg.Response, error) {
				answer := r.ResponseKind().(*kmsg.ApiVersionsResponse)
				for _, key := range []kmsg.Key{kmsg.Produce, kmsg.Metadata, kmsg.ApiVersions} {
					answer.ApiKeys = append(answer.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: int16(key), MinVersion: 0, MaxVersion: 8})
				}
				return answer, nil
			})
		},
		"an id that no batch can have": func(f *kafkatest.Fake) func() {
			return control(f, kmsg.InitProducerID, func(r kmsg.Request) (kmsg.Response, error) {
				answer := r.ResponseKind().(*kmsg.InitProducerIDResponse)
				answer.ProducerID = -1
				return answer, nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
			end := fault(f)
			c := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.MaxAttempts, o.Timeout = 1, 100*time.Millisecond })
			c.idPatience = 50 * time.Millisecond
			produce(t, c, "a")
			produce(t, c, "b")
			wantSentAs(t, f, "- -")
			wantInexact(t, c, 2, 0, 0)
			end()
			past := *c.withoutIDs.Load()
			past.until = time.Now()
			c.withoutIDs.Store(&past)
			c.CloseIdleConnections()
			produce(t, c, "c")
			wantSentAs(t, f, "- - a0.0")
			wantInexact(t, c, 2, 0, 0)
			wantTopic(t, f, "abc")
		})
	}
}

// The same records, encoded otherwise, are the same batch to a broker.
func TestBatchThatIsEncodedAgainKeepsItsIdentity(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.Compression = "gzip" })
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 1})
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.UnsupportedCompressionType, Count: 1})
	produce(t, c, "a", "b")
	produce(t, c, "c")
	wantTopic(t, f, "abc")
	if got := shape(sentAs(f)); !strings.HasPrefix(got, "a0.0 a0.0") || !strings.HasSuffix(got, "a0.0 a0.2") {
		t.Errorf("sent as %s", got)
	}
	wantInexact(t, c, 0, 0, 0)
}

func TestTopicThatWasForgottenBeginsAnew(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), idempotent)
	produce(t, c, "a")
	c.Forget("t")
	produce(t, c, "b")
	wantSentAs(t, f, "a0.0 b0.0")
	wantTopic(t, f, "ab")
}

func TestTopicThatWasMadeAgainGetsItsRecords(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), idempotent)
	produce(t, c, "a")
	if err := f.DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	if err := f.CreateTopic("t", 1, nil); err != nil {
		t.Fatal(err)
	}
	produce(t, c, "b")
	produce(t, c, "c")
	wantTopic(t, f, "bc")
	wantInexact(t, c, 0, 0, 0)
}

// journal notes what it is told, and fails as often as it is to.
type journal struct {
	mu    sync.Mutex
	told  []Identity
	count []int
	fails int
	check func()
}

var errJournal = errors.New("the disk is full")

func (j *journal) Identified(topic string, partition int32, id Identity, records int) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.check != nil {
		j.check()
	}
	if j.fails > 0 {
		j.fails--
		return errJournal
	}
	j.told, j.count = append(j.told, id), append(j.count, records)
	return nil
}

func TestJournalIsToldBeforeABatchIsSent(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	j := new(journal)
	c := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.Journal = j })
	j.check = func() { // what is told is not on the wire yet
		if sent := sentAs(f); len(sent) > 0 && !slices.Contains(j.told, sent[len(sent)-1]) {
			t.Error("sent before it was told")
		}
	}
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 2})
	produce(t, c, "a", "b")
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.OutOfOrderSequenceNumber, Count: 1})
	produce(t, c, "c")
	if got := shape(j.told); got != "a0.0 a0.2 a1.0" || !slices.Equal(j.count, []int{2, 1, 1}) {
		t.Errorf("told %s, of %v records", got, j.count)
	}
	wantSentAs(t, f, "a0.0 a0.0 a0.0 a0.2 a1.0")
}

func TestErrorOfTheJournalFailsTheAttemptAndNothingIsSent(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	j := &journal{fails: 2}
	c := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.MaxAttempts, o.Journal = 3, j })
	produce(t, c, "a")
	j.fails = 3
	if err := c.Produce(t.Context(), messages("b")); !errors.Is(err, errJournal) {
		t.Errorf("%v", err)
	}
	produce(t, c, "c")
	wantTopic(t, f, "ac")
	wantSentAs(t, f, "a0.0 a0.1")
	wantInexact(t, c, 0, 0, 0)
	if n := f.Connections(); n > 2 {
		t.Errorf("%d connections: those that there were are of use", n)
	}
}

func TestBatchOfAFormerProcessIsDeliveredOnce(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	first, second := new(journal), new(journal)
	a := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.Journal = first })
	produce(t, a, "a", "b")
	produce(t, a, "c", "d") // whose acknowledgement the first process has not seen
	b := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.Journal = second })
	b.Resume("t", 0, first.told[1])
	m := messages("c", "d")
	if err := b.Await(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if err := b.Produce(t.Context(), m); err != nil || m[0].Offset != 2 || m[1].Offset != 3 {
		t.Errorf("%v, offsets %d, %d", err, m[0].Offset, m[1].Offset)
	}
	produce(t, b, "e")
	wantTopic(t, f, "abcde")
	wantSentAs(t, f, "a0.0 a0.2 a0.2 a0.4")
	if got := shape(second.told); got != "a0.2 a0.4" {
		t.Errorf("told %s", got)
	}
	wantInexact(t, b, 0, 0, 0)
	if n := f.Requests(kmsg.InitProducerID); n != 1 {
		t.Errorf("%d producer ids were asked for", n)
	}
}

func TestIdentityOfAFormerProcessThatABrokerRefusesIsRenewed(t *testing.T) {
	for _, row := range []struct {
		name   string
		resume func(had Identity) Identity
		code   *kerr.Error // of the broker's answer, if it would take it
		sentAs string
		unsure int32
	}{
		{"sequence of another batch", func(id Identity) Identity { return Identity{id.ID, 0, 7} }, nil, "a0.0 a0.7 a1.0", 1},
		{"unknown id", func(Identity) Identity { return Identity{4711, 0, 7} }, kerr.UnknownProducerID, "a0.0 b0.7 b1.0", 1},
		{"epoch of a successor", func(id Identity) Identity { return Identity{id.ID, 0, 1} }, kerr.InvalidProducerEpoch, "a0.0 a0.1 b0.0", 1},
		{"negative", func(Identity) Identity { return none }, nil, "a0.0 b0.0", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
			produce(t, newTestCluster(t, f.Addrs(), idempotent), "a")
			c := newTestCluster(t, f.Addrs(), idempotent)
			c.Resume("t", 0, row.resume(sentAs(f)[0]))
			if row.code != nil {
				f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: row.code, Count: 1})
			}
			produce(t, c, "b")
			wantTopic(t, f, "ab")
			wantSentAs(t, f, row.sentAs)
			wantInexact(t, c, 0, row.unsure, 0)
		})
	}
}

func TestSequencesAndEpochsEnd(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.MaxAttempts = 1 })
	produce(t, c, "a")
	s := c.use("t").sequenceOf(0)
	if got := (Identity{1, 2, math.MaxInt32 - 1}).after(3); got != (Identity{1, 2, 1}) { // as DefaultRecordBatch.incrementSequence
		t.Errorf("%v", got)
	}
	s.next.Epoch, s.next.Sequence = math.MaxInt16, 0
	produce(t, c, "b")
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 1})
	if err := c.Produce(t.Context(), messages("c")); !errors.Is(err, kafka.NotEnoughReplicas) {
		t.Errorf("%v", err)
	}
	produce(t, c, "d")
	wantTopic(t, f, "abd")
	wantSentAs(t, f, "a0.0 a32767.0 a32767.1 b0.0")
}
