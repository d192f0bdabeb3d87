package kongpdk

import (
	"errors"
	"fmt"
	"net"
	"time"

	pdk "github.com/Kong/go-pdk"

	"kafka-upstream/internal/memory"
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
	taken   int64  // from the memory limit, not counting the replies
	log     []byte // frames to be sent before the exit
	exited  bool
	err     error // of the connection; nothing more can be said on it
}

func (x *Exchange) begin(c *conn) {
	*x = Exchange{conn: c, began: c.began, replies: x.replies[:0]}
}

// Began returns when the request came.
func (x *Exchange) Began() time.Time { return x.began }

// Marks of replies that were discarded.
var (
	tooLarge = span{-1, -1}
	noMemory = span{-2, -2}
)

// Reply returns Kong's reply to ask i, a protobuf message that may be empty.
// The asks of the instance come first, those of [Exchange.Ask] follow them. The
// bytes are valid until the next Ask, until Release or until Access returns. The
// error is [ErrTooLarge], [memory.ErrFull], or that of a connection that was lost.
func (x *Exchange) Reply(i int) ([]byte, error) {
	if i >= len(x.replies) {
		return nil, x.err
	}
	switch x.replies[i] {
	case tooLarge:
		return nil, ErrTooLarge
	case noMemory:
		return nil, memory.ErrFull
	}
	return x.conn.in.bytes(x.replies[i]), nil
}

// Reserve takes n bytes of the server's memory limit for what the instance makes
// of the request, and reports false if fewer are free. Release, or the return of
// Access, gives them back. For requests with short replies nothing needs to be
// reserved.
func (x *Exchange) Reserve(n int64) bool {
	if !x.conn.server.Memory.Take(n) {
		return false
	}
	x.taken += n
	return true
}

// Release gives back what was reserved and the memory of the replies, which must not
// be used any more. Call it before a long wait.
func (x *Exchange) Release() {
	x.unreserve()
	x.replies = x.replies[:0]
	x.conn.in.next()
}

func (x *Exchange) unreserve() {
	if x.taken > 0 {
		x.conn.server.Memory.Return(x.taken)
		x.taken = 0
	}
}

// PeerUID returns the id of the user that the connection's peer, a worker of Kong,
// runs as. It costs one system call for each connection, at its first call. The error is [errors.ErrUnsupported] where the system does not tell.
func (x *Exchange) PeerUID() (uint32, error) {
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
	x.conn.await()
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
	x.conn.await()
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
