package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
	"kafka-upstream/internal/test/testcert"
)

// seed returns the seed of this run: SEED, or a new one. It is printed, so that
// a run that failed can be had again.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := uint64(time.Now().UnixNano())
	if v := os.Getenv("SEED"); v != "" {
		var err error
		if s, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	t.Logf("SEED=%d", s)
	return s
}

// soak returns how long a test that can go on for ever does: SOAK, or d.
func soak(t *testing.T, d time.Duration) time.Duration {
	t.Helper()
	if v := os.Getenv("SOAK"); v != "" {
		var err error
		if d, err = time.ParseDuration(v); err != nil {
			t.Fatalf("SOAK: %v", err)
		}
	}
	return d
}

// brokers is a cluster that faults are done to.
type brokers struct {
	t      *testing.T
	r      *rand.Rand
	addrs  []string
	opts   []kfake.Opt
	silent atomic.Int64 // until then, Unix nanoseconds
	*kafkatest.Fake
}

func startBrokers(t *testing.T, r *rand.Rand, opts ...kfake.Opt) *brokers {
	b := &brokers{t: t, r: r}
	var ports []int
	for range 3 {
		b.addrs = append(b.addrs, rig.ClosedPort(t))
		_, port, _ := net.SplitHostPort(b.addrs[len(b.addrs)-1])
		n, _ := strconv.Atoi(port)
		ports = append(ports, n)
	}
	b.opts = append(opts, kfake.NumBrokers(3), kfake.Ports(ports...), kfake.SeedTopics(10, "t"), kfake.DataDir(t.TempDir()))
	b.start()
	return b
}

// startTLSBrokers starts a cluster that speaks TLS, and returns the flags by which the
// program trusts it.
func startTLSBrokers(t *testing.T, opts ...kfake.Opt) (b *brokers, flags []string) {
	ca := testcert.New("an authority")
	f := kafkatest.StartFakeTLS(t, ca.ServerConfig("127.0.0.1"), append(opts, kfake.SeedTopics(10, "t"))...)
	return &brokers{t: t, addrs: f.Addrs(), Fake: f}, caFlag(t, ca)
}

// deleteTopic is done before the first request.
func deleteTopic(x *stage) {
	if err := x.b.DeleteTopic("t"); err != nil {
		x.Fatal(err)
	}
}

func (b *brokers) start() {
	b.Fake = kafkatest.StartFake(b.t, b.opts...)
	b.Hold(kmsg.Produce, func(gone <-chan struct{}) {
		for d := b.quiet(); d > 0; d = b.quiet() {
			select {
			case <-gone:
				return
			case <-time.After(d):
			}
		}
	})
}

// away ends all brokers, and starts them again with what they had.
func (b *brokers) away(d time.Duration) {
	b.Close()
	time.Sleep(d)
	b.start()
}

// silence has no produce request answered for some time.
func (b *brokers) silence(d time.Duration) {
	b.silent.Store(max(b.silent.Load(), time.Now().Add(d).UnixNano()))
}

// refuse has those requests answered with an error for some time. RequestTimedOut is that of
// a request that was carried out all the same.
func (b *brokers) refuse(d time.Duration, err *kerr.Error, requests ...kmsg.Key) {
	until := time.Now().Add(d)
	for _, key := range requests {
		b.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: -1,
			When: func(kmsg.Request) bool { return time.Now().Before(until) }})
	}
}

// quiet returns for how long the silence will last.
func (b *brokers) quiet() time.Duration { return time.Until(time.Unix(0, b.silent.Load())) }

// inject has requests answered with an error, and waits until they were.
func (b *brokers) inject(t *testing.T, f kfake.Fault) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	h := b.Fault(f)
	defer h.Remove()
	if err := h.Wait(ctx, f.Count); err != nil {
		t.Fatalf("%d of %d requests have met the fault: %v", h.Hits(), f.Count, err)
	}
}

// fault does something to the brokers that must lose nothing, and says what.
func (b *brokers) fault() string {
	some := time.Duration(50+b.r.IntN(400)) * time.Millisecond
	switch b.r.IntN(7) {
	case 0:
		b.DropConnections()
		return "connections reset"
	case 1:
		b.ShufflePartitionLeaders()
		return "leadership moved"
	case 2:
		codes := []*kerr.Error{kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.LeaderNotAvailable, kerr.BrokerNotAvailable, kerr.KafkaStorageError}
		code := codes[b.r.IntN(len(codes))]
		b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: code, Count: 1 + b.r.IntN(4)})
		return "produce requests answered " + code.Message
	case 3:
		b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 1 + b.r.IntN(3)})
		return "acknowledgements lost"
	case 4:
		b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Err: kerr.LeaderNotAvailable, Count: 1 + b.r.IntN(3)})
		return "metadata without leaders"
	case 5:
		b.away(some)
		return fmt.Sprintf("all brokers away for %v", some)
	default:
		b.silence(some)
		return fmt.Sprintf("no produce request answered for %v", some)
	}
}

var ended = regexp.MustCompile(`msg=ended accepted=(\d+) delivered=(\d+) failed=(\d+) undelivered=(\d+) rejected=(\d+)`)

// Each accepted record has one fate, whatever happens to the brokers, to Kong's
// configuration and to this process: requests = 200 + refused by status, and
// accepted = delivered + failed + left. What is delivered is in the topic, and
// what is in the topic was accepted.
func TestInvariantUnderFaults(t *testing.T) {
	type mode struct {
		name string
		more map[string]any
		load *mixed // nil: one route
	}
	modes := []mode{
		{name: "async", more: map[string]any{"producer_async": true}},
		{name: "async, all acks", more: map[string]any{"producer_async": true, "producer_request_acks": -1}},
		{name: "sync", more: map[string]any{"producer_async": false}},
		{name: "async, small buffer", more: map[string]any{"producer_async": true, "producer_async_buffering_limits_messages_in_memory": 50}},
		{name: "ten topics, keys, all codecs", more: map[string]any{}, load: newMixed("t")},
	}
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := seed(t)
			r := rand.New(rand.NewPCG(s, 0))
			var opts []kfake.Opt
			topics := []string{"t"}
			if mode.load != nil {
				opts = append(opts, kfake.SeedTopics(10, mode.load.keyed...))
				topics = mode.load.topics()
			}
			b := startBrokers(t, r, opts...)
			mode.more["timeout"] = 1000
			config := func() []byte {
				if mode.load != nil {
					return mode.load.config(t, b.addrs, mode.more)
				}
				return []byte(kongYAML(t, rig.Settings(t, b.addrs, mode.more)))
			}
			log := new(rig.Lines)
			sim, err := kongsim.Start(t.Context(), kongsim.Options{
				Config: config(), Binary: rig.Binary, Args: []string{"-kong-prefix", rig.ShortDir(t)}, Workers: 3, Stderr: log, Seed: s,
			})
			if err != nil {
				t.Fatal(err)
			}
			a := newAnswers()
			a.load = mode.load
			stop := make(chan struct{})
			var sending sync.WaitGroup
			for client := range clients {
				sending.Go(func() {
					for i := client; ; i += clients {
						select {
						case <-stop:
							return
						default:
							a.send(sim.URL(), i)
						}
					}
				})
			}
			uri := false
			for end := time.Now().Add(soak(t, 4*time.Second)); time.Now().Before(end); {
				time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
				what := ""
				chance := r.IntN(8)
				if mode.load != nil {
					chance = 7 // two producers at a time, an old and a new one, keep no order between them
				}
				switch chance {
				case 0:
					what = "kong reload"
					if err := sim.Reload(); err != nil {
						t.Errorf("reload: %v", err)
					}
				case 1:
					uri = !uri
					what = "configuration changed"
					mode.more["forward_uri"] = uri
					mode.more["keepalive"] = 60000 + r.IntN(3) // another producer
					if err := sim.SetConfig(config()); err != nil {
						t.Errorf("change: %v", err)
					}
				default:
					what = b.fault()
				}
				t.Log(what)
			}
			close(stop)
			sending.Wait()
			if err := sim.Close(); err != nil { // lets the server drain
				t.Errorf("closing: %v", err)
			}
			printed := log.String()
			t.Logf("the program printed:\n%s", printed) // before what was wrong, which is read first in a log that was cut
			records := b.RecordsOf(t, topics, 0)
			checkInvariant(t, records, a, printed)
			if mode.load != nil {
				mode.load.checkKeys(t, records)
			}
		})
	}
}

// invariant is what checkInvariant found of requests.
type invariant struct{ missing, doubled int }

// checkInvariant compares what is in the topic with what clients were told and
// with what the program counted, which is the last line of its log.
func checkInvariant(t *testing.T, records []*kgo.Record, a *answers, log string) invariant {
	t.Helper()
	var accepted, delivered, failed, left, refused int
	for _, m := range ended.FindAllStringSubmatch(log, -1) { // one for each process there was
		for i, v := range []*int{&accepted, &delivered, &failed, &left, &refused} {
			n, _ := strconv.Atoi(m[i+1])
			*v += n
		}
	}
	requests := a.requests()
	got := make(map[int]int)
	for _, r := range records {
		var m struct {
			Args struct{ I *int } `json:"body_args"`
		}
		if err := json.Unmarshal(r.Value, &m); err != nil || m.Args.I == nil {
			t.Fatalf("a record that nobody sent: %s", r.Value)
		}
		i := *m.Args.I
		if !a.accepted[i] && !a.unsure[i] {
			t.Errorf("request %d is in the topic, and its client was told otherwise", i)
		}
		got[i]++
	}
	missing, doubled := 0, 0
	for i := range a.accepted {
		if got[i] == 0 {
			missing++
		}
	}
	for _, n := range got {
		if n > 1 {
			doubled++
		}
	}
	t.Logf("%d requests, answers %v; accepted %d = delivered %d + failed %d + left %d; refused %d; in the topic %d, missing %d, doubled %d",
		requests, a.status, accepted, delivered, failed, left, refused, len(got), missing, doubled)
	if accepted != delivered+failed+left {
		t.Errorf("accepted %d is not delivered %d + failed %d + left %d", accepted, delivered, failed, left)
	}
	if a.status[200]+a.status[502] != accepted || a.status[503] != refused {
		t.Errorf("clients were told 200 %d times, 502 %d times and 503 %d times; the server counted %d accepted and %d refused",
			a.status[200], a.status[502], a.status[503], accepted, refused)
	}
	if other := requests - a.status[200] - a.status[502] - a.status[503]; other > 0 {
		t.Errorf("%d requests were answered with something else: %v", other, a.status)
	}
	if missing > failed+left {
		t.Errorf("%d accepted records are missing, and only %d were counted as failed or left", missing, failed+left)
	}
	if len(got) < delivered {
		t.Errorf("%d records are in the topic, %d were counted as delivered", len(got), delivered)
	}
	return invariant{missing, doubled}
}
