//go:build kafka

package producer

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/test/kafkatest"
)

// What a fake broker takes, Kafka takes, and gives it back as it was; the results name where
// each record is; and keys are where other clients put them.
func TestKafkaHasRecordsAsTheyWereSent(t *testing.T) {
	const partitions = 10
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		broker := kafkatest.Start(t, kafkatest.Config{Version: version})
		brokers := broker.Addrs(kafkatest.Plaintext)
		t.Run("contents", func(t *testing.T) {
			topic := broker.CreateTopic(t, "contents", 3, 1, nil)
			p := newTestProducer(t, brokers, func(o *Options) { o.Async = false })
			want := contents(topic)
			results := make([]Result, len(want))
			if err := p.SendAll(t.Context(), want, results); err != nil {
				t.Fatal(err)
			}
			got := broker.Records(t, topic, len(want))
			for _, r := range got {
				n, _ := strconv.Atoi(string(r.Headers[0].Value))
				if results[n] != (Result{r.Partition, r.Offset, nil}) {
					t.Errorf("record %d is at %d of partition %d, and the result is %+v", n, r.Offset, r.Partition, results[n])
				}
			}
			wantContents(t, got, want)
		})
		t.Run("split", func(t *testing.T) {
			topic := broker.CreateTopic(t, "split", 1, 1, map[string]string{"max.message.bytes": "700"})
			p := newTestProducer(t, brokers, func(o *Options) { o.Async = false })
			want := contents(topic) // more than 700 bytes together
			results := make([]Result, len(want))
			if err := p.SendAll(t.Context(), want, results); err != nil {
				t.Fatal(err)
			}
			for i, r := range results {
				if r.Err != nil || r.Partition != 0 || r.Offset < 0 || int(r.Offset) >= len(want) {
					t.Errorf("record %d: %+v", i, r)
				}
			}
			wantContents(t, broker.Records(t, topic, len(want)), want)
		})
		for partitioner, other := range map[string]kafka.Balancer{"crc32": kafka.CRC32Balancer{Consistent: true}, "murmur2": kafka.Murmur2Balancer{Consistent: true}} {
			t.Run(partitioner, func(t *testing.T) {
				topic := broker.CreateTopic(t, "keys-"+partitioner, partitions, 1, nil)
				p := newTestProducer(t, brokers, func(o *Options) { o.Partitioner = partitioner })
				for i := range 200 {
					if err := p.Send(t.Context(), Record{Topic: topic, Key: fmt.Appendf(nil, "key-%d", i)}); err != nil {
						t.Fatal(err)
					}
				}
				for _, r := range broker.Records(t, topic, 200) {
					if want := other.Balance(kafka.Message{Key: r.Key}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9); int(r.Partition) != want {
						t.Errorf("key %q is in partition %d, want %d", r.Key, r.Partition, want)
					}
				}
				settled(t, p)
			})
		}
	})
}
