package producer

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	metadataAPI "github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
)

func TestLookAtTheClusterHasAConnectionWhereItIsOfUse(t *testing.T) {
	for _, c := range []struct {
		name     string
		shares   int64
		idle     time.Duration
		buffered bool
		want     bool
	}{
		{"a record waits", 1, time.Hour, true, true},
		{"a record waits, and no instance is left", 0, time.Hour, true, true},
		{"the layout is to stay young", 1, layoutAge / 2, false, true},
		{"no record for long", 1, 2 * layoutAge, false, false},
		{"no instance is left", 0, 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			p := newTestProducer(t, []string{l.Addr().String()}, nil)
			p.shares.Store(c.shares)
			p.mu.Lock()
			p.used = time.Now().Add(-c.idle)
			if c.buffered {
				p.stats.Buffered++
			}
			p.mu.Unlock()
			conns := p.transport.current()
			conns.known.Store(true)
			for _, ctx := range []context.Context{t.Context(), context.WithValue(t.Context(), askedKey{}, true)} {
				want := c.want || ctx != t.Context()
				nc, err := conns.dial(ctx, "tcp", l.Addr().String())
				if (err == nil) != want || err != nil && !errors.Is(err, errNotNeeded) {
					t.Errorf("connected: %v, %v; want %v", err == nil, err, want)
				}
				if nc != nil {
					_ = nc.Close()
				}
			}
		})
	}
}

// What waits for the layout is told why the first look failed, and looks again
// itself.
func TestFailedLookIsNotMadeAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conns := newTestProducer(t, []string{l.Addr().String()}, nil).transport.current()
	nc, err := conns.dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.Close() // as after a login that was refused
	over := errors.New("over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(over)
	if nc, err := conns.dial(ctx, "tcp", l.Addr().String()); err != over {
		t.Errorf("%v, %v", nc, err)
	}
}

func TestProducerWhoseInstancesAreGoneDoesNotConnectAgain(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Async = false })
	conns := p.transport.current()
	conns.MetadataTTL = 20 * time.Millisecond
	var dials atomic.Int64
	conns.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		defer dials.Add(1)
		return conns.dial(ctx, network, address)
	}
	p.shares.Add(1)
	send(t, p, "one")
	p.shares.Add(-1)
	connections := f.Connections()
	f.DropConnections()
	before := dials.Load()
	eventually(t, "kafka-go wanted connections", func() bool { return dials.Load() > before+5 })
	if n := f.Connections(); n != connections {
		t.Errorf("%d connections were made", n-connections)
	}
	p.shares.Add(1) // and a record still goes out at once
	send(t, p, "two")
	if n := len(f.Records(t, "t", 2)); n != 2 {
		t.Errorf("%d records arrived", n)
	}
}

// kafka-go looks at the cluster for as long as it has a connection, which a look keeps from
// being idle.
func TestClusterIsNotLookedAtOverAConnectionThatIsKept(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Keepalive = time.Minute })
	conns := p.transport.current()
	conns.MetadataTTL = 20 * time.Millisecond
	p.shares.Add(1)
	send(t, p, "one")
	settled(t, p)
	connection := f.Produces()[0].Conn
	p.mu.Lock()
	p.used = time.Now().Add(-2 * layoutAge)
	p.mu.Unlock()
	looks := 0
	eventually(t, "nobody looks any more", func() bool {
		before := f.Requests(kmsg.Metadata)
		time.Sleep(10 * conns.MetadataTTL)
		looks++
		return f.Requests(kmsg.Metadata) == before
	})
	if looks > 2 {
		t.Errorf("the cluster was looked at for %d times 200 ms", looks)
	}
	send(t, p, "two")
	settled(t, p)
	if all := f.Produces(); all[1].Conn != connection {
		t.Error("the connection for records was not kept")
	}
}

var errLogin = errors.New("login refused")

func refusable(t *testing.T, brokers []string, set func(*Options)) *Producer {
	t.Helper()
	p := newTestProducer(t, brokers, set)
	p.transport.refused = func(err error) bool { return errors.Is(err, errLogin) }
	return p
}

// What a broker said before it went away is no reason to give records up.
func TestServersThatAreAwayUseUpNoLogin(t *testing.T) {
	p := refusable(t, []string{closedPort(t), closedPort(t)}, func(o *Options) {
		o.MaxAttempts = 2
		o.Backoff = 50 * time.Millisecond
		o.Linger = time.Millisecond
	})
	d := p.transport.dialer
	d.refused(errLogin)
	d.untried() // the pause is over
	for range 20 {
		if _, err := d.dial(t.Context(), "tcp", closedPort(t)); errors.Is(err, errLogin) {
			t.Fatal(err)
		}
	}
	send(t, p, "x")
	time.Sleep(500 * time.Millisecond) // for what must not come
	if s := p.Stats(); s.Buffered != 1 {
		t.Errorf("%+v", s)
	}
}

func TestRefusedLoginIsHeldBackUntilOneIsAccepted(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := refusable(t, f.Addrs(), func(o *Options) { o.Async = false; o.Backoff = time.Hour })
	send(t, p, "one")
	p.transport.noteRefusal(p.transport.current(), errLogin)
	if err := p.transport.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.transport.dialer.hold() == nil {
		t.Error("not held back, by a layout that was known before")
	}
}

func TestRequestOnReplacedConnectionsHasALayoutOfItsOwn(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Async = false })
	send(t, p, "one")
	conns := p.transport.current()
	p.transport.reset(conns)
	if _, err := conns.RoundTrip(t.Context(), p.transport.servers, &metadataAPI.Request{TopicNames: []string{"t"}}); err != nil {
		t.Error(err)
	}
}

func TestResetThatComesTooEarlyIsMadeUpFor(t *testing.T) {
	p := newTestProducer(t, []string{closedPort(t)}, nil)
	tr := p.transport
	tr.reset(tr.current())
	next := tr.current()
	tr.resetAt = time.Now()
	tr.reset(next)
	if tr.resetAt = time.Now(); tr.current() != next {
		t.Error("replaced at once")
	}
	if tr.resetAt = time.Now().Add(-minPause); tr.current() == next {
		t.Error("not replaced later")
	}
}

// Connections take the place of others many times while a broker is away. What kafka-go
// knew of the cluster goes with them, and not only when their idle timeout is over.
func TestConnectionsThatWereReplacedHoldNoMemory(t *testing.T) {
	const partitions, rounds, each = 2000, 60, 300 // bytes, at least
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(partitions, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Async = false; o.Keepalive = time.Minute })
	p.transport.resetPause = 0
	send(t, p, "one")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range rounds {
		p.transport.reset(p.transport.current())
		send(t, p, "x")
	}
	p.transport.closing.Wait()
	eventually(t, "the memory is free", func() bool {
		runtime.GC()
		runtime.ReadMemStats(&after)
		return after.HeapAlloc < before.HeapAlloc+rounds*partitions*each/4
	})
}
