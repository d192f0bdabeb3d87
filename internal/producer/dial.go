package producer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/metrics"
)

// servers are the bootstrap servers as kafka-go takes them: lists joined by
// commas. Joined once, because kafka-go asks for them with every record.
type servers struct{ network, address string }

var _ net.Addr = (*servers)(nil)

func (s *servers) Network() string { return s.network }
func (s *servers) String() string  { return s.address }

func newServers(list []config.Server) *servers {
	var networks, addresses []string
	for _, s := range list {
		networks = append(networks, "tcp")
		addresses = append(addresses, s.Address())
	}
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

// dialer connects to brokers. Each step of a connection, the connect, every
// write and every read, ends within timeout: kafka-go itself sets no deadline
// during SASL, where a broker that never answers would hold it for ever.
type dialer struct {
	timeout time.Duration
	connect time.Duration // of timeout, for the connect
	pause   time.Duration // between two logins, while they are refused
	net     net.Dialer
	metrics *metrics.Producer

	holding atomic.Bool // refusal is set

	mu      sync.Mutex
	refusal error     // of the last login
	next    time.Time // when another one may be tried
}

// newDialer leaves time for the other bootstrap servers: kafka-go tries them one
// after another within the timeout, and one that never answers must not use up
// all of it.
func newDialer(cfg *config.Config, m *metrics.Producer) *dialer {
	t := cfg.Timeout.Duration()
	return &dialer{timeout: t, connect: t / time.Duration(max(len(cfg.BootstrapServers), 1)),
		pause: max(cfg.Backoff.Duration(), minPause), metrics: m}
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
	nc, err := d.net.DialContext(limit, network, address)
	if err != nil {
		d.untried()
		err = &dialError{address, err}
		d.metrics.ConnectionFailed(err)
		return nil, err
	}
	return &conn{Conn: nc, timeout: d.timeout, closed: d.metrics.ConnectionOpened()}, nil
}

// conn gives every read and write the earlier of the deadline that was set and
// the timeout. kafka-go neither reads nor writes while a connection is idle.
// Deadlines are kept as they are, with their monotonic clock, so that a jump of
// the wall clock ends nothing.
type conn struct {
	net.Conn
	timeout     time.Duration
	closed      func()
	read, write atomic.Pointer[time.Time] // deadlines that were set; nil or zero: none
	over        atomic.Bool               // a read or write has met its deadline
}

func (c *conn) Read(p []byte) (int, error) {
	if err := c.Conn.SetReadDeadline(c.earlier(&c.read)); err != nil {
		return 0, err
	}
	return c.ended(c.Conn.Read(p))
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(c.earlier(&c.write)); err != nil {
		return 0, err
	}
	return c.ended(c.Conn.Write(p))
}

// ended notes a deadline that was met: kafka-go reads again to discard the rest
// of an answer that did not come, and would wait for it as long once more.
func (c *conn) ended(n int, err error) (int, error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.over.Store(true)
	}
	return n, err
}

func (c *conn) Close() error {
	c.closed()
	return c.Conn.Close()
}

func (c *conn) earlier(set *atomic.Pointer[time.Time]) time.Time {
	now := time.Now()
	if c.over.Load() {
		return now
	}
	t := now.Add(c.timeout)
	if d := set.Load(); d != nil && !d.IsZero() && d.Before(t) {
		return *d
	}
	return t
}

func (c *conn) SetDeadline(t time.Time) error {
	c.read.Store(&t)
	c.write.Store(&t)
	return c.Conn.SetDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.read.Store(&t)
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.write.Store(&t)
	return c.Conn.SetWriteDeadline(t)
}
