package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// outage is a topic that cannot be written beside one that can, of one producer.
type outage struct {
	noisy, quiet string
	settings     map[string]any // more of them
	brokers      []string
	args         []string
	records      func(t testing.TB, topic string, n int) []*kgo.Record
	end          func() // of the outage
}

// check fills the buffer with records to the noisy topic. The quiet one must not notice, by
// whichever route and way it is chosen.
func (o outage) check(t *testing.T) {
	settings := func(topic string, more map[string]any) []byte {
		return rig.Settings(t, o.brokers, with(with(map[string]any{
			"topic": topic, "value_format": "body", "producer_async_buffering_limits_messages_in_memory": 1000,
			"producer_request_retries_max_attempts": 1000, // so that nothing makes room meanwhile
		}, o.settings), more))
	}
	sim := gateway(t, hosts(map[string][]byte{
		"noisy": settings(o.noisy, nil),
		"quiet": settings(o.quiet, nil),
		"query": settings(o.noisy, map[string]any{"topics_query_arg": "to", "allowed_topics": []string{o.quiet}}),
	}), append([]string{"-drain-timeout", "5s"}, o.args...)...)

	var accepted, rejected atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch status, _, body := (sent{body: "noisy"}).send(t, sim.URL(), "noisy"); status {
				case http.StatusOK:
					accepted.Add(1)
				case http.StatusServiceUnavailable:
					rejected.Add(1)
				default:
					t.Errorf("a request to the topic with the outage is answered %d %s", status, body)
					return
				}
			}
		})
	}
	rig.Eventually(t, "the buffer is full for the topic with the outage", func() bool { return rejected.Load() > 10 })
	const n = 200
	for i := range n { // the first of which start their configurations
		host, target := "quiet", "/"
		if i%2 == 1 {
			host, target = "query", "/?to="+o.quiet
		}
		sent{target: target, body: fmt.Sprint(i)}.check(t, sim.URL(), host)
	}
	close(stop)
	clients.Wait()
	if t.Failed() {
		return
	}
	if got := len(o.records(t, o.quiet, n)); got != n {
		t.Errorf("%d of %d records are in the topic without outage", got, n)
	}
	t.Logf("%d requests to the topic with the outage were accepted, %d rejected", accepted.Load(), rejected.Load())
	o.end()
	if got := int64(len(o.records(t, o.noisy, int(accepted.Load())))); got != accepted.Load() {
		t.Errorf("%d of %d records are in the topic after its outage", got, accepted.Load())
	}
}

// A topic that cannot be written has its share of the buffer, and other topics have theirs.
func TestOutageOfATopicLeavesRoomForOthers(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, f *kafkatest.Fake) (end func()){
		"missing": func(t *testing.T, f *kafkatest.Fake) func() {
			if err := f.DeleteTopic("noisy"); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := f.CreateTopic("noisy", 3, nil); err != nil {
					t.Error(err)
				}
			}
		},
		"without leader": func(t *testing.T, f *kafkatest.Fake) func() {
			return f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "noisy", Err: kerr.LeaderNotAvailable, Count: -1}).Remove
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(3, "noisy", "quiet"))
			outage{
				noisy: "noisy", quiet: "quiet", brokers: f.Addrs(), end: begin(t, f),
				records: func(t testing.TB, topic string, n int) []*kgo.Record { return f.Records(t, topic, n) },
			}.check(t)
		})
	}
}
