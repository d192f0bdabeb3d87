// Package cluster stands between kafka-go's Writer and its Transport. Used alone, the two
// lose records or time in ways that it avoids (measured for v0.4.51):
//
//   - The Writer asks for metadata with each record. The Cluster answers with the last known
//     metadata, without a lock or a wait, and refreshes it in the background.
//   - When a broker is no longer the leader, or a connection breaks, the Transport's
//     metadata and idle connections are worthless, but it uses them until the attempts are
//     used up. The Cluster replaces both at the first failure, as a new generation.
//   - The Writer does not retry all temporary errors, such as a connection that ends in the
//     handshake, a partition without a leader, codes 8 and 9, and it sleeps through a
//     shutdown. The Cluster makes all attempts of a produce request, so the Writer makes one.
//   - The Writer uses up attempts while no broker can be reached. With WaitForBroker, the
//     Cluster makes none then.
//   - The Writer sends brokers half of its own timeout. The Cluster sends the configured one.
//   - The Transport logs in although no record needs it; see generation.
package cluster

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	metadataAPI "github.com/segmentio/kafka-go/protocol/metadata"
	produceAPI "github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/sasl"
)

// clientID is the client.id of all requests.
const clientID = "kafka-upstream"

const (
	// MetadataTTL is how long a topic's metadata is used before it is refreshed.
	MetadataTTL = 10 * time.Second
	// MaxUnavailable is how long a record waits for its topic, or for a leader of its
	// partition, while brokers answer. An election takes a few seconds. A partition without
	// a living replica, or a topic that is never created, must not fill the buffer forever.
	MaxUnavailable = 60 * time.Second
	// minPause is the default of Options.MinPause.
	minPause = 20 * time.Millisecond
	// propagation is how long a change of a topic's partitions may take to reach all brokers.
	propagation = 2 * time.Second
)

// Options configure a [Cluster].
type Options struct {
	Servers []string       // the bootstrap servers, host:port
	Topics  []string       // topics that will be used; [Cluster.Await] adds others
	TLS     *tls.Config    // nil: plain TCP
	SASL    sasl.Mechanism // nil: no login

	Acks int // of a produce request
	// Idempotent has brokers write each batch once, however often it is sent (KIP-98). It needs
	// Acks -1, and is ignored with others.
	Idempotent     bool
	Journal        Journal       // nil: none
	Compression    string        // of batches: "none", which "" is, too; "gzip", "snappy", "lz4" or "zstd"
	RequestTimeout time.Duration // of a produce request: how long the broker waits for its replicas
	Timeout        time.Duration // of a connect, of a write, and of the wait for an answer
	Keepalive      time.Duration // of an idle connection
	MaxAttempts    int           // for each batch
	Backoff        time.Duration // between two attempts, metadata requests or logins
	// WaitForBroker has records wait while no broker can be reached, which uses up no attempt.
	WaitForBroker  bool
	MaxUnavailable time.Duration // 0: [MaxUnavailable]
	// MinPause is the shortest pause before another metadata request or another login, and
	// between two generations of connections; 0: 20 ms.
	MinPause time.Duration

	// Dial connects to a broker; nil: with a [net.Dialer].
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	Observer Observer
}

// Observer receives reports from a [Cluster]. Its methods may be called from many goroutines
// at once, and must not call the Cluster, except for [Cluster.Leader] and [Cluster.Partitions].
type Observer interface {
	// AttemptDone reports an attempt to produce a batch.
	AttemptDone(topic string, a Attempt)
	// MetadataRequested reports a metadata request; err is nil, or why it failed. shared: no
	// request was sent, because another one had the answer, or its login was held back.
	MetadataRequested(topic string, err error, shared bool)
	// ConnectionOpened reports a new connection to a broker. The function that it returns is
	// called when the connection is closed.
	ConnectionOpened() (closed func())
	// ConnectionFailed reports a connection that could not be opened.
	ConnectionFailed(err error)
	// Unavailable reports why records for the partition cannot be delivered now. They wait,
	// or are retried.
	Unavailable(topic string, partition int32, err error)
	// Recovered reports that a broker accepted a batch.
	Recovered(topic string)
	// CompressionFailed reports why batches are sent uncompressed for UncompressedFor, all the
	// same: the codec failed, or a broker does not take it. It is called again for the topic
	// only after a compressed batch was accepted.
	CompressionFailed(topic string, err error)
	// Inexact reports a batch whose records may be in the partition twice, or be there though they
	// count as failed, in spite of Options.Idempotent.
	Inexact(topic string, partition int32, why Inexactness, err error)
	// NeedsMetadata reports whether metadata must be kept fresh in the background.
	NeedsMetadata() bool
}

// Attempt is the result of an attempt to produce a batch.
type Attempt struct {
	Retry bool          // not the first of its batch
	Last  bool          // of its batch
	Took  time.Duration // including the time in which no broker could be reached
	Total time.Duration // since the first attempt began
	Err   error         // why it failed: an error, or the code in the broker's answer
	// Duplicate: the broker answered that it has the batch already, by DUPLICATE_SEQUENCE_NUMBER.
	// Brokers since Kafka 1.0 mostly answer as if it was new.
	Duplicate bool
	// With Options.Compression: the bytes of the batch's keys, values and headers, and those of
	// the batch as it was sent, compressed; 0 if it was not sent, or not compressed.
	Bytes, Compressed int
	Uncompressed      bool // although a codec is configured: it failed, or a broker does not take it
}

// Cluster is a [kafka.RoundTripper] for the brokers of a cluster. It opens connections when
// they are needed. Its state is by topic. Its methods may be called from many goroutines at
// once.
type Cluster struct {
	o       Options
	addr    *servers
	attempt time.Duration // the longest that one request may take
	pause   time.Duration // between two metadata requests
	codec   protocol.Attributes
	auth    *authBackoff
	dialer  *dialer

	ctx       context.Context // ends with Close, by its cause
	cancel    context.CancelCauseFunc
	refreshes sync.WaitGroup
	closing   sync.WaitGroup // of replaced generations; Add with mu held and before ctx ends

	withoutIDs atomic.Pointer[withoutIDs] // nil: producer ids are to be had
	idPatience time.Duration              // [idPatience], but for tests

	topics atomic.Pointer[map[string]*topic] // by name; replaced with mu held, never changed

	mu         sync.Mutex
	generation *generation
	rotated    time.Time // because a generation was stale
	collected  time.Time // the last rotation for new topics
	stale      bool      // generation is to be replaced once rotated is MinPause ago
	authFailed uint64    // the number of the last generation whose login was rejected
}

var _ kafka.RoundTripper = (*Cluster)(nil)

// New returns a Cluster. It has no connection and no goroutine yet.
func New(o Options) *Cluster {
	if o.MaxUnavailable == 0 {
		o.MaxUnavailable = MaxUnavailable
	}
	if o.MinPause == 0 {
		o.MinPause = minPause
	}
	o.MaxAttempts = max(o.MaxAttempts, 1)
	o.Idempotent = o.Idempotent && o.Acks == -1
	c := &Cluster{
		o:       o,
		addr:    newServers(o.Servers),
		attempt: 2*o.Timeout + time.Second, // connect, then send and be answered
		pause:   max(o.Backoff, o.MinPause),
		codec:   codecs[o.Compression],

		idPatience: idPatience,
	}
	c.auth = &authBackoff{pause: c.pause}
	c.dialer = newDialer(&c.o, c.auth)
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	topics := make(map[string]*topic)
	for _, name := range o.Topics {
		topics[name] = &topic{name: name}
	}
	c.topics.Store(&topics)
	c.generation = c.newGeneration(1) // authFailed is 0 at first: no generation
	return c
}

// Addr returns the bootstrap servers, for [kafka.Writer].
func (c *Cluster) Addr() net.Addr { return c.addr }

// Context returns a context that ends with [Cluster.Close], by its cause.
func (c *Cluster) Context() context.Context { return c.ctx }

// RoundTrip implements [kafka.RoundTripper]. A produce request, which must have one
// partition, makes all its attempts. A metadata request, which must have one topic, is
// answered with what is known.
func (c *Cluster) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	switch r := req.(type) {
	case *metadataAPI.Request:
		if m := c.metadataOf(r.TopicNames[0]); m != nil {
			return m.response, nil
		}
		return nil, errNoMetadata
	case *produceAPI.Request:
		b, err := batchIn(r)
		if err != nil {
			return nil, err
		}
		return c.produce(ctx, b)
	default:
		return c.current(nil).RoundTrip(ctx, addr, req)
	}
}

// Pause waits until another metadata request may be sent, and for no less than that time. It
// reports false if ctx or the Cluster ended first.
func (c *Cluster) Pause(ctx context.Context, least time.Duration) bool {
	return c.sleep(ctx, max(c.pause, least))
}

func (c *Cluster) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return false
}

// limited returns a context for one request, which also ends with the Cluster.
func (c *Cluster) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, c.attempt)
	stop := context.AfterFunc(c.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// CloseIdleConnections closes idle connections, and ends the goroutine in which kafka-go
// refreshes the metadata. The next request opens new connections.
func (c *Cluster) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rotate()
}

// Close ends every attempt with cause, and the goroutines of the Cluster.
func (c *Cluster) Close(cause error) {
	c.cancel(cause)
	c.current(nil).close(c.ctx)
	c.refreshes.Wait()
	c.closing.Wait()
}

// servers are the bootstrap servers as kafka-go takes them: lists joined by commas. They are
// joined once, because kafka-go asks for them with every record.
type servers struct{ network, address string }

var _ net.Addr = (*servers)(nil)

func (s *servers) Network() string { return s.network }
func (s *servers) String() string  { return s.address }

func newServers(addresses []string) *servers {
	networks := make([]string, len(addresses))
	for i := range networks {
		networks[i] = "tcp"
	}
	return &servers{strings.Join(networks, ","), strings.Join(addresses, ",")}
}
