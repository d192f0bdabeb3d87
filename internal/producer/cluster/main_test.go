package cluster

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"kafka-upstream/internal/test/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watch is an Observer that counts.
type watch struct {
	needsMetadata                            atomic.Bool
	attempts, batches, unavailable, requests atomic.Int32
	uncompressed, compressionFailed          atomic.Int32
	bytes, compressed                        atomic.Int64
	inexact                                  [Inexactnesses]atomic.Int32
	duplicates                               atomic.Int32
}

var _ Observer = (*watch)(nil)

func (w *watch) AttemptDone(_ string, a Attempt) {
	w.attempts.Add(1)
	if a.Last {
		w.batches.Add(1)
		if a.Duplicate {
			w.duplicates.Add(1)
		}
		w.bytes.Add(int64(a.Bytes))
		w.compressed.Add(int64(a.Compressed))
		if a.Compressed == 0 {
			w.uncompressed.Add(1)
		}
	}
}
func (w *watch) MetadataRequested(string, error, bool)               { w.requests.Add(1) }
func (w *watch) ConnectionOpened() (closed func())                   { return func() {} }
func (w *watch) ConnectionFailed(error)                              {}
func (w *watch) Unavailable(_ string, _ int32, _ error)              { w.unavailable.Add(1) }
func (w *watch) CompressionFailed(string, error)                     { w.compressionFailed.Add(1) }
func (w *watch) Inexact(_ string, _ int32, why Inexactness, _ error) { w.inexact[why].Add(1) }
func (w *watch) Recovered(string)                                    {}
func (w *watch) NeedsMetadata() bool                                 { return w.needsMetadata.Load() }
func (c *Cluster) watch() *watch                                     { return c.o.Observer.(*watch) }

var errOver = errors.New("the test is over")

// newTestCluster returns a Cluster with topic t.
func newTestCluster(t testing.TB, servers []string, set func(*Options)) *Cluster {
	t.Helper()
	w := new(watch)
	w.needsMetadata.Store(true)
	o := Options{Servers: servers, Topics: []string{"t"}, Acks: 1, RequestTimeout: 2 * time.Second, Timeout: 10 * time.Second,
		Keepalive: 10 * time.Second, MaxAttempts: 10, Backoff: 100 * time.Millisecond, WaitForBroker: true, Observer: w}
	if set != nil {
		set(&o)
	}
	c := New(o)
	t.Cleanup(func() { c.Close(errOver) })
	return c
}

// messages are for partition 0 of topic t.
func messages(values ...string) (all []kafka.Message) {
	for _, v := range values {
		all = append(all, kafka.Message{Topic: "t", Value: []byte(v), Time: time.Now()})
	}
	return all
}

func produce(t testing.TB, c *Cluster, values ...string) {
	t.Helper()
	if c.Partitions("t") == nil {
		if err := c.Await(t.Context(), "t"); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Produce(t.Context(), messages(values...)); err != nil {
		t.Fatal(err)
	}
}

// eventually polls until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for late := time.After(20 * time.Second); !cond(); {
		select {
		case <-poll.C:
		case <-late:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// closedPort returns an address where nobody listens.
func closedPort(t testing.TB) string {
	t.Helper()
	return kafkatest.ClosedPort(t)
}

func expired(t testing.TB, cause error) context.Context {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	return ctx
}
