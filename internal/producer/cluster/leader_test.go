package cluster

import (
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
)

// leaderless has the only broker name no leader for the partitions of topic u, for as long as it
// returns true.
func leaderless(t *testing.T, f *kafkatest.Fake) *atomic.Bool {
	host, text, _ := net.SplitHostPort(f.Addrs()[0])
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	without := new(atomic.Bool)
	without.Store(true)
	f.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if !without.Load() {
			return nil, nil, false
		}
		response := r.ResponseKind().(*kmsg.MetadataResponse)
		response.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 0, Host: host, Port: int32(port)}}
		for _, asked := range r.(*kmsg.MetadataRequest).Topics {
			topic := kmsg.MetadataResponseTopic{Topic: asked.Topic}
			for i := range f.PartitionInfos(*asked.Topic) {
				p := kmsg.MetadataResponseTopicPartition{Partition: int32(i)}
				if *asked.Topic == "u" {
					p.Leader, p.ErrorCode = -1, kerr.LeaderNotAvailable.Code
				}
				topic.Partitions = append(topic.Partitions, p)
			}
			response.Topics = append(response.Topics, topic)
		}
		return response, nil, true
	})
	return without
}

// The connections of other topics stay, and there is no login in each pause.
func TestPartitionsWithoutLeaderDisturbNoOtherTopic(t *testing.T) {
	const partitions = 5
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"), kfake.SeedTopics(partitions, "u"))
	without := leaderless(t, f)
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Topics, o.Backoff, o.MaxAttempts = []string{"t", "u"}, 20*time.Millisecond, 1 })
	produce(t, c, "x")
	if err := c.Await(t.Context(), "u"); err != nil {
		t.Fatal(err)
	}
	var produced sync.WaitGroup
	for partition := range partitions {
		produced.Go(func() {
			if err := c.Produce(t.Context(), []kafka.Message{{Topic: "u", Partition: partition, Value: []byte("y"), Time: time.Now()}}); err != nil {
				t.Errorf("partition %d: %v", partition, err)
			}
		})
	}
	waiting := func(n int32) {
		eventually(t, "the partitions wait", func() bool { return c.watch().unavailable.Load() >= n })
	}
	waiting(partitions)
	generation, asked, began := c.current(nil).number, f.Requests(kmsg.Metadata), time.Now()
	waiting(30 * partitions)
	produce(t, c, "x")
	passed := time.Since(began)
	if n, most := c.current(nil).number-generation, uint64(1+passed/refusedPause); n > most {
		t.Errorf("%d new generations in %v, want %d at most", n, passed, most)
	}
	if n, most := f.Requests(kmsg.Metadata)-asked, 5+int(2*passed/(20*time.Millisecond)); n > most {
		t.Errorf("%d metadata requests in %v, want %d at most", n, passed, most)
	}
	without.Store(false)
	began = time.Now()
	produced.Wait()
	if d := time.Since(began); d > time.Second {
		t.Errorf("the records were delivered %v after the election", d)
	}
	f.Records(t, "u", partitions)
}

// A connection that ends is replaced at once, as ever.
func TestLeaderIsAskedForAnewIfTheBrokerHangsUp(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t", "u"))
	c := newTestCluster(t, f.Addrs(), nil)
	produce(t, c, "x")
	g := c.current(nil)
	f.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, errors.New("cut"), true })
	if !c.leaderElected(t.Context(), g, c.use("t"), 0) {
		t.Error("no answer counts as no leader")
	}
	c.use("t").election.asked = time.Time{}
	if !c.leaderElected(t.Context(), g, c.use("t"), 0) || c.use("t").election.answer == nil {
		t.Error("the leader is not known")
	}
	if c.leaderElected(t.Context(), g, c.use("t"), 7) {
		t.Error("a partition that does not exist has a leader")
	}
}

// A generation whose own metadata request failed keeps that error, whatever else it is asked.
func TestCheckOfATopicLeavesAFailedGenerationAsItIs(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.WaitForBroker = false })
	f.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, errors.New("cut"), true })
	g := c.current(nil)
	if err := c.fetchMetadata(t.Context(), c.use("t"), false); err == nil {
		t.Fatal("the metadata is known")
	}
	if err := c.CheckTopic(t.Context(), "t"); err != nil {
		t.Error(err)
	}
	if g.known.Load() || c.current(nil) != g {
		t.Errorf("the generation's metadata counts as known: %v", g.known.Load())
	}
	if err := c.Await(t.Context(), "t"); err == nil {
		t.Error("its error is lost")
	}
	produce(t, c, "x") // by another generation
}

// A probe may begin just when its topic is forgotten.
func TestCheckOfATopicDoesNotBringItBackIntoUse(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), nil)
	produce(t, c, "x")
	g := c.current(nil)
	c.Forget("t")
	if err := c.CheckTopic(t.Context(), "t"); err == nil {
		t.Error("the topic was checked")
	}
	if c.metadataOf("t") != nil || len(*c.topics.Load()) != 0 || c.current(nil) != g {
		t.Error("the topic is in use again")
	}
}
