//go:build kafka

package cluster

import (
	"math"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	saslplain "github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/kafkatest"
)

// testKafkaKnowsABatchAgain has a broker say what it does with identities.
func testKafkaKnowsABatchAgain(t *testing.T, broker *kafkatest.Cluster) {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addrs(kafkatest.Plaintext)...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	topic := broker.CreateTopic(t, "once", 1, 1, nil)
	broker.Allow(t, "User:orders", topic, kadm.OpWrite)
	j := new(journal)
	process := func() *Cluster {
		c := newTestCluster(t, broker.Addrs(kafkatest.SASLPlaintext), func(o *Options) {
			idempotent(o)
			o.Topics, o.Journal, o.SASL = []string{topic}, j, saslplain.Mechanism{Username: "orders", Password: "password"}
		})
		if err := c.Await(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var want strings.Builder
	deliver := func(c *Cluster, offset int64, values ...string) {
		t.Helper()
		m := messages(values...)
		for i := range m {
			m[i].Topic = topic
		}
		if err := c.Produce(t.Context(), m); err != nil || m[0].Offset != offset {
			t.Fatalf("%v: %v, offset %d, want %d", values, err, m[0].Offset, offset)
		}
		for _, v := range values[max(want.Len()-int(offset), 0):] {
			want.WriteString(v)
		}
	}
	next := func(c *Cluster) *Identity { return &c.use(topic).sequenceOf(0).next }
	check := func(refused int32, of *Cluster) {
		t.Helper()
		var got strings.Builder
		for _, r := range broker.Records(t, topic, want.Len()) {
			got.WriteString(string(r.Value))
		}
		if got.String() != want.String() {
			t.Errorf("the topic has %s, want %s", &got, &want)
		}
		wantInexact(t, of, 0, refused, 0)
	}

	first := process() // write permission for a topic is enough (KIP-679)
	deliver(first, 0, "a", "b")
	deliver(first, 2, "c", "d")
	second := process()
	second.Resume(topic, 0, j.told[1])
	deliver(second, 2, "c", "d") // the same
	deliver(second, 4, "e")
	check(0, second)

	*next(second) = next(second).raised() // as after a batch that failed
	deliver(second, 5, "f")
	second.Resume(topic, 0, Identity{next(second).ID, next(second).Epoch, 7}) // a gap
	deliver(second, 6, "g")
	check(1, second)
	second.Resume(topic, 0, j.told[2]) // of an epoch that is over
	deliver(second, 7, "h")
	check(2, second)
	second.Resume(topic, 0, Identity{4711, 3, math.MaxInt32 - 1}) // an id without state
	deliver(second, 8, "i", "j", "k")
	if *next(second) != (Identity{4711, 3, 1}) {
		t.Errorf("next is %v", *next(second))
	}
	deliver(second, 11, "l")
	check(2, second)

	if _, err := admin.DeleteRecords(t.Context(), kadm.Offsets{topic: {0: kadm.Offset{Topic: topic, At: 12}}}); err != nil {
		t.Fatal(err)
	}
	deliver(second, 12, "m") // after retention
	if topics, err := admin.ListTopicsWithInternal(t.Context()); err != nil || topics.Has("__transaction_state") {
		t.Errorf("%v, topics %v", err, topics.Names())
	}

	if _, err := admin.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the topic is gone", func() bool {
		topics, err := admin.ListTopics(t.Context(), topic)
		return err == nil && topics[topic].Err != nil
	})
	broker.CreateTopic(t, topic, 1, 1, nil)
	want.Reset()
	m := kafka.Message{Topic: topic, Value: []byte("n")}
	if err := second.Produce(t.Context(), []kafka.Message{m}); err != nil {
		t.Error(err)
	}
	want.WriteString("n")
	check(2, second)
}
