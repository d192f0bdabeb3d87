package pluginserver

import (
	"errors"
	"fmt"
	"net"
	"time"

	pdk "github.com/Kong/go-pdk"
)

// ErrTooLarge is the error of a reply above the limit that was set by
// [Asks.Add].
var ErrTooLarge = errors.New("reply above its limit")

// Exchange is the conversation with Kong about one request. It is used by one
// goroutine, and only until Access returns.
type Exchange struct {
	conn    *conn
	began   time.Time
	replies []span
	log     []byte // frames to be sent before the exit
	exited  bool
	err     error // of the connection; nothing more can be said on it
}

func (x *Exchange) begin(c *conn) {
	*x = Exchange{conn: c, began: c.began, replies: x.replies[:0]}
}

// Began returns when the request came.
func (x *Exchange) Began() time.Time { return x.began }

// tooLarge marks the reply that was thrown away.
var tooLarge = span{-1, -1}

// Reply returns Kong's reply to ask i, a protobuf message that may be empty.
// The asks of the instance come first, those of [Exchange.Ask] follow them. The
// bytes are valid until the next Ask or until Access returns. The error is
// [ErrTooLarge], or that of a connection that was lost.
func (x *Exchange) Reply(i int) ([]byte, error) {
	if i >= len(x.replies) {
		return nil, x.err
	}
	if x.replies[i] == tooLarge {
		return nil, ErrTooLarge
	}
	return x.conn.in.bytes(x.replies[i]), nil
}

// Ask puts further calls to Kong, in one write, and waits for the replies. It
// is for what only the first replies show to be needed: each round makes Kong
// and us wait for each other once more.
func (x *Exchange) Ask(asks *Asks) error {
	if x.err == nil {
		x.err = x.ask(asks)
	}
	return x.err
}

func (x *Exchange) ask(asks *Asks) error {
	if asks.Len() == 0 {
		return nil
	}
	x.WillBlock()
	if err := x.put(asks); err != nil {
		return err
	}
	return x.collect(asks, len(x.replies))
}

func (x *Exchange) put(asks *Asks) error {
	if _, err := x.conn.nc.Write(asks.frames); err != nil {
		return fmt.Errorf("asking Kong: %w", err)
	}
	return nil
}

// collect reads the replies to asks that are not here yet. first is the number
// of the reply to the first of the asks.
func (x *Exchange) collect(asks *Asks, first int) error {
	for _, limit := range asks.limits[len(x.replies)-first:] {
		s, err := x.conn.in.frame(limit)
		if _, ok := errors.AsType[errTooLarge](err); ok {
			x.WillBlock()
			s, err = tooLarge, x.conn.in.discard()
		}
		if err == errAgain {
			return err
		}
		if err != nil {
			return fmt.Errorf("reading Kong's reply: %w", err)
		}
		x.replies = append(x.replies, s)
	}
	return nil
}

// errAgain is the error of reading from a connection that a loop serves, when
// there is nothing to read for now.
var errAgain = errors.New("nothing to read for now")

// WillBlock is to be called before anything that may take long, such as
// waiting for another service, a lock held for long or a disk. Access may run on
// a goroutine that serves many requests; WillBlock lets the others go on without
// it. It costs a few microseconds the first time it is called for a request, and
// nothing after that. The methods of the Exchange need no such call.
func (x *Exchange) WillBlock() { x.conn.leave() }

// LogError writes a line into Kong's error log, at level err. The line goes out
// with the exit; each costs Kong one more call, so it is for failures only.
func (x *Exchange) LogError(message string) { x.log = appendLog(x.log, message) }

// Exit answers the client. Kong never replies to it: the request is over, and
// Kong closes the connection. All that has to happen for the request must have
// happened before. Only the first call counts. The error is that of a connection
// that was lost; whoever asked is gone then.
func (x *Exchange) Exit(a *Answer) error {
	if x.exited || x.err != nil {
		return x.err
	}
	x.exited = true
	frames := a.frames
	if len(x.log) > 0 {
		frames = append(x.log, a.frames...)
	}
	if _, err := x.conn.nc.Write(frames); err != nil {
		x.err = fmt.Errorf("answering: %w", err)
	}
	return x.err
}

// PDK returns go-pdk's view of the conversation, for rare calls: each is a
// round of its own, and go-pdk fails on text that is not UTF-8. Exit through the
// Exchange, not through it.
func (x *Exchange) PDK() *pdk.PDK {
	x.WillBlock()
	return pdk.Init(pdkConn{x.conn.nc, &x.conn.in})
}

// pdkConn lets go-pdk read past what is in the buffer already. go-pdk calls no
// more than Read and Write.
type pdkConn struct {
	stream
	in *reader
}

// LocalAddr implements net.Conn.
func (pdkConn) LocalAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// RemoteAddr implements net.Conn.
func (pdkConn) RemoteAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// SetWriteDeadline implements net.Conn.
func (c pdkConn) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }

func (c pdkConn) Read(p []byte) (int, error) {
	if err := c.in.fill(1); err != nil {
		return 0, err
	}
	n := copy(p, c.in.buf[c.in.at:])
	c.in.at += n
	return n, nil
}
