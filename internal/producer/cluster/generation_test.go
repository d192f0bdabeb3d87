package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	metadataAPI "github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/test/kafkatest"
)

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestRefreshHasAConnectionOnlyIfMetadataIsNeeded(t *testing.T) {
	for _, needed := range []bool{true, false} {
		l := listen(t)
		c := newTestCluster(t, []string{l.Addr().String()}, nil)
		c.watch().needsMetadata.Store(needed)
		g := c.current(nil)
		g.known.Store(true)
		for _, ctx := range []context.Context{t.Context(), context.WithValue(t.Context(), requestedKey{}, true)} {
			want := needed || ctx != t.Context()
			nc, err := g.dial(ctx, "tcp", l.Addr().String())
			if (err == nil) != want || err != nil && !errors.Is(err, errNotNeeded) {
				t.Errorf("connected: %v, %v; want %v", err == nil, err, want)
			}
			if nc != nil {
				_ = nc.Close()
			}
		}
	}
}

// A request that waits for the metadata is told why the first refresh failed, and makes
// another itself.
func TestFailedFirstRefreshIsNotRepeated(t *testing.T) {
	l := listen(t)
	g := newTestCluster(t, []string{l.Addr().String()}, nil).current(nil)
	nc, err := g.dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.Close() // as after a login that was refused
	if nc, err := g.dial(expired(t, errOver), "tcp", l.Addr().String()); err != errOver {
		t.Errorf("%v, %v", nc, err)
	}
}

func TestClusterWhoseMetadataIsNotNeededDoesNotConnectAgain(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), nil)
	g := c.current(nil)
	g.MetadataTTL = 20 * time.Millisecond
	var dials atomic.Int64
	g.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		defer dials.Add(1)
		return g.dial(ctx, network, address)
	}
	produce(t, c, "one")
	c.watch().needsMetadata.Store(false)
	connections := f.Connections()
	f.DropConnections()
	before := dials.Load()
	eventually(t, "kafka-go wanted connections", func() bool { return dials.Load() > before+5 })
	if n := f.Connections(); n != connections {
		t.Errorf("%d connections were made", n-connections)
	}
	produce(t, c, "two") // and a record still goes out at once
	if n := len(f.Records(t, "t", 2)); n != 2 {
		t.Errorf("%d records arrived", n)
	}
}

// kafka-go refreshes its metadata for as long as it has a connection, which a refresh keeps
// from being idle.
func TestMetadataThatIsNotNeededIsNotRefreshedOverAConnectionThatIsKept(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Keepalive = time.Minute })
	g := c.current(nil)
	g.MetadataTTL = 20 * time.Millisecond
	produce(t, c, "one")
	connection := f.Produces()[0].Conn
	c.watch().needsMetadata.Store(false)
	rounds := 0
	eventually(t, "no request is made any more", func() bool {
		before := f.Requests(kmsg.Metadata)
		<-time.After(10 * g.MetadataTTL)
		rounds++
		return f.Requests(kmsg.Metadata) == before
	})
	if rounds > 2 {
		t.Errorf("metadata was requested for %d times 200 ms", rounds)
	}
	produce(t, c, "two")
	if all := f.Produces(); all[1].Conn != connection {
		t.Error("the connection for records was not kept")
	}
}

func TestRequestOnAReplacedGenerationHasMetadata(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), nil)
	produce(t, c, "one")
	g := c.current(nil)
	c.invalidate(g)
	if _, err := g.RoundTrip(t.Context(), c.addr, &metadataAPI.Request{TopicNames: []string{"t"}}); err != nil {
		t.Error(err)
	}
}

func TestRotationThatComesTooEarlyIsMadeUpFor(t *testing.T) {
	c := newTestCluster(t, []string{closedPort(t)}, nil)
	c.invalidate(c.current(nil))
	next := c.current(nil)
	c.rotated = time.Now()
	c.invalidate(next)
	if c.rotated = time.Now(); c.current(nil) != next {
		t.Error("replaced at once")
	}
	if c.rotated = time.Now().Add(-minPause); c.current(nil) == next {
		t.Error("not replaced later")
	}
}

// Generations are replaced many times while a broker is away. What kafka-go knew of the
// cluster goes with them, and not only when their idle timeout is over.
func TestReplacedGenerationsHoldNoMemory(t *testing.T) {
	const partitions, rounds, each = 2000, 60, 300 // bytes, at least
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(partitions, "t"))
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.MinPause, o.Keepalive = 1, time.Minute })
	produce(t, c, "one")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range rounds {
		c.invalidate(c.current(nil))
		produce(t, c, "x")
	}
	c.closing.Wait()
	eventually(t, "the memory is free", func() bool {
		runtime.GC()
		runtime.ReadMemStats(&after)
		return after.HeapAlloc < before.HeapAlloc+rounds*partitions*each/4
	})
}

// A topic that was not known at first is fetched by a new generation, and the others still
// work.
func TestTopicsAreAddedWhenTheyAreUsed(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"), kfake.SeedTopics(3, "u", "v"))
	c := newTestCluster(t, f.Addrs(), nil)
	produce(t, c, "one")
	for _, topic := range []string{"u", "v"} {
		if got := c.Partitions(topic); got != nil || c.Leader(topic, 1) != "" {
			t.Errorf("%s has the partitions %v before it is used", topic, got)
		}
		if err := c.Await(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		m := messages("x")
		m[0].Topic, m[0].Partition = topic, 2
		if err := c.Produce(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if got := len(c.Partitions(topic)); got != 3 || c.Leader(topic, 1) != f.Addrs()[0] {
			t.Errorf("%s has %d partitions, and of 1 the leader %q", topic, got, c.Leader(topic, 1))
		}
		produce(t, c, "two")
	}
	if n := c.current(nil).number; n > 3 {
		t.Errorf("there were %d generations", n)
	}
}

// A topic that does not exist costs the others no connection.
func TestMissingTopicDisturbsNoOther(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), nil)
	if err := c.Await(t.Context(), "missing"); !kafkaerr.IsMissingTopic(err) {
		t.Fatal(err)
	}
	produce(t, c, "x")
	g := c.current(nil)
	for range 5 {
		if err := c.Await(t.Context(), "missing"); !kafkaerr.IsMissingTopic(err) {
			t.Error(err)
		}
		produce(t, c, "x")
	}
	if c.current(nil) != g {
		t.Error("the connections were replaced")
	}
	if err := f.CreateTopic("missing", 2, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Await(t.Context(), "missing"); err != nil || len(c.Partitions("missing")) != 2 {
		t.Errorf("%v, %d partitions", err, len(c.Partitions("missing")))
	}
}

// Nor does a topic that brokers refuse, although only a new generation asks for it again.
func TestRefusedTopicDisturbsNoOther(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t", "refused"))
	fault := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "refused", Err: kerr.TopicAuthorizationFailed, Count: -1})
	c := newTestCluster(t, f.Addrs(), nil)
	produce(t, c, "x")
	refused := func() {
		t.Helper()
		if err := c.Await(t.Context(), "refused"); !errors.Is(err, kafka.TopicAuthorizationFailed) {
			t.Fatal(err)
		}
	}
	refused()
	g := c.current(nil)
	for range 5 {
		c.rotated = time.Now().Add(-minPause)
		refused()
		produce(t, c, "x")
	}
	if c.current(nil) != g {
		t.Error("the connections were replaced")
	}
	fault.Remove()
	c.rotated = time.Now().Add(-refusedPause)
	refused() // by what is known
	if err := c.Await(t.Context(), "refused"); err != nil {
		t.Errorf("it is refused no more: %v", err)
	}
}

// Many topics that are used for the first time at once do not each open connections.
func TestNewTopicsShareAGeneration(t *testing.T) {
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprint("t", i))
	}
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, names...))
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.MinPause = time.Second })
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() {
			if err := c.Await(t.Context(), name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	if n := c.current(nil).number; n > 5 {
		t.Errorf("there were %d generations", n)
	}
}
