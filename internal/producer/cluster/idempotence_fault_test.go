package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
)

// hasProducerID reports whether the batch of a produce request has an identity.
func hasProducerID(r kmsg.Request) bool {
	batch := r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records
	return int64(binary.BigEndian.Uint64(batch[atProducer:])) >= 0
}

// Brokers before 4.0 refuse an identity where log.message.format.version is older than 0.11.
func TestTopicOfAnOlderFormatGetsItsRecordsWithoutIdentity(t *testing.T) {
	for _, codec := range []string{"none", "gzip"} {
		t.Run(codec, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t", "u"))
			f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.UnsupportedForMessageFormat, Count: -1, When: hasProducerID})
			c := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.Compression, o.Topics = codec, []string{"t", "u"} })
			produce(t, c, "a")
			produce(t, c, "b")
			wantTopic(t, f, "ab")
			wantInexact(t, c, 2, 0, 0)
			other := messages("c")
			other[0].Topic = "u"
			if err := c.Produce(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			if all := sentAs(f); all[len(all)-1] == none {
				t.Error("so do others")
			}
		})
	}
}

// What may be in the log as one batch is not sent as another one, as the second part of a batch that
// was split.
func TestNothingIsSentAfterTheEnd(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	for range 100 {
		c := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.Backoff = time.Hour; o.MinPause = time.Hour })
		produce(t, c, "a")
		before := len(f.Produces())
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 1})
		ended := make(chan error, 2)
		go func() {
			for _, part := range []string{"b", "c"} {
				ended <- c.Produce(c.Context(), messages(part))
			}
		}()
		eventually(t, "the batch waits for its next attempt", func() bool { return c.watch().attempts.Load() == 2 })
		c.Close(errOver)
		for range 2 {
			if err := <-ended; !errors.Is(err, errOver) {
				t.Error(err)
			}
		}
		if n := len(f.Produces()) - before; n != 1 {
			t.Fatalf("%d requests, sent as %s", n, shape(sentAs(f)[before:]))
		}
	}
}

// An outage is no time in which brokers had no producer id.
func TestPatienceForAProducerIDBeginsAgainAfterAnOutage(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	var away atomic.Bool
	c := newTestCluster(t, f.Addrs(), func(o *Options) {
		idempotent(o)
		dial := new(net.Dialer).DialContext
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if away.Load() {
				return nil, syscall.ECONNREFUSED
			}
			return dial(ctx, network, address)
		}
	})
	c.idPatience = 300 * time.Millisecond
	if err := c.Await(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	var cut atomic.Int32
	control(f, kmsg.InitProducerID, func(r kmsg.Request) (kmsg.Response, error) {
		if cut.Add(1) == 1 { // the broker goes away
			away.Store(true)
			f.DropConnections()
			return nil, errors.New("cut")
		}
		answer := r.ResponseKind().(*kmsg.InitProducerIDResponse)
		if answer.ProducerID = 17; cut.Load() == 2 {
			answer.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		}
		return answer, nil
	})
	ended := make(chan error)
	go func() { ended <- c.Produce(c.Context(), messages("a")) }()
	eventually(t, "the broker is away", away.Load)
	time.AfterFunc(c.idPatience+100*time.Millisecond, func() { away.Store(false) })
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	wantSentAs(t, f, "a0.0")
	wantInexact(t, c, 0, 0, 0)
}

func TestEndInARequestForAProducerIDIsNoFault(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	f.Hold(kmsg.InitProducerID, func(gone <-chan struct{}) { <-gone })
	c := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.Timeout = time.Second })
	c.idPatience = 0
	if err := c.Await(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- c.Produce(c.Context(), messages("a")) }()
	eventually(t, "a producer id is asked for", func() bool { return f.Requests(kmsg.InitProducerID) == 1 })
	began := time.Now()
	c.Close(errOver)
	if err := <-ended; !errors.Is(err, errOver) {
		t.Error(err)
	}
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	wantSentAs(t, f, "")
	wantInexact(t, c, 0, 0, 0)
	if n := c.watch().unavailable.Load(); n > 0 {
		t.Errorf("%d faults were reported", n)
	}
}

// The limit may have changed since the attempt before, as with a new leader.
func TestBatchThatMayBeThereAndIsTooLargeNowIsInexact(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), idempotent)
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 1})
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, Count: 1})
	if err := c.Await(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if err := c.Produce(t.Context(), messages("a", "b")); !errors.Is(err, kafka.MessageSizeTooLarge) {
		t.Fatal(err)
	}
	produce(t, c, "a") // as the producer does
	produce(t, c, "b")
	wantTopic(t, f, "abab")
	wantInexact(t, c, 0, 0, 1)
}

// Another batch has the identity that a batch was first sent with, as where brokers give an id twice.
func TestDuplicateOfAnotherBatchIsSentAgain(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), idempotent)
	produce(t, c, "a")
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.DuplicateSequenceNumber, Count: 1})
	produce(t, c, "b")
	produce(t, c, "c")
	wantTopic(t, f, "abc")
	wantSentAs(t, f, "a0.0 a0.1 b0.0 b0.1")
	if n := c.watch().duplicates.Load(); n != 0 {
		t.Errorf("%d duplicates", n)
	}
	wantInexact(t, c, 0, 0, 0)
}

// Whatever brokers answer, and however late requests reach them: a batch that counts as delivered is
// in the log, and one that is there twice, or although it counts as failed, was reported as inexact.
// Others are in the order in which they were sent.
func TestOutcomeOfEachBatchIsTrueUnderFaultsByChance(t *testing.T) {
	for range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 0))
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
			c := newTestCluster(t, f.Addrs(), func(o *Options) {
				idempotent(o)
				o.MaxAttempts, o.Timeout = 1+rnd.IntN(3), 50*time.Millisecond
				o.Compression = []string{"none", "lz4"}[rnd.IntN(2)]
			})
			codes := []*kerr.Error{
				kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend, // they were written
				kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.KafkaStorageError, kerr.NetworkException, kerr.CorruptMessage,
				kerr.MessageTooLarge, kerr.InvalidTimestamp, kerr.TopicAuthorizationFailed, kerr.UnknownServerError,
				kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch,
				kerr.UnsupportedCompressionType,
			}
			var held, late atomic.Int32
			f.Hold(kmsg.Produce, func(gone <-chan struct{}) {
				if held.Add(-1) >= 0 {
					late.Add(1)
					defer late.Add(-1)
					select {
					case <-gone:
					case <-time.After(70 * time.Millisecond):
					}
				}
			})
			if err := c.Await(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
			const batches = 200
			var delivered, inexact [batches]bool
			counts := func() (n int32) {
				for i := range c.watch().inexact {
					n += c.watch().inexact[i].Load()
				}
				return n
			}
			for i := range batches {
				held.Store(0)
				c.withoutIDs.Store(nil)
				c.use("t").withoutIDs.Store(nil)
				var faults []*kfake.FaultHandle
				fault := func() {
					code := codes[rnd.IntN(len(codes))]
					faults = append(faults, f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: code, Count: 1 + rnd.IntN(4)}))
				}
				switch rnd.IntN(16) {
				case 0, 1, 2:
					fault()
					fault()
				case 3, 4:
					fault()
				case 5:
					f.CutAnswers(1 + rnd.IntN(3))
				case 6:
					held.Store(1 + rnd.Int32N(2))
				}
				before := counts()
				err := c.Produce(t.Context(), messages(fmt.Sprint(i)))
				delivered[i], inexact[i] = err == nil, counts() > before
				for _, h := range faults {
					h.Remove()
				}
			}
			held.Store(0)
			f.CutAnswers(0)
			eventually(t, "the last requests arrive", func() bool { return late.Load() == 0 })
			n := 0
			for i := range batches {
				if delivered[i] {
					n++
				}
			}
			times, last := make(map[int]int), -1
			for _, r := range f.Records(t, "t", 1) {
				i, _ := strconv.Atoi(string(r.Value))
				times[i]++
				if i < last && times[i] == 1 && delivered[i] && !inexact[i] {
					t.Errorf("batch %d is after %d", i, last)
				}
				last = max(last, i)
			}
			for i := range batches {
				switch n := times[i]; {
				case delivered[i] && n == 0:
					t.Errorf("batch %d is lost", i)
				case (n > 1 || !delivered[i] && n > 0) && !inexact[i]:
					t.Errorf("batch %d is there %d times", i, n)
				}
			}
			t.Logf("%d of %d were delivered, inexact were %d", n, batches, counts())
		})
	}
}

func TestEachVersionOfProduceHasIdentities(t *testing.T) {
	for version := int16(batchVersion); version <= 8; version++ {
		f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
		end := control(f, kmsg.ApiVersions, func(r kmsg.Request) (kmsg.Response, error) {
			answer := r.ResponseKind().(*kmsg.ApiVersionsResponse)
			for key, last := range map[kmsg.Key]int16{kmsg.Produce: version, kmsg.Metadata: 8, kmsg.ApiVersions: 0, kmsg.InitProducerID: version - batchVersion} {
				answer.ApiKeys = append(answer.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: int16(key), MaxVersion: last})
			}
			return answer, nil
		})
		c := newTestCluster(t, f.Addrs(), idempotent)
		produce(t, c, "a")
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 2})
		f.CutAnswers(1)
		m := messages("b", "c")
		if err := c.Produce(t.Context(), m); err != nil || m[1].Offset != 2 {
			t.Errorf("version %d: %v, offset %d", version, err, m[1].Offset)
		}
		end()
		wantTopic(t, f, "abc")
		for _, p := range f.Produces() {
			if p.Version != version {
				t.Errorf("version %d was sent, not %d", p.Version, version)
			}
		}
		wantInexact(t, c, 0, 0, 0)
	}
}
