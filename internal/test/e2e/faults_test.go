package e2e

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kongsim"
)

// Faults that cannot be done to processes, or not in a test's time, are done to
// a cluster in the test's process. Those that can are done to a real one, in
// faults_kafka_test.go.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(t *testing.T, b *brokers)
		opts   kfake.Opt
		kong   func(t *testing.T, b *brokers, sim *kongsim.Sim) // instead of do
		do     func(t *testing.T, b *brokers)
		more   map[string]any
		fault  faultCase // what it may cost
	}{
		{name: "connections reset in the middle of batches", do: func(t *testing.T, b *brokers) {
			for range 8 { // not as many as attempts, nor at their pace: one batch may meet each of them
				time.Sleep(130 * time.Millisecond)
				b.DropConnections()
			}
		}},
		{name: "brokers accept and never answer, for 5 s", do: func(t *testing.T, b *brokers) {
			b.silence(5 * time.Second)
			time.Sleep(5 * time.Second)
		}},
		{name: "acknowledgement lost, 5 times", do: func(t *testing.T, b *brokers) {
			b.inject(t, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 5})
		}},
		{name: "acknowledgement lost until the attempts are used up", more: map[string]any{"producer_request_retries_max_attempts": 2}, do: func(t *testing.T, b *brokers) {
			b.inject(t, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 20})
		}, fault: faultCase{told: "lost"}},
		{name: "partitions without leader, for 5 s", do: func(t *testing.T, b *brokers) {
			b.leaderless(5 * time.Second)
			time.Sleep(5 * time.Second)
		}, more: map[string]any{"producer_request_retries_max_attempts": 100}},
		{name: "not enough replicas until the attempts are used up", more: map[string]any{"producer_request_retries_max_attempts": 2}, do: func(t *testing.T, b *brokers) {
			b.inject(t, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 20})
		}, fault: faultCase{loses: true, told: "lost"}},
		{name: "sync: not enough replicas until the attempts are used up", more: map[string]any{"producer_async": false, "producer_request_retries_max_attempts": 2}, do: func(t *testing.T, b *brokers) {
			b.inject(t, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 20})
		}, fault: faultCase{refuses: true, told: "could not send a record to topic t"}},
		{name: "sync: all brokers away for 3 s", more: map[string]any{"producer_async": false}, do: func(t *testing.T, b *brokers) {
			b.away(3 * time.Second)
		}, fault: faultCase{refuses: true, told: "could not send a record to topic t"}},
		{name: "buffer full while all brokers are away for 3 s", more: map[string]any{"producer_async_buffering_limits_messages_in_memory": 100}, do: func(t *testing.T, b *brokers) {
			b.away(3 * time.Second)
		}, fault: faultCase{refuses: true, told: "refused"}},
		{name: "Kong reloaded 5 times", kong: func(t *testing.T, b *brokers, sim *kongsim.Sim) {
			for range 5 {
				if err := sim.Reload(); err != nil {
					t.Error(err)
				}
				time.Sleep(200 * time.Millisecond)
			}
		}, fault: faultCase{exact: true}},
		{name: "configuration changed 20 times", kong: func(t *testing.T, b *brokers, sim *kongsim.Sim) {
			for i := range 20 { // every other one to another producer
				more := map[string]any{"timeout": 2000, "forward_uri": i%2 == 0, "keepalive": 60000 + i/2}
				if err := sim.SetConfig([]byte(kongYAML(t, rig.Settings(t, b.addrs, more)))); err != nil {
					t.Error(err)
				}
				time.Sleep(50 * time.Millisecond)
			}
		}, fault: faultCase{exact: true}},
		{name: "authorization refused, 5 times", do: func(t *testing.T, b *brokers) {
			b.inject(t, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: 5})
		}, fault: faultCase{loses: true, told: "Authorization"}},
		{name: "a bootstrap server that cannot be reached beside those that can", do: func(t *testing.T, b *brokers) {
			time.Sleep(time.Second)
		}, fault: faultCase{addrs: []string{rig.ClosedPort(t)}, exact: true}},
		{name: "topic missing, and made after 2 s", do: func(t *testing.T, b *brokers) {
			time.Sleep(2 * time.Second)
			if err := b.CreateTopic("t", 10, nil); err != nil {
				t.Fatal(err)
			}
		}, before: func(t *testing.T, b *brokers) {
			if err := b.DeleteTopic("t"); err != nil {
				t.Fatal(err)
			}
		}, fault: faultCase{atStart: true}},
		{name: "record too large for the broker among others", do: func(t *testing.T, b *brokers) {
			time.Sleep(time.Second)
		}, fault: faultCase{loses: true, large: 400, told: "lost"}, opts: kfake.BrokerConfigs(map[string]string{"message.max.bytes": "10000"})},
	} {
		t.Run(c.name, func(t *testing.T) {
			var opts []kfake.Opt
			if c.opts != nil {
				opts = append(opts, c.opts)
			}
			b := startBrokers(t, rand.New(rand.NewPCG(seed(t), 0)), opts...)
			if c.before != nil {
				c.before(t, b)
			}
			f := c.fault
			f.name, f.where, f.addrs, f.more = c.name, "kfake", append(f.addrs, b.addrs...), c.more
			f.do = func(t *testing.T, sim *kongsim.Sim) {
				if c.kong != nil {
					c.kong(t, b, sim)
				} else {
					c.do(t, b)
				}
			}
			f.records = func(t *testing.T, n int) []*kgo.Record { return b.Records(t, "t", n) }
			f.run(t)
		})
	}
}
