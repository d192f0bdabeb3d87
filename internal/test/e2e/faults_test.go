package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/e2e/rig"
)

// The faults that cannot be done to processes, or not in a test's time, are done to a
// cluster in the test's process. Those that can are done to a genuine one, in
// faults_kafka_test.go. `make guarantees` writes the table of docs/guarantees.md from both.
func TestFaults(t *testing.T) {
	for _, f := range slices.Concat(faults, faultsOfTheClock) {
		t.Run(f.name, func(t *testing.T) {
			beside(t)
			f.fake(t)
		})
	}
}

var faults = []fault{
	{name: "connections reset in the middle of batches", doubles: true, do: func(x *stage) {
		for range 8 { // not as many as attempts, nor at their pace: one batch may meet each of them
			time.Sleep(130 * time.Millisecond)
			x.b.DropConnections()
		}
	}},
	{name: "brokers accept and never answer, for 5 s", do: func(x *stage) {
		x.b.silence(5 * time.Second)
		time.Sleep(5 * time.Second)
	}},
	{name: "acknowledgement lost, 5 times", doubles: true, do: func(x *stage) {
		x.b.inject(x.T, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 5})
	}},
	{name: "acknowledgement lost until the attempts are used up", doubles: true, more: map[string]any{"producer_request_retries_max_attempts": 2}, do: func(x *stage) {
		x.b.refuse(2*time.Second, kerr.RequestTimedOut, kmsg.Produce)
		time.Sleep(2 * time.Second)
	}, told: "lost"},
	{name: "partitions without leader, for 5 s", do: func(x *stage) {
		x.b.refuse(5*time.Second, kerr.LeaderNotAvailable, kmsg.Produce, kmsg.Metadata)
		time.Sleep(5 * time.Second)
	}, more: map[string]any{"producer_request_retries_max_attempts": 100}},
	{name: "not enough replicas until the attempts are used up", more: map[string]any{"producer_request_retries_max_attempts": 2}, do: func(x *stage) {
		x.b.refuse(2*time.Second, kerr.NotEnoughReplicas, kmsg.Produce)
		time.Sleep(2 * time.Second)
	}, loses: true, told: "lost"},
	{name: "sync: not enough replicas until the attempts are used up", more: map[string]any{"producer_async": false, "producer_request_retries_max_attempts": 2}, do: func(x *stage) {
		x.b.inject(x.T, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 20})
	}, refuses: true, told: "could not send a record to topic t"},
	{name: "sync: all brokers away for 3 s", more: map[string]any{"producer_async": false}, do: func(x *stage) {
		x.b.away(3 * time.Second)
	}, refuses: true, told: "could not send a record to topic t"},
	{name: "buffer full while all brokers are away for 3 s", more: map[string]any{"producer_async_buffering_limits_messages_in_memory": 100}, do: func(x *stage) {
		x.b.Close()
		time.Sleep(3 * time.Second)
		rig.Eventually(x, "the buffer is full", func() bool { // later on a busy machine
			return slices.ContainsFunc(x.sim.ErrorLog(), func(line string) bool { return strings.Contains(line, "rejected") })
		})
		x.b.start()
	}, refuses: true, told: "rejected"},
	{name: "Kong reloaded 5 times", do: func(x *stage) {
		for range 5 {
			if err := x.sim.Reload(); err != nil {
				x.Error(err)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}, exact: true, moves: true},
	{name: "configuration changed 20 times", do: func(x *stage) {
		for i := range 20 { // every other one to another producer
			x.more = maps.Clone(x.more)
			x.more["forward_uri"], x.more["keepalive"] = i%2 == 0, 60000+i/2
			if err := x.sim.SetConfig(x.config()); err != nil {
				x.Error(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}, exact: true, moves: true},
	{name: "authorization refused, 5 times", do: func(x *stage) {
		x.b.inject(x.T, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: 5})
	}, loses: true, told: "Authorization"},
	{name: "a bootstrap server that cannot be reached beside those that can", before: func(x *stage) {
		x.addrs = append([]string{rig.ClosedPort(x.T)}, x.addrs...)
	}, do: func(*stage) { time.Sleep(time.Second) }, exact: true},
	{name: "topic missing, and made after 2 s", do: func(x *stage) {
		time.Sleep(2 * time.Second)
		if err := x.b.CreateTopic("t", 10, nil); err != nil {
			x.Fatal(err)
		}
	}, before: deleteTopic, atStart: true},
	{name: "record too large for the broker among others", do: func(*stage) { time.Sleep(time.Second) }, loses: true, large: 400, told: "lost", opts: kfake.BrokerConfigs(map[string]string{"message.max.bytes": "10000"})},
}
