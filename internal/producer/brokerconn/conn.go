// Package brokerconn provides kafka-go's connections to brokers. It passes on to kafka-go
// only complete, well-formed answers to the request in flight.
//
// kafka-go trusts the lengths, counts and texts that a peer sends: it allocates memory for
// them, and panics in goroutines of its own, where nothing can recover. A peer that is
// not a Kafka broker, such as an HTTP server on that port, would end a process that many
// routes share. So a [Conn] reads each answer whole, and walks it, before kafka-go sees
// the first byte.
package brokerconn

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// Options configure a [Conn].
type Options struct {
	// Broker is the address that was dialled, host:port, for TLS and for errors.
	Broker string
	// Timeout bounds each of these: a write, with the TLS handshake; the wait for the
	// first byte of an answer; and the time from that to its last byte. An earlier
	// deadline that was set takes precedence.
	Timeout time.Duration
	// TLS configures TLS; nil: plain TCP. The ServerName defaults to the host of Broker.
	// The handshake is made with the first write.
	TLS *tls.Config
	// Closed is called by each Close. It may be nil.
	Closed func()
}

// Conn is a connection to a broker. It relies on how kafka-go uses it: one request at a
// time, whose first 64 KiB, or all of it, come with one call of Write, and whose answer is
// then read to the end. Only one goroutine at a time may use it, but Close may be called
// at any time. A deadline holds for reads and writes that begin after it was set.
//
// A broker may limit the session that a login begins (KIP-368). It closes the connection at the
// first request after that, without an answer, and kafka-go does not log in again. So a Conn sends
// none shortly before the end, and is stale then.
//
// After an error, which is always an [*Error], all further reads and writes return the
// same one.
type Conn struct {
	net.Conn          // the TCP connection, or TLS over it
	tcp      net.Conn // deadlines are set here: TLS passes them on
	options  Options
	peer     peer
	err      error

	request   request   // the last one
	number    int       // how many requests were begun
	served    bool      // a request other than for the login was completed
	ends      time.Time // when no further request is to be sent; zero: never
	unwritten int       // bytes of the request that are still to be written
	waiting   bool      // for its answer
	buf       []byte    // what was received of the answer, and what came after it
	checked   []byte    // the part of buf that kafka-go may read

	read, write time.Time // deadlines that were set; zero: none
}

// New returns a connection over tcp, which it closes.
func New(tcp net.Conn, o Options) *Conn {
	c := &Conn{Conn: tcp, tcp: tcp, options: o}
	if config := o.TLS; config != nil {
		if config.ServerName == "" {
			config = config.Clone()
			config.ServerName, _, _ = net.SplitHostPort(o.Broker)
		}
		c.Conn = tls.Client(tcp, config)
	}
	c.peer.init(tcp)
	return c
}

const (
	maxFrame    = 100 << 20 // bytes after the size, as Kafka's own socket.request.max.bytes
	firstBuffer = 1 << 10
	keptBuffer  = 64 << 10 // an idle connection keeps no larger one

	// maxSessionMargin bounds the time before the end of a login's session in which no request
	// is begun, because the broker may receive all of it only after the end. Short sessions
	// have a shorter margin.
	maxSessionMargin = 30 * time.Second
)

// Write writes a request, or a part of one. Before the first byte of a request it checks
// whether the broker has closed the connection; if so, nothing is sent.
func (c *Conn) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	first := c.unwritten == 0
	if first {
		if err := c.begin(p); err != nil {
			return 0, c.fail(err)
		}
	}
	if len(p) > c.unwritten {
		return 0, c.fail(&Error{what: "more was to be written than one request"})
	}
	if err := c.tcp.SetDeadline(c.earlier(c.write)); err != nil {
		return 0, c.fail(c.broken(err))
	}
	n, err := c.Conn.Write(p)
	c.unwritten -= n
	if err != nil {
		e := c.broken(err)
		if first && n == 0 && c.options.TLS == nil { // what the kernel did not take was not sent
			e.unsent, e.stale = true, c.served
		}
		return n, c.fail(e)
	}
	return n, nil
}

// begin starts a request that begins with p.
func (c *Conn) begin(p []byte) *Error {
	if c.waiting || len(c.checked) > 0 {
		return &Error{what: "a request was to be written before the last answer was read"}
	}
	if c.number > 0 {
		c.served = c.served || c.request.key == produceKey || c.request.key == metadataKey || c.request.key == initProducerIDKey
		if err := c.idle(); err != nil {
			return err
		}
		if c.served && !c.ends.IsZero() && !time.Now().Before(c.ends) {
			return &Error{what: "the session of the login ends", unsent: true, stale: true}
		}
	}
	if err := c.request.parse(p); err != nil {
		return &Error{what: err.Error(), err: err, unsent: true}
	}
	c.number++
	c.unwritten = c.request.size
	c.waiting = c.request.answered
	return nil
}

// idle returns an error if the broker has closed the connection since the last answer, or has
// sent bytes that were not requested.
func (c *Conn) idle() *Error {
	state := quiet
	if len(c.buf) == 0 {
		state = c.peer.state()
	}
	switch {
	case state == closed:
		return &Error{what: "had closed the connection", err: io.ErrUnexpectedEOF, unsent: true, stale: c.served}
	case state == readable && c.options.TLS == nil: // under TLS it may be a session ticket
		_ = c.tcp.SetReadDeadline(c.earlier(c.read))
		c.buf = slices.Grow(c.buf, firstBuffer)
		n, err := c.tcp.Read(c.buf[:firstBuffer])
		if c.buf = c.buf[:n]; n == 0 {
			e := c.broken(err)
			e.unsent, e.stale = true, c.served
			return e
		}
	}
	if len(c.buf) > 0 {
		return &Error{what: "sent bytes that were not requested: " + quote(c.buf), notKafka: true, unsent: true, stale: c.served}
	}
	return nil
}

// Read reads from the answer to the last request. It blocks until that is complete, and
// was checked.
func (c *Conn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(c.checked) == 0 {
		if err := c.await(); err != nil {
			return 0, c.fail(err)
		}
	}
	n := copy(p, c.checked)
	if c.checked = c.checked[n:]; len(c.checked) == 0 {
		c.forget()
	}
	return n, nil
}

// forget drops the answer from the buffer, and keeps what came after it.
func (c *Conn) forget() {
	rest := c.buf[4+binary.BigEndian.Uint32(c.buf):]
	if cap(c.buf) > keptBuffer {
		c.buf = slices.Clone(rest[:min(len(rest), quoted)])
	} else {
		c.buf = c.buf[:copy(c.buf, rest)]
	}
}

// await reads the answer that the last request waits for, and checks it.
func (c *Conn) await() *Error {
	if !c.waiting || c.unwritten > 0 {
		return &Error{what: "an answer was to be read that no request waits for"}
	}
	limit := c.earlier(c.read)
	for began := false; ; {
		size, whole, err := c.frame()
		if err != nil {
			return err
		}
		if whole {
			frame := c.buf[:4+size]
			if err := c.request.check(frame[8:]); err != nil {
				return c.malformed(err)
			}
			c.waiting, c.checked = false, frame
			if session := c.request.session; session > 0 {
				c.ends = time.Now().Add(session - min(session/10, maxSessionMargin))
			}
			return nil
		}
		if !began && len(c.buf) > 0 { // the timeout starts again for the whole answer
			began, limit = true, c.earlier(c.read)
		}
		if err := c.tcp.SetReadDeadline(limit); err != nil {
			return c.broken(err)
		}
		c.grow(4 + size)
		n, readErr := c.Conn.Read(c.buf[len(c.buf):cap(c.buf)])
		c.buf = c.buf[:len(c.buf)+n]
		if n == 0 && readErr != nil {
			return c.broken(readErr)
		}
	}
}

// grow makes the buffer larger for an answer of that many bytes, but at most doubles it:
// the size may be wrong.
func (c *Conn) grow(whole int) {
	if n := len(c.buf); n == cap(c.buf) {
		c.buf = slices.Grow(c.buf, max(firstBuffer, min(n, whole-n)))
	}
}

// frame returns the size of the answer that is being received, or 4 while it is not
// known, and whether the answer is complete. The error says why it cannot be the answer
// to the request.
func (c *Conn) frame() (size int, whole bool, _ *Error) {
	b := c.buf
	if len(b) > 0 && b[0] > maxFrame>>24 {
		return 0, false, c.foreign()
	}
	if len(b) < 4 {
		return 4, false, nil
	}
	size = int(binary.BigEndian.Uint32(b))
	if size < 4 || size > maxFrame {
		return 0, false, c.foreign()
	}
	if len(b) < 8 {
		return size, false, nil
	}
	if id := int32(binary.BigEndian.Uint32(b[4:])); id != c.request.correlation {
		e := c.foreign()
		e.what += fmt.Sprintf(", and is for request %d where %d waits", id, c.request.correlation)
		return 0, false, e
	}
	if limit := c.request.limit(); size > limit {
		return 0, false, c.malformed(violationf("has %d bytes, and %d are the most that are taken", size, limit))
	}
	return size, len(b) >= 4+size, nil
}

// earlier returns the deadline of a wait that begins now: the timeout's, or the one that
// was set, if earlier. Both have a monotonic clock reading, so jumps of the wall clock do
// not matter.
func (c *Conn) earlier(set time.Time) time.Time {
	t := time.Now().Add(c.options.Timeout)
	if !set.IsZero() && set.Before(t) {
		return set
	}
	return t
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.read, c.write = t, t
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.read = t
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.write = t
	return nil
}

// Close closes the connection.
func (c *Conn) Close() error {
	if c.options.Closed != nil {
		c.options.Closed()
	}
	return c.Conn.Close()
}

// fail ends the use of the connection.
func (c *Conn) fail(e *Error) error {
	e.broker = c.options.Broker
	c.err = e
	c.buf, c.checked = nil, nil
	return e
}

// broken is the error of a read or a write that failed with err.
func (c *Conn) broken(err error) *Error {
	e := &Error{err: err}
	if h, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		e.what = "the answer is not Kafka's: it begins with " + quote(h.RecordHeader[:]) +
			", and security.ssl is true: that is for a listener with TLS only"
		e.notKafka, e.unsent = true, c.request.setsUp()
		return e
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		// Not io.EOF itself, which kafka-go replaces by an error of its own.
		e.what, e.err = "closed the connection: EOF", io.ErrUnexpectedEOF
		if len(c.buf) > 0 {
			e.what = "closed the connection within an answer: unexpected EOF"
		}
	case errors.Is(err, os.ErrDeadlineExceeded) && len(c.buf) > 0:
		e.what = "did not finish an answer that begins with " + quote(c.buf) + ": " + err.Error()
	default:
		e.what = err.Error()
	}
	// A peer that hangs up or stays silent at ApiVersions has received no record, and has not
	// rejected the login.
	e.unsent = c.request.key == apiVersionsKey && hungUp(err)
	return e
}

func hungUp(err error) bool {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, os.ErrDeadlineExceeded, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// foreign is the error of bytes that are not a Kafka broker's answer, or not the answer to
// the request.
func (c *Conn) foreign() *Error {
	e := &Error{what: "the answer is not Kafka's: it begins with " + quote(c.buf), notKafka: true, unsent: c.request.setsUp()}
	if looksLikeTLS(c.buf) {
		e.what += ", as TLS does: set security.ssl for a listener with TLS"
	}
	return e
}

// malformed is the error of an answer that check rejected with err.
func (c *Conn) malformed(err error) *Error {
	e := &Error{what: err.Error(), err: err, unsent: c.request.setsUp()}
	if v, ok := err.(violation); ok {
		e.what = "the answer is not Kafka's: " + c.request.name() + " " + string(v)
		e.notKafka = true
	}
	return e
}
