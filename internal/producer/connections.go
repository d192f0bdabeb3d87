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

// connections are those to a cluster, with the layout that they were found by.
// Where either turns out to be out of date, others take their place.
//
// Beside what it is asked for, kafka-go looks at the cluster by itself at random
// moments, for as long as its Transport lives: also with the password of a
// configuration that nobody has any more, and once more where a login was refused
// a moment ago. Nobody is told how that ended. So a look gets no connection that
// is of no use.
type connections struct {
	*kafka.Transport
	servers net.Addr
	number  uint64 // counts those of one producer
	dialer  *dialer
	needed  func() bool // whether the layout is of use while no record asks for it

	asking   atomic.Int32 // metadata requests of ours
	looked   atomic.Bool  // the first look is over
	known    atomic.Bool  // the layout is
	lost     atomic.Bool  // a look's connection has ended before it was
	replaced atomic.Bool  // others take their place
	closed   atomic.Bool  // the idle ones are closed, or about to be
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
		c.CloseIdleConnections() // for it may have begun when the others were closed
	}
	return res, err
}

// lull is how long connections that were replaced stay idle: one that has just been
// answered on is not idle yet, and would escape hangUp.
const lull = 50 * time.Millisecond

// close closes what is idle, after the lull, or once ctx is done. Requests in flight keep
// their connections.
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

// hangUp ends the idle connections one by one. CloseIdleConnections alone leaves the timer
// of each running until its idle timeout is over, and with it all that kafka-go knew of
// the cluster: some 300 bytes for each partition, with each of the connections that take
// the place of others while a broker is away.
func (c *connections) hangUp() {
	c.ending.Store(true)
	defer c.ending.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // it takes no time, but nor may it wait for ever
	defer cancel()
	for last, i := 0, 0; i <= last; i++ {
		for {
			bye := &goodbye{broker: i}
			_, err := c.Transport.RoundTrip(ctx, c.servers, bye)
			last = bye.brokers
			if !errors.Is(err, errGoodbye) { // no idle one is there any more
				break
			}
		}
	}
}

var errGoodbye = errors.New("the connection is not used any more")

// goodbye is a request that makes the connection that it is given to end, and is never
// sent: an idle one to a broker, by the order of their numbers, or for the number after
// the last one to the bootstrap servers.
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

type askedKey struct{} // in the context of a request of ours

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
	asked       bool // it was made for a request of ours, and not for a look
}

// Write writes a request, or a part of one. A look at the cluster that is of no use ends
// the connection: kafka-go would look for as long as that is open, and so keep it open.
func (n *connection) Write(p []byte) (int, error) {
	const key = 4 // behind the size
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
