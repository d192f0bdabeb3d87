package producer

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/segmentio/kafka-go"
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
	number uint64 // counts those of one producer
	dialer *dialer
	needed func() bool // whether the layout is of use while no record asks for it

	known    atomic.Bool // the layout is
	lost     atomic.Bool // a look's connection has ended before it was
	replaced atomic.Bool
}

// RoundTrip implements kafka.RoundTripper.
func (c *connections) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	res, err := c.Transport.RoundTrip(context.WithValue(ctx, askedKey{}, true), addr, req)
	if err == nil {
		c.known.Store(true)
	}
	if c.replaced.Load() {
		c.CloseIdleConnections() // for it may have begun when the others were closed
	}
	return res, err
}

// replace closes what is idle. Requests in flight keep their connections.
func (c *connections) replace() {
	c.replaced.Store(true)
	c.CloseIdleConnections()
}

type askedKey struct{} // in the context of a request of ours

// errNotNeeded is why a look got no connection. It is nobody's to see, for an
// error changes nothing of a layout that is known.
var errNotNeeded = errors.New("nobody needs a connection")

// dial is the Transport's.
func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	switch {
	case ctx.Value(askedKey{}) != nil:
		return c.dialer.dial(ctx, network, address)
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
	return &looking{nc, c}, nil
}

// looking is a connection that was made for a look.
type looking struct {
	net.Conn
	connections *connections
}

func (l *looking) Close() error {
	if c := l.connections; !c.known.Load() {
		c.lost.Store(true)
	}
	return l.Conn.Close()
}
