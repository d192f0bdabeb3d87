package producer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/metrics"
	"kafka-upstream/internal/producer/brokerconn"
)

// servers are the bootstrap servers as kafka-go takes them: lists joined by
// commas. Joined once, because kafka-go asks for them with every record.
type servers struct{ network, address string }

var _ net.Addr = (*servers)(nil)

func (s *servers) Network() string { return s.network }
func (s *servers) String() string  { return s.address }

func newServers(addresses []string) *servers {
	networks := slices.Repeat([]string{"tcp"}, len(addresses))
	return &servers{strings.Join(networks, ","), strings.Join(addresses, ",")}
}

// dialError is the error of a broker that cannot be reached: nothing was sent.
type dialError struct {
	address string
	err     error
}

func (e *dialError) Error() string {
	return fmt.Sprintf("cannot reach broker %s: %v", e.address, e.err)
}
func (e *dialError) Unwrap() error { return e.err }

// dialer connects to brokers. Each step, that is the connect, the TLS handshake, every
// write and every answer, is bounded by timeout: kafka-go itself sets no deadline during
// SASL, where a broker that never answers would block it forever.
//
// The dialer speaks TLS, not the kafka.Transport, because brokerconn checks each answer
// of a broker before kafka-go reads it.
type dialer struct {
	timeout     time.Duration
	connect     time.Duration // of timeout, for the connect
	pause       time.Duration // between two logins, while they are refused
	tls         *tls.Config   // nil: without TLS
	net         net.Dialer
	dialContext func(ctx context.Context, network, address string) (net.Conn, error) // net's, or a test's
	metrics     *metrics.Producer

	holding atomic.Bool // refusal is set

	mu      sync.Mutex
	refusal error     // of the last login
	next    time.Time // when another one may be tried
}

// newDialer leaves time for the other bootstrap servers: kafka-go tries them one
// after another within the timeout, and one that never answers must not use up
// all of it.
func newDialer(o Options, m *metrics.Producer) *dialer {
	d := &dialer{timeout: o.Timeout, connect: o.Timeout / time.Duration(max(len(o.Servers), 1)),
		pause: max(o.Backoff, minPause), metrics: m}
	d.dialContext = d.net.DialContext // asks net at each call, so that net's fields may be set
	return d
}

// refused notes a login that the brokers refused. From now on there is one in
// each pause: were it not for that, each partition would try its own, as often as
// its attempts allow, which locks accounts and is a burden to the brokers.
func (d *dialer) refused(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refusal == nil {
		d.next = time.Now().Add(d.pause)
	}
	if _, ok := errors.AsType[*heldError](err); !ok {
		d.refusal = err
	}
	d.holding.Store(d.refusal != nil)
}

// accepted notes that we are let in.
func (d *dialer) accepted() {
	if !d.holding.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refusal = nil
	d.holding.Store(false)
}

// hold returns why no login may be tried now, nil if one may.
func (d *dialer) hold() error {
	if !d.holding.Load() {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	switch {
	case d.refusal == nil:
		return nil
	case now.Before(d.next):
		return &heldError{d.refusal}
	}
	d.next = now.Add(d.pause)
	return nil
}

// untried gives back what hold has let pass: there was nobody to log in to. Else the
// next server in the list would not be tried, nor be known to be away.
func (d *dialer) untried() {
	if !d.holding.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next = time.Now()
}

// login returns the mechanism, which tells the dialer of each login that the
// broker has accepted. nil stays nil.
func (d *dialer) login(m sasl.Mechanism) sasl.Mechanism {
	if m == nil {
		return nil
	}
	return login{m, d}
}

type login struct {
	sasl.Mechanism
	dialer *dialer
}

// Start implements sasl.Mechanism.
func (l login) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	s, response, err := l.Mechanism.Start(ctx)
	return session{s, l.dialer}, response, err
}

type session struct {
	sasl.StateMachine
	dialer *dialer
}

// Next implements sasl.StateMachine.
func (s session) Next(ctx context.Context, challenge []byte) (done bool, response []byte, err error) {
	done, response, err = s.StateMachine.Next(ctx, challenge)
	if done && err == nil {
		s.dialer.accepted()
	}
	return done, response, err
}

// heldError is the error of a login that was not tried because the last one was
// refused, as which it counts.
type heldError struct{ refusal error }

func (e *heldError) Error() string { return e.refusal.Error() }
func (e *heldError) Unwrap() error { return e.refusal }

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := d.hold(); err != nil {
		return nil, err
	}
	limit, cancel := context.WithTimeout(ctx, d.connect)
	defer cancel()
	nc, err := d.dialContext(limit, network, address)
	if err != nil {
		d.untried()
		err = &dialError{address, err}
		d.metrics.ConnectionFailed(err)
		return nil, err
	}
	return brokerconn.New(nc, brokerconn.Options{Broker: address, Timeout: d.timeout, TLS: d.tls, Closed: d.metrics.ConnectionOpened()}), nil
}
