//go:build kafka

package e2e

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// A topic that is deleted and made again with fewer partitions, under load: records
// without a key have no partition of their own, so none is given up for it, and requests
// that wait are answered 200.
func TestTopicMadeAgainWithFewerPartitionsLosesNothing(t *testing.T) {
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		kafka := kafkatest.Shared(t, version)
		brokers := kafka.Addrs(kafkatest.Plaintext)
		client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		admin := kadm.NewClient(client)
		topic := kafka.CreateTopic(t, "made-again-"+strconv.FormatInt(time.Now().UnixNano(), 36), 8, 1, nil)
		metrics := rig.ClosedPort(t)
		s := rig.Start(t, "-metrics", metrics)
		w := s.Worker()
		small := map[string]any{"topic": topic, "producer_request_limits_messages_per_request": 2}
		async := rig.NewPlugin(rig.Settings(t, brokers, small))
		small["producer_async"] = false
		sync := rig.NewPlugin(rig.Settings(t, brokers, small))

		var accepted atomic.Int64
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			pace := time.NewTicker(5 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-pace.C:
					if exit, err := w.HandleEvent(t.Context(), async, &rig.Kong{}); err != nil || exit.Status != 200 {
						t.Errorf("%v, %+v", err, exit)
						return
					}
					accepted.Add(1)
				case <-stop:
					return
				}
			}
		}()
		rig.Eventually(t, "some are accepted", func() bool { return accepted.Load() > 50 })
		if _, err := admin.DeleteTopic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		rig.Eventually(t, "the topic is gone", func() bool {
			all, err := admin.ListTopics(t.Context())
			return err == nil && !all.Has(topic)
		})
		kafka.CreateTopic(t, topic, 1, 1, nil)
		for range 5 {
			if exit, err := w.HandleEvent(t.Context(), sync, &rig.Kong{}); err != nil || exit.Status != 200 {
				t.Errorf("waiting for the acknowledgement: %v, %+v", err, exit)
			}
		}
		close(stop)
		<-stopped
		name := func(metric string) string { return metric + `{topic="` + topic + `"}` }
		rig.Eventually(t, "all are delivered", func() bool {
			_, exposition := get(t, "http://"+metrics+"/metrics")
			return int64(sample(exposition, name("kafka_upstream_delivered_records_total"))) == accepted.Load()+5
		})
	})
}
