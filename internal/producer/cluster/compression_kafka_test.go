//go:build kafka

package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/test/kafkatest"
)

// Java's consumer decompresses each codec, and so does franz-go; the broker checks each record.
func TestKafkaReadsEveryCodec(t *testing.T) {
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		broker := kafkatest.Start(t, kafkatest.Config{Version: version})
		addrs := broker.Addrs(kafkatest.Plaintext)
		topic := broker.CreateTopic(t, "codecs", 1, 1, nil)
		var want []string
		for _, codec := range append([]string{"none"}, allCodecs...) {
			c := newTestCluster(t, addrs, func(o *Options) { o.Compression, o.Topics = codec, []string{topic} })
			if err := c.Await(t.Context(), topic); err != nil {
				t.Fatal(err)
			}
			var batch []kafka.Message
			for i := range 3 {
				value := fmt.Sprintf("%s-%d-%s", codec, i, strings.Repeat("0123456789", 20_000*i)) // several blocks of each codec
				want = append(want, value)
				batch = append(batch, kafka.Message{Topic: topic, Key: []byte("k"), Value: []byte(value), Time: time.Now(),
					Headers: []kafka.Header{{Key: "codec", Value: []byte(codec)}}})
			}
			if err := c.Produce(t.Context(), batch); err != nil {
				t.Fatalf("%s: %v", codec, err)
			}
			w := c.watch()
			if compressed := codec != "none"; w.compressionFailed.Load() != 0 || compressed && (w.uncompressed.Load() != 0 || w.compressed.Load() >= w.bytes.Load()/5) {
				t.Errorf("%s: %d bytes of %d were sent, %d batches uncompressed", codec, w.compressed.Load(), w.bytes.Load(), w.uncompressed.Load())
			}
			t.Logf("%s: %d bytes of %d", codec, w.compressed.Load(), w.bytes.Load())
		}
		printed := strings.Split(strings.TrimSuffix(broker.ConsoleConsumer(t, topic, len(want)), "\n"), "\n")
		records := broker.Records(t, topic, len(want))
		for i, value := range want {
			codec, _, _ := strings.Cut(value, "-")
			if i >= len(printed) || printed[i] != value {
				t.Errorf("the console consumer does not print record %d of %s", i, codec)
			}
			if r := records[i]; string(r.Value) != value || string(r.Key) != "k" || len(r.Headers) != 1 || string(r.Headers[0].Value) != codec {
				t.Errorf("franz-go reads record %d of %s as %.40q, %v", i, codec, r.Value, r.Headers)
			}
		}
	})
}
