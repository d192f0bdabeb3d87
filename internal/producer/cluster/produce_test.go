package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/test/kafkatest"
)

func TestProduceMakesNoMoreThanItsAttempts(t *testing.T) {
	for _, row := range []struct {
		code     *kerr.Error
		attempts int32
	}{
		{kerr.NotEnoughReplicas, 3},
		{kerr.BrokerNotAvailable, 3},  // to Kafka it passes, to kafka-go it does not
		{kerr.ReplicaNotAvailable, 3}, // likewise
		{kerr.TopicAuthorizationFailed, 1},
		{kerr.MessageTooLarge, 1},
	} {
		f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: row.code, Count: -1})
		c := newTestCluster(t, f.Addrs(), func(o *Options) { o.MaxAttempts, o.Backoff = 3, time.Millisecond })
		if err := c.Await(t.Context(), "t"); err != nil {
			t.Fatal(err)
		}
		if err := c.Produce(t.Context(), messages("x")); !errors.Is(err, kafka.Error(row.code.Code)) {
			t.Errorf("%v: got %v", row.code, err)
		}
		if w := c.watch(); w.attempts.Load() != row.attempts || w.batches.Load() != 1 {
			t.Errorf("%v: %d attempts for %d batches, want %d for one", row.code, w.attempts.Load(), w.batches.Load(), row.attempts)
		}
	}
}

// A request that was not answered leaves its records with a connection. Another attempt sends
// them nevertheless, and all of them.
func TestProduceSendsTheSameRecordsWithEachAttempt(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Backoff = time.Millisecond })
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 2}) // after it applied them
	produce(t, c, "a", "b", "c")
	var got strings.Builder
	for _, r := range f.Records(t, "t", 9) {
		got.Write(r.Value)
	}
	if got.String() != "abcabcabc" {
		t.Errorf("the topic has %s", got.String())
	}
}

func TestCloseEndsTheBackoffBetweenAttempts(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Backoff = time.Hour })
	if err := c.Await(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- c.Produce(context.Background(), messages("x")) }()
	eventually(t, "an attempt failed", func() bool { return c.watch().attempts.Load() == 1 })
	c.Close(errOver)
	if err := <-result; !errors.Is(err, errOver) {
		t.Errorf("got %v", err)
	}
}

func TestMetadataThatABrokerDoesNotTellIsNotWaitedForAtShutdown(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	f.Hold(kmsg.Metadata, func(gone <-chan struct{}) { <-gone })
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Timeout = time.Hour })
	result := make(chan error, 1)
	go func() { result <- c.fetchMetadata(context.Background(), c.use("t"), false) }() // as an attempt does, in the Writer's own context
	eventually(t, "a broker is asked", func() bool { return f.Requests(kmsg.Metadata) > 0 })
	c.Close(errOver)
	select {
	case err := <-result:
		if err == nil {
			t.Error("it was told")
		}
	case <-time.After(20 * time.Second):
		t.Error("it is waited for")
	}
}

func TestMetadataThatIsOldIsRefreshedInTheBackground(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), nil)
	produce(t, c, "x")
	requests := c.watch().requests.Load()
	topic := c.use("t")
	c.Refresh("t")
	young := topic.metadata.Load()
	old := &metadata{young.response, young.partitions, 0, time.Now().Add(-2 * MetadataTTL)}
	topic.metadata.Store(old)
	c.Refresh("t")
	eventually(t, "there is other metadata", func() bool { return topic.metadata.Load() != old })
	c.refreshes.Wait()
	if n := c.watch().requests.Load() - requests; n != 1 {
		t.Errorf("%d requests were made", n)
	}
	f.Close()
	c.CloseIdleConnections()
	topic.metadata.Store(old)
	c.Refresh("t")
	eventually(t, "the old one stays for another while", func() bool {
		m := topic.metadata.Load()
		return m != old && len(m.partitions) == 1 && time.Since(m.fetched) < MetadataTTL
	})
}

func TestErrorsNameTheBrokerAndHaveAClass(t *testing.T) {
	refused := &dialError{"kafka-4:9092", errors.New("connection refused")}
	for _, row := range []struct {
		err   error
		text  string
		class kafkaerr.Class
	}{
		{refused, "cannot reach broker kafka-4:9092: connection refused", kafkaerr.Other},
		{&gaveUpError{kafka.LeaderNotAvailable, time.Minute}, "gave up after 1m0s: [5] Leader Not Available", kafkaerr.NoLeader},
		{&PartitionGoneError{"t", 6, 1}, "partition 6 of topic t, to which", kafkaerr.UnknownTopic},
		{&noAnswerError{14*time.Second + 20*time.Millisecond, context.DeadlineExceeded}, "no answer within 14s", kafkaerr.Timeout},
		{&authBackoffError{kafka.SASLAuthenticationFailed}, "[58] SASL Authentication Failed", kafkaerr.Authentication},
		{&RecordsRejectedError{code: kafka.InvalidTimestamp, detail: "is of another time"}, "[32] Invalid Timestamp", kafkaerr.Broker},
	} {
		if got := kafkaerr.Of(row.err); !strings.HasPrefix(row.err.Error(), row.text) || got != row.class {
			t.Errorf("%v is %v, want %s..., %v", row.err, got, row.text, row.class)
		}
	}
	if !kafkaerr.IsUnsent(refused) {
		t.Errorf("%v does not show that nothing was sent", refused)
	}
}
