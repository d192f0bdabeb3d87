//go:build kafka

package e2e

import (
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
)

// Faults done to three brokers of a genuine Kafka, each a process. acks is -1
// where a leader is killed: with 1 Kafka itself may lose what only the leader
// had.
func TestFaultsOfRealKafka(t *testing.T) {
	kafka := kafkatest.Start(t, kafkatest.Config{Brokers: 3})
	brokers := kafka.Addrs(kafkatest.Plaintext)
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)

	killAll := func(t *testing.T) {
		for i := range 3 {
			kafka.Kill(t, i)
		}
	}
	restartAll := func(t *testing.T, topic string) {
		var all sync.WaitGroup
		for i := range 3 { // at once: one alone has no quorum to come back to
			all.Go(func() { kafka.Restart(t, i) })
		}
		all.Wait()
		kafka.WaitInSync(t, topic)
	}
	for _, c := range []struct {
		topic    string
		replicas int
		do       func(t *testing.T, topic string)
		before   func(t *testing.T)
		fault    faultCase
	}{
		{topic: "leadership-moves", replicas: 3, fault: faultCase{name: "leadership of all partitions moves every 2 s"}, do: func(t *testing.T, topic string) {
			for range 3 {
				time.Sleep(2 * time.Second)
				moveLeaders(t, admin, topic)
			}
		}},
		{topic: "killed", replicas: 3, fault: faultCase{name: "a broker killed (SIGKILL) for 5 s, and back"}, do: func(t *testing.T, topic string) {
			kafka.Kill(t, 1)
			time.Sleep(5 * time.Second)
			kafka.Restart(t, 1)
			kafka.WaitInSync(t, topic)
		}},
		{topic: "leaderless", replicas: 1, fault: faultCase{name: "partitions without leader: their only broker killed for 5 s"}, do: func(t *testing.T, topic string) {
			kafka.Kill(t, 2)
			time.Sleep(5 * time.Second)
			kafka.Restart(t, 2)
			kafka.WaitInSync(t, topic)
		}},
		{topic: "rolling", replicas: 3, fault: faultCase{name: "brokers restarted one after another"}, do: func(t *testing.T, topic string) {
			for i := range 3 {
				kafka.Stop(t, i)
				kafka.Restart(t, i)
				kafka.WaitInSync(t, topic)
			}
		}},
		{topic: "away", replicas: 3, fault: faultCase{name: "all brokers killed for 10 s"}, do: func(t *testing.T, topic string) {
			killAll(t)
			time.Sleep(10 * time.Second)
			restartAll(t, topic)
		}},
		{topic: "away-at-start", replicas: 3, fault: faultCase{name: "all brokers away at the first request, for 10 s", atStart: true},
			before: killAll, do: func(t *testing.T, topic string) {
				time.Sleep(10 * time.Second)
				restartAll(t, topic)
			}},
		{topic: "throttled", replicas: 3, fault: faultCase{name: "throttled by a quota of 20 kB/s for 5 s"}, do: func(t *testing.T, topic string) {
			quota(t, admin, 20000, false)
			time.Sleep(5 * time.Second)
			quota(t, admin, 20000, true)
		}},
		{topic: "more-partitions", replicas: 3, fault: faultCase{name: "partitions added"}, do: func(t *testing.T, topic string) {
			if _, err := admin.UpdatePartitions(t.Context(), 12, topic); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}},
	} {
		t.Run(c.topic, func(t *testing.T) {
			topic := kafka.CreateTopic(t, c.topic, 6, c.replicas, nil)
			if c.before != nil {
				c.before(t)
			}
			f := c.fault
			f.where, f.addrs = "Kafka "+kafka.Version, brokers
			f.more = map[string]any{"topic": topic, "producer_request_acks": -1}
			f.do = func(t *testing.T, _ *kongsim.Sim) { c.do(t, topic) }
			f.records = func(t *testing.T, n int) []*kgo.Record { return kafka.Records(t, topic, n) }
			f.run(t)
		})
	}
}

// moveLeaders makes the next replica of each partition its leader.
func moveLeaders(t *testing.T, admin *kadm.Client, topic string) {
	t.Helper()
	topics, err := admin.ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var req kadm.AlterPartitionAssignmentsReq
	set := make(kadm.TopicsSet)
	for id, p := range topics[topic].Partitions {
		req.Assign(topic, id, append(p.Replicas[1:len(p.Replicas):len(p.Replicas)], p.Replicas[0]))
		set.Add(topic, id)
	}
	if _, err := admin.AlterPartitionAssignments(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ElectLeaders(t.Context(), kadm.ElectPreferredReplica, set); err != nil {
		t.Fatal(err)
	}
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
