package kafkatest

import (
	"crypto/tls"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fake is a kfake cluster that keeps account of the requests it is sent, as
// they are on the wire and before kfake handles them (so also of those that a
// fault or a control function answers). This package's own requests, for
// Records, do not count. All methods may be called concurrently.
type Fake struct {
	*kfake.Cluster

	addrs []string
	tls   *tls.Config

	mu       sync.Mutex
	requests map[kmsg.Key]int
	produces []Produce
	conns    map[*fakeConn]struct{} // the open ones, this package's own too
	accepted int                    // connections that have carried a request that counts
	holds    map[kmsg.Key]func(gone <-chan struct{})
	cuts     int  // how many answers to Produce are still to be cut
	unread   bool // a connection carried something that is no Kafka request
	closed   bool
}

// Produce is one Produce request as it was on the wire.
type Produce struct {
	At            time.Time // when its last byte had arrived
	Broker        string    // address of the broker that it was sent to
	Conn          int       // which connection to any broker, counted from 1
	CorrelationID int32
	ClientID      string
	Version       int16
	Acks          int16
	Timeout       time.Duration // that the broker may wait for the acknowledgements
	Bytes         int           // of the whole request with its length
	Batches       []Batch
}

// Batch is one record batch of a Produce request.
type Batch struct {
	Topic      string // empty where the request has topic ids (version 13 up) and the topic is gone
	Partition  int32
	Records    int
	Bytes      int  // of the batch with its header, compressed if it is
	Codec      int8 // 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd
	ProducerID int64
	Epoch      int16
	Sequence   int32 // of its first record

	topicID [16]byte
}

// StartFake starts a kfake cluster on free ports of 127.0.0.1, and closes it at
// the end of t. Topics come by kfake.SeedTopics. For TLS use [StartFakeTLS]: of
// a cluster with kfake.TLS the requests cannot be read, and t fails.
func StartFake(t testing.TB, opts ...kfake.Opt) *Fake {
	t.Helper()
	return StartFakeTLS(t, nil, opts...)
}

// StartFakeTLS is StartFake for a cluster that speaks TLS, with the servers'
// side of it as config.
func StartFakeTLS(t testing.TB, config *tls.Config, opts ...kfake.Opt) *Fake {
	t.Helper()
	f := &Fake{tls: config, requests: make(map[kmsg.Key]int), conns: make(map[*fakeConn]struct{}), holds: make(map[kmsg.Key]func(<-chan struct{}))}
	var err error
	f.Cluster, err = kfake.NewCluster(append(slices.Clone(opts), kfake.ListenFn(f.listen))...)
	if err != nil {
		t.Fatalf("starting kfake: %v", err)
	}
	f.addrs = f.Cluster.ListenAddrs()
	t.Cleanup(func() {
		f.Close()
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.unread {
			t.Error("a client sent kfake something that is no Kafka request (for TLS, use kafkatest.StartFakeTLS and not kfake.TLS)")
		}
	})
	return f
}

// Addrs are the addresses (host:port) of the brokers that were started first;
// they stay the same when the cluster is closed.
func (f *Fake) Addrs() []string { return f.addrs }

// Records waits until the topic holds n records, and returns all that it holds
// then, as [Cluster.Records] does. opts are needed where the cluster asks for
// SASL or for a client's certificate.
func (f *Fake) Records(t testing.TB, topic string, n int, opts ...kgo.Opt) []*kgo.Record {
	t.Helper()
	return f.RecordsOf(t, []string{topic}, n, opts...)
}

// RecordsOf is [Cluster.RecordsOf]; see Records.
func (f *Fake) RecordsOf(t testing.TB, topics []string, n int, opts ...kgo.Opt) []*kgo.Record {
	t.Helper()
	if f.tls != nil {
		opts = append([]kgo.Opt{kgo.DialTLSConfig(&tls.Config{InsecureSkipVerify: true})}, opts...)
	}
	return records(t, f.addrs, topics, n, opts...)
}

// Requests is how many requests with that key (kmsg.Produce, kmsg.Metadata, …)
// have arrived.
func (f *Fake) Requests(key kmsg.Key) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[key]
}

// Produces are the Produce requests in the order of their arrival.
func (f *Fake) Produces() []Produce {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nameTopics()
	produces := slices.Clone(f.produces)
	for i, p := range produces {
		produces[i].Batches = slices.Clone(p.Batches)
	}
	return produces
}

// nameTopics fills in the topics of the batches that only have ids, with f.mu
// held. A closed cluster can no longer be asked.
func (f *Fake) nameTopics() {
	if f.closed {
		return
	}
	for _, p := range f.produces {
		for i, b := range p.Batches {
			if b.Topic != "" {
				continue
			}
			if info := f.TopicIDInfo(b.topicID); info != nil {
				p.Batches[i].Topic = info.Topic
			}
		}
	}
}

// Close closes the cluster before the end of the test. What it noted stays.
func (f *Fake) Close() {
	f.mu.Lock()
	f.nameTopics()
	f.closed = true
	f.mu.Unlock()
	f.Cluster.Close()
}

// Connections is how many connections have carried a request so far.
func (f *Fake) Connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accepted
}

// DropConnections closes every open connection, as a broker does that goes
// away; new ones are accepted.
func (f *Fake) DropConnections() {
	f.mu.Lock()
	conns := slices.Collect(maps.Keys(f.conns))
	f.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

// Hold has every request with that key wait, once it has arrived, until wait
// returns, as a broker does that hangs: kfake sees it then, though its client may
// have gone. wait is to return at once when gone is closed, by which the connection
// has ended; it is called for many requests at a time. A nil one ends the holding.
//
// kfake's own SleepControl leaves goroutines behind where the cluster is closed
// while two requests sleep.
func (f *Fake) Hold(key kmsg.Key, wait func(gone <-chan struct{})) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holds[key] = wait
}

// CutAnswers has the next n connections that carry an answer to a Produce request end in the middle of
// it, after kfake has acted on the request.
func (f *Fake) CutAnswers(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts = n
}

func (f *Fake) listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	if f.tls != nil {
		l = tls.NewListener(l, f.tls)
	}
	return &fakeListener{l, f}, nil
}

type fakeListener struct {
	net.Listener
	f *Fake
}

func (l *fakeListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	fc := &fakeConn{Conn: c, f: l.f, gone: make(chan struct{})}
	l.f.mu.Lock()
	l.f.conns[fc] = struct{}{}
	l.f.mu.Unlock()
	return fc, nil
}
