//go:build kafka

package e2e

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/kafkatest"
)

// A genuine broker looks at timestamps: Kafka 4 refuses those that are more than an
// hour ahead of its own clock (message.timestamp.after.max.ms, KIP-1030). Such
// records are lost, counted and told of, and nothing else is.
func TestFaultsOfTheClockTowardsRealKafka(t *testing.T) {
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		kafka := kafkatest.Start(t, kafkatest.Config{Version: version, Brokers: 3})
		old := version[0] == '3'
		for _, c := range []struct {
			topic string
			do    func(clock *wallClock)
			fault faultCase
		}{
			{"clock-to-and-fro", func(clock *wallClock) {
				for i := range 10 {
					clock.set(time.Duration(1-i%2*2) * 30 * time.Minute)
					time.Sleep(200 * time.Millisecond)
				}
			}, faultCase{name: "clock jumps from half an hour behind to half an hour ahead, and back, 5 times", exact: true}},
			{"clock-behind", func(clock *wallClock) {
				clock.jump(-year)
				time.Sleep(2 * time.Second)
			}, faultCase{name: "clock jumps a year back", exact: true}},
			{"clock-ahead", func(clock *wallClock) {
				clock.jump(2 * time.Hour)
				time.Sleep(2 * time.Second)
				clock.set(30 * time.Minute)
			}, faultCase{name: "clock two hours ahead of the brokers' for 2 s", exact: true, loses: !old}},
		} {
			t.Run(c.topic, func(t *testing.T) {
				topic := kafka.CreateTopic(t, c.topic, 6, 3, nil)
				f := c.fault
				f.where, f.addrs = "Kafka "+kafka.Version, kafka.Addrs(kafkatest.Plaintext)
				f.more = map[string]any{"topic": topic, "producer_request_acks": -1}
				f.records = func(t *testing.T, n int) []*kgo.Record { return kafka.Records(t, topic, n) }
				if f.loses {
					f.told = "timestamp"
				}
				clockFault(t, f, c.do)
			})
		}
	})
}
