package kongpdk

import (
	"errors"
	"fmt"
	"net"
	"time"

	pdk "github.com/Kong/go-pdk"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
)

// errReplyTooLarge is the error of a reply above the limit of its call.
var errReplyTooLarge = errors.New("reply above its limit")

// Exchange is the conversation with Kong about one request. It is used by one
// goroutine, and only until the handler returns.
type Exchange struct {
	conn    *conn
	began   time.Time
	replies []span
	scratch *scratch // what the request was read into; nil once it is released
	taken   int64    // from the memory limit, not counting the replies
	out     []byte   // frames of log lines, to be sent with the exit
	exited  bool
	logged  bool  // lines went out with the exit, and Kong replies to each
	err     error // of the connection; nothing more can be said on it
}

var _ plugin.Exchange = (*Exchange)(nil)

const keepOut = 4 << 10 // a larger buffer is not kept for another request

func (x *Exchange) begin(c *conn) {
	out := x.out[:0]
	if cap(out) > keepOut {
		out = nil
	}
	*x = Exchange{conn: c, began: c.began, replies: x.replies[:0], out: out}
}

// Began implements plugin.Exchange.
func (x *Exchange) Began() time.Time { return x.began }

// WillBlock implements plugin.Exchange. The first call for a request may cost a few
// microseconds: the loop goes on in another goroutine.
func (x *Exchange) WillBlock() { x.conn.leave() }

// Reserve implements plugin.Exchange. For requests with short replies nothing needs to be
// reserved.
func (x *Exchange) Reserve(n int64) bool {
	if !x.conn.server.Memory.Take(n) {
		return false
	}
	x.taken += n
	return true
}

// Release implements plugin.Exchange.
func (x *Exchange) Release() {
	x.unreserve()
	x.scratch.free()
	x.scratch = nil
	x.replies = x.replies[:0]
	x.conn.in.next()
}

func (x *Exchange) unreserve() {
	if x.taken > 0 {
		x.conn.server.Memory.Return(x.taken)
		x.taken = 0
	}
}

// Marks of replies that were discarded.
var (
	tooLarge = span{-1, -1}
	noMemory = span{-2, -2}
)

// reply returns Kong's reply to call i, a protobuf message that may be empty.
// The calls of the instance come first, those of [Exchange.call] follow them. The
// bytes are valid until the next call, until Release or until the handler returns. The
// error is errReplyTooLarge, [memory.ErrFull], or that of a connection that was lost.
func (x *Exchange) reply(i int) ([]byte, error) {
	if i >= len(x.replies) {
		return nil, x.err
	}
	switch x.replies[i] {
	case tooLarge:
		return nil, errReplyTooLarge
	case noMemory:
		return nil, memory.ErrFull
	}
	return x.conn.in.bytes(x.replies[i]), nil
}

// peerUID returns the id of the user that the connection's peer, a worker of Kong,
// runs as. It costs one system call for each connection, at its first call. The error is
// [errors.ErrUnsupported] where the system does not tell.
func (x *Exchange) peerUID() (uint32, error) {
	c := x.conn
	if c.uidRead {
		return c.uid, nil
	}
	c.leave() // for a stream that has a file
	uid, err := peerUID(c.nc)
	if err == nil {
		c.uid, c.uidRead = uid, true
	}
	return uid, err
}

// call sends further calls to Kong, in one write, and waits for the replies. It
// is for what only the first replies show to be needed: each round makes Kong
// and us wait for each other once more.
func (x *Exchange) call(more *calls) error {
	if x.err == nil {
		x.err = x.callAndWait(more)
	}
	return x.err
}

func (x *Exchange) callAndWait(more *calls) error {
	if more.size() == 0 {
		return nil
	}
	x.WillBlock()
	if err := x.sendCalls(more); err != nil {
		return err
	}
	return x.readReplies(more, len(x.replies))
}

func (x *Exchange) sendCalls(c *calls) error {
	x.conn.await()
	if _, err := x.conn.nc.Write(c.frames); err != nil {
		return fmt.Errorf("calling Kong: %w", err)
	}
	return nil
}

// readReplies reads the replies to calls that are not here yet. first is the number
// of the reply to the first of the calls.
func (x *Exchange) readReplies(c *calls, first int) error {
	for _, limit := range c.limits[len(x.replies)-first:] {
		s, err := x.conn.in.frame(limit)
		if err == errAgain {
			return err
		}
		if err != nil {
			skipped := span{}
			if _, ok := errors.AsType[errTooLarge](err); ok {
				skipped = tooLarge
			} else if errors.Is(err, memory.ErrFull) {
				skipped = noMemory
			}
			if skipped != (span{}) {
				x.WillBlock()
				x.conn.await()
				s, err = skipped, x.conn.in.discard()
			}
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

// logError adds a line for Kong's error log, at level err. The line goes out
// with the exit; each costs Kong one more call, so it is for failures only.
func (x *Exchange) logError(message string) { x.out = appendLog(x.out, message) }

// exit answers the client. Kong never replies to it: the request is over, and
// Kong closes the connection. All that has to happen for the request must have
// happened before. Only the first call counts. The error is that of a connection
// that was lost, by which the client is lost too.
func (x *Exchange) exit(a plugin.Response) error {
	if x.exited || x.err != nil {
		return x.err
	}
	x.exited = true
	for _, line := range a.Log {
		x.logError(line)
	}
	x.logged = len(x.out) > 0
	x.out = appendExit(x.out, &a)
	x.conn.await()
	if _, err := x.conn.nc.Write(x.out); err != nil {
		x.err = fmt.Errorf("answering: %w", err)
	}
	return x.err
}

// PDK returns go-pdk's view of the conversation, for rare calls: each is a
// round of its own, and go-pdk fails on text that is not UTF-8. A handler finds it by a
// type assertion. It must not exit through it.
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
