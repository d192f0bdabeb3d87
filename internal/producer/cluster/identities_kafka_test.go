//go:build kafka

package cluster

import (
	"math"
	"testing"

	"kafka-upstream/internal/test/kafkatest"
)

// What is relied on without asking brokers: epochs that are raised, sequences that begin at 0 again or
// after their last one, and what is refused and what is a duplicate after that.
func TestKafkaTakesIdentitiesAsTheyAreMade(t *testing.T) {
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		broker := kafkatest.Start(t, kafkatest.Config{Version: version})
		name := broker.CreateTopic(t, "t", 1, 1, nil)
		c := newTestCluster(t, broker.Addrs(kafkatest.Plaintext), func(o *Options) { idempotent(o); o.Topics = []string{name} })
		if err := c.Await(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		s := c.use(name).sequenceOf(0)
		send := func(offset int64, values ...string) {
			t.Helper()
			m := messages(values...)
			for i := range m {
				m[i].Topic = name
			}
			if err := c.Produce(t.Context(), m); err != nil || m[0].Offset != offset {
				t.Errorf("%q: %v, offset %d, want %d", values, err, m[0].Offset, offset)
			}
		}
		send(0, "a")
		again := s.next
		send(1, "b", "c")
		s.next = again
		send(1, "b", "c") // a duplicate
		old := s.next
		s.next = s.next.raised()
		send(3, "d")
		s.next, s.resumed = Identity{old.ID, old.Epoch, 7}, true // a batch of the old epoch that is late
		send(4, "e")
		if s.next.ID == old.ID {
			t.Error("the old epoch was taken")
		}
		wantInexact(t, c, 0, 1, 0)

		s.next = Identity{s.next.ID + 1, 0, math.MaxInt32 - 1} // which the broker does not know
		again = s.next
		send(5, "f", "g", "h")
		send(8, "i")
		s.next = again
		send(5, "f", "g", "h")
		s.next = again.after(3)
		send(8, "i")
		s.next = Identity{s.next.ID, 0, 77}
		send(9, "j") // in the next epoch
		if s.next != (Identity{again.ID, 1, 1}) {
			t.Errorf("next is %+v", s.next)
		}
		var values string
		for _, r := range broker.Records(t, name, 10) {
			values += string(r.Value)
		}
		if values != "abcdefghij" {
			t.Errorf("the topic has %q", values)
		}
	})
}
