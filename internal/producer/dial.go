package producer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

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
	net     net.Dialer
	metrics *metrics.Producer
}

// newDialer leaves time for the other bootstrap servers: kafka-go tries them one
// after another within the timeout, and one that never answers must not use up
// all of it.
func newDialer(cfg *config.Config, m *metrics.Producer) *dialer {
	t := cfg.Timeout.Duration()
	return &dialer{timeout: t, connect: t / time.Duration(max(len(cfg.BootstrapServers), 1)), metrics: m}
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	limit, cancel := context.WithTimeout(ctx, d.connect)
	defer cancel()
	nc, err := d.net.DialContext(limit, network, address)
	if err != nil {
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
