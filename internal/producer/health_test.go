package producer

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	saslplain "github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/producer/cluster"
	"kafka-upstream/internal/test/kafkatest"
)

func gating(o *Options) {
	o.HealthGating = HealthGating{Failures: 3, ProbeInterval: 50 * time.Millisecond, Recoveries: 2}
	o.Backoff = 20 * time.Millisecond
}

// newGatedProducer returns a producer that an instance uses for topic t.
func newGatedProducer(t *testing.T, servers []string, set func(*Options)) *Producer {
	t.Helper()
	p := newTestProducer(t, servers, func(o *Options) {
		gating(o)
		if set != nil {
			set(o)
		}
	})
	p.acquire([]string{"t"})
	return p
}

func (p *Producer) isUnhealthy(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unhealthy(p.topic(name))
}

// wantRejected fails the test unless a record is rejected at once, and counted as such.
func wantRejected(t *testing.T, p *Producer) {
	t.Helper()
	before := topicOf(p).ledger.Rejected[Unhealthy]
	begin := time.Now()
	if err := p.Send(t.Context(), record("rejected")); !errors.Is(err, ErrUnhealthy) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begin); d > 100*time.Millisecond {
		t.Errorf("it took %v", d)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.topics["t"].ledger.Rejected[Unhealthy] - before; n != 1 {
		t.Errorf("%d records were counted as rejected", n)
	}
	if s := p.bufferStats(p.topics["t"]); !s.Gated || !s.Unhealthy {
		t.Errorf("the stats are %+v", s)
	}
}

func TestUnhealthyWhileNoBrokerCanBeReached(t *testing.T) {
	address, opts := onOnePort(t)
	p := newGatedProducer(t, []string{address}, nil)
	send(t, p, "one", "two") // nothing is known yet
	eventually(t, "it is unhealthy", func() bool { return p.isUnhealthy("t") })
	wantRejected(t, p)
	f := kafkatest.StartFake(t, opts...)
	eventually(t, "it is healthy", func() bool { return !p.isUnhealthy("t") })
	send(t, p, "three")
	if s := settled(t, p); s.Delivered != 3 || s.Rejected != 1 {
		t.Errorf("%+v", s)
	}
	f.Records(t, "t", 3)
	eventually(t, "the probes have ended", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return !p.probing })
}

// Probes are all that shows the recovery here: the records are lost.
func TestUnhealthyWhileTheLoginIsRejected(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(3, "t"))
	var logins atomic.Int32
	var allowed atomic.Bool
	f.ControlKey(int16(kmsg.SASLHandshake), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		return r.ResponseKind(), nil, true
	})
	f.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		logins.Add(1)
		response := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		if !allowed.Load() {
			response.ErrorCode = kerr.SaslAuthenticationFailed.Code
		}
		return response, nil, true
	})
	const backoff = 100 * time.Millisecond
	p := newTestProducer(t, f.Addrs(), func(o *Options) {
		gating(o)
		o.HealthGating.ProbeInterval, o.Backoff, o.MaxAttempts = 5*time.Millisecond, backoff, 3
	})
	p.access.SASL = saslplain.Mechanism{Username: "u", Password: "p"}
	setOptions(p, func(*cluster.Options) {})
	p.acquire([]string{"t"})
	send(t, p, "lost")
	eventually(t, "it is unhealthy", func() bool { return p.isUnhealthy("t") })
	wantRejected(t, p)
	if s := settled(t, p); s.Failed != 1 {
		t.Errorf("%+v", s)
	}
	before, begin := logins.Load(), time.Now()
	eventually(t, "some probes were made", func() bool { return logins.Load() >= before+5 })
	if d := time.Since(begin); d < 4*backoff {
		t.Errorf("5 logins in %v: probes have to observe the back-off of logins", d)
	}
	allowed.Store(true)
	eventually(t, "it is healthy", func() bool { return !p.isUnhealthy("t") })
	send(t, p, "delivered")
	f.Records(t, "t", 1)
}

// Other topics of the producer are not concerned.
func TestUnhealthyWhileTheTopicIsDenied(t *testing.T) {
	for name, code := range map[string]int16{"to write": 0, "to describe": kerr.TopicAuthorizationFailed.Code} {
		t.Run(name, func(t *testing.T) { testDeniedTopic(t, code) })
	}
}

func testDeniedTopic(t *testing.T, code int16) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t", "other"))
	p := newGatedProducer(t, f.Addrs(), func(o *Options) { o.HealthGating.Recoveries = 1 })
	p.acquire([]string{"other"})
	send(t, p, "delivered")
	settled(t, p)
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: 3})
	denied := denyWrites(f, code)
	for range 3 {
		if p.isUnhealthy("t") {
			t.Error("it is unhealthy too early")
		}
		send(t, p, "denied")
		settled(t, p)
	}
	wantRejected(t, p)
	if err := p.Send(t.Context(), Record{Topic: "other", Value: []byte("x")}); err != nil {
		t.Errorf("another topic: %v", err)
	}
	asked := f.Requests(kmsg.Metadata)
	eventually(t, "some probes were made", func() bool { return f.Requests(kmsg.Metadata) > asked+5 })
	wantRejected(t, p)
	denied.Store(false)
	eventually(t, "it is healthy", func() bool { return !p.isUnhealthy("t") })
	send(t, p, "delivered")
	if s := settled(t, p); s.Failed != 3 || s.Delivered != 3 {
		t.Errorf("%+v", s)
	}
}

// denyWrites has brokers answer for topic t with that code, or if it is 0 that it may not be
// written, for as long as it returns true.
func denyWrites(f *kafkatest.Fake, code int16) *atomic.Bool {
	denied := new(atomic.Bool)
	denied.Store(true)
	f.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if !denied.Load() {
			return nil, nil, false
		}
		response := r.ResponseKind().(*kmsg.MetadataResponse)
		info := f.PartitionInfo("other", 0)
		host, text, _ := net.SplitHostPort(f.Addrs()[0])
		port, _ := strconv.Atoi(text)
		response.Brokers = []kmsg.MetadataResponseBroker{{NodeID: info.Leader, Host: host, Port: int32(port)}}
		for _, topic := range r.(*kmsg.MetadataRequest).Topics {
			answer := kmsg.MetadataResponseTopic{Topic: topic.Topic}
			if *topic.Topic == "t" {
				answer.ErrorCode, answer.AuthorizedOperations = code, 1<<3|1<<8 // to read, and to describe
			}
			if answer.ErrorCode == 0 {
				answer.Partitions = []kmsg.MetadataResponseTopicPartition{{Leader: info.Leader, Replicas: []int32{info.Leader}, ISR: []int32{info.Leader}}}
			}
			response.Topics = append(response.Topics, answer)
		}
		return response, nil, true
	})
	return denied
}

// Records of batches that fail like this wait or are tried again, as without gating.
func TestFailuresThatPassDoNotMakeUnhealthy(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.NotEnoughReplicas, kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.MessageTooLarge, kerr.UnknownTopicOrPartition} {
		f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
		p := newGatedProducer(t, f.Addrs(), func(o *Options) { o.HealthGating.Failures, o.MaxAttempts = 1, 5 })
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: code, Count: 4})
		send(t, p, "x", "y")
		settled(t, p)
		p.mu.Lock()
		if h, topic := p.health, p.topics["t"].health; h != (health{}) || topic != (health{}) || p.probing {
			t.Errorf("%v: %+v, of the topic %+v", code, h, topic)
		}
		p.mu.Unlock()
	}
}

func TestWithoutGatingNothingIsRejectedOrProbed(t *testing.T) {
	for _, async := range []bool{true, false} {
		p := newGatedProducer(t, []string{closedPort(t)}, func(o *Options) {
			if o.Async = async; async {
				o.HealthGating.Failures = 0
			}
			o.MaxAttempts = 5
		})
		var sent sync.WaitGroup
		for range 5 {
			sent.Go(func() {
				if err := p.Send(t.Context(), record("x")); errors.Is(err, ErrUnhealthy) {
					t.Error(err)
				}
			})
		}
		sent.Wait()
		eventually(t, "brokers are looked for", func() bool {
			topic := topicOf(p)
			p.mu.Lock()
			defer p.mu.Unlock()
			return topic.ledger.MetadataRequests >= 5
		})
		p.mu.Lock()
		if p.health != (health{}) || p.probing || p.bufferStats(p.topics["t"]).Gated {
			t.Errorf("async %v: %+v", async, p.health)
		}
		p.mu.Unlock()
	}
}

func TestProbesEndWithTheLastInstanceAndStartWithARecord(t *testing.T) {
	p := newGatedProducer(t, []string{closedPort(t)}, nil)
	send(t, p, "x")
	eventually(t, "it is unhealthy", func() bool { return p.isUnhealthy("t") })
	p.release([]string{"t"}, time.Hour)
	probing := func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.probing }
	eventually(t, "the probes have ended", func() bool { return !probing() })
	p.acquire([]string{"t"})
	wantRejected(t, p)
	if !probing() {
		t.Error("there are no probes")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.close(ctx, errAbandoned) // and goleak sees the end of the probes
}

func TestHealthCountsConsecutiveFailuresAndRecoveries(t *testing.T) {
	g := &HealthGating{Failures: 3, Recoveries: 2}
	var h health
	for i, step := range []struct{ ok, unhealthy bool }{
		{false, false}, {false, false}, {true, false}, {false, false}, {false, false}, {false, true},
		{false, true}, {true, true}, {false, true}, {true, true}, {true, false},
		{false, false}, {false, false}, {false, true}, {true, true}, {true, false},
	} {
		before := h.unhealthy
		turned := false
		if step.ok {
			turned = h.succeeded(g)
		} else {
			turned = h.failed(g)
		}
		if h.unhealthy != step.unhealthy || turned != (before != h.unhealthy) {
			t.Errorf("step %d: %+v, turned %v", i, h, turned)
		}
	}
}

func TestUnhealthyProducerDrainsItsBuffer(t *testing.T) {
	address, opts := onOnePort(t)
	pool := NewPool(PoolOptions{Security: plain, Log: discard})
	h := acquire(t, pool, testOptions([]string{address}, gating))
	send(t, h.producer, "one", "two")
	eventually(t, "it is unhealthy", func() bool { return h.producer.isUnhealthy("t") })
	h.Release()
	undelivered := make(chan int64)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		undelivered <- pool.Close(ctx)
	}()
	eventually(t, "it is closed", func() bool { return errors.Is(h.Send(t.Context(), record("late")), ErrClosed) })
	f := kafkatest.StartFake(t, opts...)
	if n := <-undelivered; n != 0 {
		t.Errorf("%d records are undelivered", n)
	}
	f.Records(t, "t", 2)
}
