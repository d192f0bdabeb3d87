package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// generation is one kafka.Transport: a pool of connections to the brokers, and the metadata
// that it has fetched. Both are replaced together when either is stale.
//
// A kafka.Transport refreshes its metadata at random intervals for as long as it lives: even
// with the password of a configuration that was removed, and right after a login failed. It
// drops the errors of that. So dial refuses a connection for a refresh unless fresh metadata
// is needed.
type generation struct {
	*kafka.Transport
	addr     net.Addr
	number   uint64 // within one Cluster
	dialer   *dialer
	observer Observer
	rejected func(error) error // see Options.rejected

	requests      atomic.Int32 // our own metadata requests in flight
	asked         atomic.Bool  // a metadata request was reported
	used          atomic.Bool  // the first metadata request has ended
	known         atomic.Bool  // metadata was fetched
	refreshFailed atomic.Bool  // a refresh's connection was closed before metadata was known
	replaced      atomic.Bool  // by a newer generation
	closed        atomic.Bool  // idle connections are closed, or about to be
	hangingUp     atomic.Bool  // hangUp is under way
}

// newGeneration returns a generation for the topics in use. The caller holds c.mu, or is New.
func (c *Cluster) newGeneration(number uint64) *generation {
	g := &generation{addr: c.addr, number: number, dialer: c.dialer, observer: c.o.Observer, rejected: c.o.rejected}
	g.Transport = &kafka.Transport{
		Dial:           g.dial,
		DialTimeout:    c.o.Timeout,
		IdleTimeout:    c.o.Keepalive,
		MetadataTTL:    MetadataTTL,
		MetadataTopics: slices.Sorted(maps.Keys(*c.topics.Load())),
		ClientID:       clientID,
		SASL:           c.auth.mechanism(c.o.SASL),
		Context:        c.ctx,
	}
	return g
}

// current returns the current generation, which is a new one if the last is stale, or does
// not fetch the metadata of the topic. t may be nil.
func (c *Cluster) current(t *topic) *generation {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case t != nil && c.generation.number < t.generation:
		c.rotate()
		c.collected = time.Now()
	case c.stale:
		c.rotateOrMark()
	}
	return c.generation
}

// collectTopics waits, if the topic takes a new generation, until the last one for a new topic
// is MinPause old. So topics that are new at about the same time share a generation, and the
// start of a gateway with a thousand topics does not open a thousand connections. It returns
// why there is no time left for that.
func (c *Cluster) collectTopics(ctx context.Context, t *topic) error {
	c.mu.Lock()
	var wait time.Duration
	if c.generation.number < t.generation {
		wait = c.o.MinPause - time.Since(c.collected)
	}
	c.mu.Unlock()
	if wait <= 0 || c.sleep(ctx, wait) {
		return nil
	}
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return context.Cause(ctx)
}

// invalidate replaces the generation, unless that was done already. Requests in flight keep
// their connections.
func (c *Cluster) invalidate(g *generation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation == g {
		c.rotateOrMark()
	}
}

// refusedPause is the shortest time between two generations where a topic is refused.
const refusedPause = time.Second

// invalidateRarely replaces the generation, unless there was another one refusedPause ago. A
// generation keeps its answer, so another one is needed to ask again, but all topics lose
// their connections to it. Until then the answer is the last one.
func (c *Cluster) invalidateRarely(g *generation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation == g && time.Since(c.rotated) >= refusedPause {
		c.rotateOrMark()
	}
}

// rotateOrMark rotates, or marks the current generation as stale if the last rotation was
// less than MinPause ago. The caller holds c.mu.
func (c *Cluster) rotateOrMark() {
	if c.stale = time.Since(c.rotated) < c.o.MinPause; !c.stale {
		c.rotate()
		c.rotated = time.Now()
	}
}

// rotate starts a new generation, and closes the connections of the current one as they
// become idle. The caller holds c.mu.
func (c *Cluster) rotate() {
	old := c.generation
	c.generation = c.newGeneration(old.number + 1)
	c.stale = false
	old.replaced.Store(true)
	if c.ctx.Err() != nil { // Close may be waiting already
		old.close(c.ctx)
	} else {
		c.closing.Go(func() { old.close(c.ctx) })
	}
}

// RoundTrip implements kafka.RoundTripper.
func (g *generation) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	if req.ApiKey() == protocol.Metadata {
		g.requests.Add(1)
		defer g.requests.Add(-1)
	}
	res, err := g.Transport.RoundTrip(context.WithValue(ctx, requestedKey{}, true), addr, req)
	if _, ok := req.(*topicRequest); err == nil && !ok { // which shows nothing of the generation's own metadata
		g.known.Store(true)
	}
	if err == nil || ctx.Err() == nil {
		g.used.Store(true)
	}
	if g.closed.Load() {
		g.CloseIdleConnections() // this request may have begun before the others were closed
	}
	return res, g.rejected(err)
}

// closeDelay is how long to wait before the connections of a replaced generation are closed:
// kafka-go marks a connection idle only some time after its answer, and hangUp would miss it.
const closeDelay = 50 * time.Millisecond

// close closes idle connections, after closeDelay or once ctx is done. Requests in flight
// keep theirs.
func (g *generation) close(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(closeDelay):
	}
	if !g.closed.Swap(true) && g.used.Load() {
		g.hangUp()
	}
	g.CloseIdleConnections()
}

// hangUp closes the idle connections one by one. CloseIdleConnections alone leaves the
// timer of each running until its idle timeout is over, and the timer keeps the metadata
// of the cluster alive: some 300 bytes for each partition, and again for each generation
// that is opened while a broker is down.
func (g *generation) hangUp() {
	g.hangingUp.Store(true)
	defer g.hangingUp.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // normally immediate, but it must not block forever
	defer cancel()
	for last, i := 0, 0; i <= last; i++ {
		for {
			bye := &goodbye{broker: i}
			_, err := g.Transport.RoundTrip(ctx, g.addr, bye)
			last = bye.brokers
			if !errors.Is(err, errGoodbye) { // no idle connection remains
				break
			}
		}
	}
}

var errGoodbye = errors.New("the connection is not used any more")

// goodbye is a request that is never sent, and makes kafka-go close the idle connection that
// it would be sent on: to the broker with that index by id or, for the index after the last
// one, to a bootstrap server.
type goodbye struct{ broker, brokers int }

var (
	_ protocol.BrokerMessage = (*goodbye)(nil)
	_ protocol.RawExchanger  = (*goodbye)(nil)
)

func (*goodbye) ApiKey() protocol.ApiKey                             { return protocol.ApiVersions }
func (*goodbye) Required(map[protocol.ApiKey]int16) bool             { return true }
func (*goodbye) RawExchange(io.ReadWriter) (protocol.Message, error) { return nil, errGoodbye }

// Broker implements protocol.BrokerMessage.
func (g *goodbye) Broker(c protocol.Cluster) (protocol.Broker, error) {
	ids := c.BrokerIDs()
	if g.brokers = len(ids); g.broker >= len(ids) {
		return protocol.Broker{ID: -1}, nil
	}
	return c.Brokers[ids[g.broker]], nil
}

type requestedKey struct{} // in the context of our own requests

// errNotNeeded is why a refresh gets no connection. kafka-go drops it, and keeps the metadata
// that it knows.
var errNotNeeded = errors.New("no connection is needed")

// dial opens the connections of the kafka.Transport.
func (g *generation) dial(ctx context.Context, network, address string) (net.Conn, error) {
	requested := ctx.Value(requestedKey{}) != nil
	switch {
	case requested:
	case g.hangingUp.Load():
		return nil, errNotNeeded
	case g.replaced.Load(): // a request that began before the replacement needs this generation's metadata
	case g.known.Load():
		if !g.observer.NeedsMetadata() {
			return nil, errNotNeeded
		}
	case g.refreshFailed.Load():
		// The requests that waited for the first metadata now get its error, and replace the
		// generation. Another refresh would be a login that no request needs.
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	nc, err := g.dialer.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &connection{nc, g, requested}, nil
}

// connection is a connection to a broker.
type connection struct {
	net.Conn
	generation *generation
	requested  bool // opened for one of our own requests, not for a refresh
}

// Write writes a request, or a part of one. It fails a metadata refresh that is not needed,
// which closes the connection: otherwise kafka-go would go on refreshing on it, and so keep
// it open.
func (n *connection) Write(p []byte) (int, error) {
	const key = 4 // after the size
	if g := n.generation; len(p) > key+1 && protocol.ApiKey(binary.BigEndian.Uint16(p[key:])) == protocol.Metadata &&
		g.known.Load() && g.requests.Load() == 0 && !g.observer.NeedsMetadata() {
		return 0, errNotNeeded
	}
	return n.Conn.Write(p)
}

func (n *connection) Close() error {
	if g := n.generation; !n.requested && !g.known.Load() {
		g.refreshFailed.Store(true)
	}
	return n.Conn.Close()
}
