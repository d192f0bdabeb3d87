package producer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// connections is one kafka.Transport, that is a pool of connections to the brokers
// of a cluster and the metadata it has fetched. Both are replaced together when either
// is stale.
//
// A kafka.Transport refreshes its metadata by itself, at random intervals, for as long
// as it lives: even with the password of a configuration that was removed, and right
// after a login was refused. It reports no error of that. So a refresh gets no
// connection unless the producer needs fresh metadata.
type connections struct {
	*kafka.Transport
	servers net.Addr
	number  uint64 // generation, within one producer
	dialer  *dialer
	needed  func() bool // whether the metadata is to be kept fresh while no record needs it

	asking   atomic.Int32 // our own metadata requests in flight
	looked   atomic.Bool  // the first metadata fetch has ended
	known    atomic.Bool  // metadata was fetched
	lost     atomic.Bool  // a refresh's connection was closed before it was fetched
	replaced atomic.Bool  // by a newer generation
	closed   atomic.Bool  // idle connections are closed, or about to be
	ending   atomic.Bool  // hangUp is under way
}

// RoundTrip implements kafka.RoundTripper.
func (c *connections) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	if req.ApiKey() == protocol.Metadata {
		c.asking.Add(1)
		defer c.asking.Add(-1)
	}
	res, err := c.Transport.RoundTrip(context.WithValue(ctx, askedKey{}, true), addr, req)
	if err == nil {
		c.known.Store(true)
	}
	if err == nil || ctx.Err() == nil {
		c.looked.Store(true)
	}
	if c.closed.Load() {
		c.CloseIdleConnections() // this request may have begun before the others were closed
	}
	return res, err
}

// lull is how long to wait before replaced connections are closed: kafka-go marks a
// connection idle only some time after its answer, and hangUp would miss it.
const lull = 50 * time.Millisecond

// close closes idle connections, after the lull or once ctx is done. Requests in flight
// keep theirs.
func (c *connections) close(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(lull):
	}
	if !c.closed.Swap(true) && c.looked.Load() {
		c.hangUp()
	}
	c.CloseIdleConnections()
}

// hangUp closes the idle connections one by one. CloseIdleConnections alone leaves the
// timer of each running until its idle timeout is over, and the timer keeps the metadata
// of the cluster alive: some 300 bytes for each partition, and again for each generation
// that is opened while a broker is down.
func (c *connections) hangUp() {
	c.ending.Store(true)
	defer c.ending.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // normally immediate, but it must not block forever
	defer cancel()
	for last, i := 0, 0; i <= last; i++ {
		for {
			bye := &goodbye{broker: i}
			_, err := c.Transport.RoundTrip(ctx, c.servers, bye)
			last = bye.brokers
			if !errors.Is(err, errGoodbye) { // no idle connection remains
				break
			}
		}
	}
}

var errGoodbye = errors.New("the connection is not used any more")

// goodbye is a request that is never sent, and makes kafka-go close the idle connection
// that it is given: one to a broker, by the index of its id, or for the index after the
// last one to a bootstrap server.
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

type askedKey struct{} // in the context of our own requests

// errNotNeeded is why a look got no connection. It is nobody's to see, for an
// error changes nothing of a layout that is known.
var errNotNeeded = errors.New("nobody needs a connection")

// dial is the Transport's.
func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	asked := ctx.Value(askedKey{}) != nil
	switch {
	case asked:
	case c.ending.Load():
		return nil, errNotNeeded
	case c.replaced.Load(): // who still begins a request here looks for a layout of his own
	case c.known.Load():
		if !c.needed() {
			return nil, errNotNeeded
		}
	case c.lost.Load():
		// Who waited for the first look learns now why it failed, and has others
		// take the place of these. A second one would log in for nobody.
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	nc, err := c.dialer.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &connection{nc, c, asked}, nil
}

// connection is one to a broker.
type connection struct {
	net.Conn
	connections *connections
	asked       bool // made for a request of ours, not for a refresh
}

// Write writes a request, or a part of one. A metadata refresh that is not needed fails,
// which closes the connection: otherwise kafka-go would go on to refresh on it, and so
// keep it open.
func (n *connection) Write(p []byte) (int, error) {
	const key = 4 // after the size
	if c := n.connections; len(p) > key+1 && protocol.ApiKey(binary.BigEndian.Uint16(p[key:])) == protocol.Metadata &&
		c.known.Load() && c.asking.Load() == 0 && !c.needed() {
		return 0, errNotNeeded
	}
	return n.Conn.Write(p)
}

func (n *connection) Close() error {
	if c := n.connections; !n.asked && !c.known.Load() {
		c.lost.Store(true)
	}
	return n.Conn.Close()
}
