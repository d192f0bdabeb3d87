//go:build kafka

package e2e

import (
	"testing"
	"time"

	"kafka-upstream/internal/test/kafkatest"
)

// A genuine broker looks at timestamps: Kafka 4 refuses those that are more than an
// hour ahead of its own clock (message.timestamp.after.max.ms, KIP-1030). Such
// records are lost, counted and told of, and nothing else is.
func TestFaultsOfTheClockTowardsRealKafka(t *testing.T) {
	beside(t)
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		kafka := kafkatest.Start(t, kafkatest.Config{Version: version, Brokers: 3})
		old := version[0] == '3'
		for _, f := range []fault{
			{topic: "clock-to-and-fro", clock: true, do: func(x *stage) {
				for i := range 10 {
					x.clock.set(time.Duration(1-i%2*2) * 30 * time.Minute)
					time.Sleep(200 * time.Millisecond)
				}
			}, name: "clock jumps from half an hour behind to half an hour ahead, and back, 5 times"},
			{topic: "clock-behind", clock: true, do: func(x *stage) {
				x.clock.jump(-year)
				time.Sleep(2 * time.Second)
			}, name: "clock jumps a year back"},
			{topic: "clock-ahead", clock: true, do: func(x *stage) {
				x.clock.jump(2 * time.Hour)
				time.Sleep(2 * time.Second)
				x.clock.set(30 * time.Minute)
			}, name: "clock two hours ahead of the brokers' for 2 s", loses: !old, told: map[bool]string{false: "timestamp"}[old]},
		} {
			f.genuine(t, kafka)
		}
	})
}
