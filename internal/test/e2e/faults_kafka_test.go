//go:build kafka

package e2e

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// genuine does the fault to a genuine cluster.
func (f fault) genuine(t *testing.T, kafka *kafkatest.Cluster) {
	t.Run(f.topic, func(t *testing.T) { f.runKafka(t, kafka, true) })
	if guarantees {
		f.topic += "-not-idempotent"
		t.Run(f.topic, func(t *testing.T) { f.runKafka(t, kafka, false) })
	}
}

// runKafka does it with acks -1: with 1 Kafka itself may lose what only a leader had that was
// killed.
func (f fault) runKafka(t *testing.T, kafka *kafkatest.Cluster, idempotent bool) {
	x := &stage{T: t, kafka: kafka, addrs: kafka.Addrs(kafkatest.Plaintext), load: newMixed(f.topic), exact: idempotent,
		more: map[string]any{"producer_request_acks": -1, "producer_idempotent": idempotent}}
	configs := map[string]string{"retention.ms": "-1"} // or what a clock a year behind sends is deleted half a minute after the brokers' start
	if cmp.Or(f.replicas, 3) == 3 {                    // where one broker alone is not enough, which takes attempts
		configs["min.insync.replicas"] = "2"
		x.more["producer_request_retries_max_attempts"] = 1000
	}
	replicas := cmp.Or(f.replicas, 3)
	kafka.CreateTopics(t, x.load.keyed, 2, replicas, configs)
	kafka.CreateTopic(t, x.load.plain, 6, replicas, configs)
	f.run(x)
}

// Faults done to three brokers of a genuine Kafka, each a process.
func TestFaultsOfRealKafka(t *testing.T) {
	beside(t)
	kafka := kafkatest.Start(t, kafkatest.Config{Brokers: 3})
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addrs(kafkatest.Plaintext)...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)

	killAll := func(x *stage) {
		for i := range 3 {
			kafka.Kill(x.T, i)
		}
	}
	restartAll := func(x *stage) {
		var all sync.WaitGroup
		for i := range 3 { // at once: one alone has no quorum to come back to
			all.Go(func() { kafka.Restart(x.T, i) })
		}
		all.Wait()
		kafka.WaitInSync(x.T, x.load.topics()...)
	}
	faults := []fault{
		{topic: "leadership-moves", name: "leadership of all partitions moves every 2 s", do: func(x *stage) {
			for range 3 {
				time.Sleep(2 * time.Second)
				moveLeaders(x.T, admin, x.load.topics()...)
			}
		}},
		{topic: "killed", name: "a broker killed (SIGKILL) for 5 s, and back", do: func(x *stage) {
			kafka.Kill(x.T, 1)
			time.Sleep(5 * time.Second)
			kafka.Restart(x.T, 1)
			kafka.WaitInSync(x.T, x.load.topics()...)
		}},
		{topic: "leaderless", replicas: 1, name: "partitions without leader: their only broker killed for 5 s", do: func(x *stage) {
			kafka.Kill(x.T, 2)
			time.Sleep(5 * time.Second)
			kafka.Restart(x.T, 2)
			kafka.WaitInSync(x.T, x.load.topics()...)
		}},
		{topic: "rolling", name: "brokers restarted one after another", do: func(x *stage) {
			for i := range 3 {
				kafka.Stop(x.T, i)
				kafka.Restart(x.T, i)
				kafka.WaitInSync(x.T, x.load.topics()...)
			}
		}},
		{topic: "away", name: "all brokers killed for 10 s", do: func(x *stage) {
			killAll(x)
			time.Sleep(10 * time.Second)
			restartAll(x)
		}},
		{topic: "away-at-start", name: "all brokers away at the first request, for 10 s", atStart: true,
			before: killAll, do: func(x *stage) {
				time.Sleep(10 * time.Second)
				restartAll(x)
			}},
		{topic: "throttled", name: "throttled by a quota of 20 kB/s for 5 s", do: func(x *stage) {
			quota(x.T, admin, 20000, false)
			time.Sleep(5 * time.Second)
			quota(x.T, admin, 20000, true)
		}},
		{topic: "more-partitions", name: "partitions added", do: func(x *stage) {
			if _, err := admin.UpdatePartitions(x.Context(), 12, x.load.topics()...); err != nil {
				x.Fatal(err)
			}
			time.Sleep(time.Second)
		}, moves: true},
	}
	for _, f := range faults {
		f.genuine(t, kafka)
	}
	t.Run("one topic without leader leaves room for others", func(t *testing.T) {
		noisy, quiet := kafka.CreateTopic(t, "noisy", 1, 1, nil), kafka.CreateTopic(t, "quiet", 1, 2, nil)
		assign(t, admin, noisy, 2)
		assign(t, admin, quiet, 0, 1)
		kafka.Kill(t, 2)
		outage{noisy: noisy, quiet: quiet, brokers: kafka.Addrs(kafkatest.Plaintext), records: kafka.Records, settings: map[string]any{"producer_request_acks": -1},
			end: func() {
				kafka.Restart(t, 2)
				kafka.WaitInSync(t, noisy, quiet)
			}}.check(t)
	})
}

// The only broker of each version is killed, and all batches wait for it.
func TestFaultsOfTheOnlyBroker(t *testing.T) {
	beside(t)
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		kafka := kafkatest.Start(t, kafkatest.Config{Version: version})
		fault{topic: "killed", replicas: 1, name: "the only broker killed (SIGKILL) for 3 s, and back", do: func(x *stage) {
			kafka.Kill(x.T, 0)
			time.Sleep(3 * time.Second)
			kafka.Restart(x.T, 0)
			kafka.WaitInSync(x.T, x.load.topics()...)
		}}.genuine(t, kafka)
	})
}

// moveLeaders makes the next replica of each partition its leader.
func moveLeaders(t *testing.T, admin *kadm.Client, names ...string) {
	t.Helper()
	topics, err := admin.ListTopics(t.Context(), names...)
	if err != nil {
		t.Fatal(err)
	}
	var req kadm.AlterPartitionAssignmentsReq
	set := make(kadm.TopicsSet)
	for topic, details := range topics {
		for id, p := range details.Partitions {
			req.Assign(topic, id, append(p.Replicas[1:len(p.Replicas):len(p.Replicas)], p.Replicas[0]))
			set.Add(topic, id)
		}
	}
	if _, err := admin.AlterPartitionAssignments(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ElectLeaders(t.Context(), kadm.ElectPreferredReplica, set); err != nil {
		t.Fatal(err)
	}
}

// assign puts the replicas of the topic's one partition on those brokers, and waits until the
// first is its leader.
func assign(t *testing.T, admin *kadm.Client, topic string, brokers ...int32) {
	t.Helper()
	var req kadm.AlterPartitionAssignmentsReq
	req.Assign(topic, 0, brokers)
	if _, err := admin.AlterPartitionAssignments(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	set := make(kadm.TopicsSet)
	set.Add(topic, 0)
	rig.Eventually(t, fmt.Sprintf("topic %s is on the brokers %v", topic, brokers), func() bool {
		_, _ = admin.ElectLeaders(t.Context(), kadm.ElectPreferredReplica, set)
		topics, err := admin.ListTopics(t.Context(), topic)
		p := topics[topic].Partitions[0]
		return err == nil && slices.Equal(p.Replicas, brokers) && p.Leader == brokers[0]
	})
}

// quota bounds what each client may produce to a broker, or lifts the bound.
func quota(t *testing.T, admin *kadm.Client, bytes float64, lift bool) {
	t.Helper()
	_, err := admin.AlterClientQuotas(t.Context(), []kadm.AlterClientQuotaEntry{{
		Entity: kadm.ClientQuotaEntity{{Type: "client-id", Name: nil}},
		Ops:    []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: bytes, Remove: lift}},
	}})
	if err != nil {
		t.Fatal(err)
	}
}
