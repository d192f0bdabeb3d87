package cluster

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"kafka-upstream/internal/producer/brokerconn"
)

// dialer connects to brokers. Each step, that is the connect, the TLS handshake, every
// write and every answer, is bounded by timeout: kafka-go itself sets no deadline during
// SASL, where a broker that never answers would block it forever.
//
// The dialer speaks TLS instead of the kafka.Transport, because brokerconn must read each
// answer of a broker before kafka-go does.
type dialer struct {
	timeout     time.Duration
	connect     time.Duration // of timeout, for the connect
	tls         *tls.Config   // nil: without TLS
	dialContext func(ctx context.Context, network, address string) (net.Conn, error)
	auth        *authBackoff
	ready       func(context.Context) error
	observer    Observer
}

// newDialer leaves time for the other bootstrap servers: kafka-go tries them one after
// another within the timeout, and one that never answers must not use up all of it.
func newDialer(o *Options, auth *authBackoff) *dialer {
	d := &dialer{timeout: o.Timeout, connect: o.Timeout / time.Duration(max(len(o.Servers), 1)),
		tls: o.TLS, dialContext: o.Dial, auth: auth, ready: o.ready, observer: o.Observer}
	if d.dialContext == nil {
		d.dialContext = new(net.Dialer).DialContext
	}
	return d
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := d.auth.acquireLogin(); err != nil {
		return nil, err
	}
	if err := d.ready(ctx); err != nil {
		d.auth.releaseLogin()
		d.observer.ConnectionFailed(err)
		return nil, err
	}
	limit, cancel := context.WithTimeout(ctx, d.connect)
	defer cancel()
	nc, err := d.dialContext(limit, network, address)
	if err != nil {
		d.auth.releaseLogin()
		err = &dialError{address, err}
		d.observer.ConnectionFailed(err)
		return nil, err
	}
	return brokerconn.New(nc, brokerconn.Options{Broker: address, Timeout: d.timeout, TLS: d.tls, Closed: d.observer.ConnectionOpened()}), nil
}
