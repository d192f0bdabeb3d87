package kongpdk

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	pdk "github.com/Kong/go-pdk"

	"kafka-upstream/internal/bodyfile"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
)

// errReplyTooLarge is the error of a reply above the limit of its call.
var errReplyTooLarge = errors.New("reply above its limit")

// Exchange is the conversation with Kong about one request. It is used by one
// goroutine, and by the handler only until that returns.
type Exchange struct {
	session *session
	began   time.Time
	replies []span
	scratch *scratch  // what the request was read into; nil once it is released
	taken   int64     // from the memory limit, not counting the replies
	out     []byte    // the frames of log lines, and then of the exit
	logged  bool      // there are log lines, and Kong replies to each
	later   *deferral // of the answer, until it is there; nil if it is not deferred
	exited  bool
	reason  plugin.Reason // of the exit
	counted bool
}

var _ plugin.Exchange = (*Exchange)(nil)

const keepOut = 4 << 10 // a larger buffer is not kept for another request

func (x *Exchange) begin(s *session, now time.Time) {
	out := x.out[:0]
	if cap(out) > keepOut {
		out = nil
	}
	*x = Exchange{session: s, began: now, replies: x.replies[:0], out: out}
}

// Began implements plugin.Exchange.
func (x *Exchange) Began() time.Time { return x.began }

// WillBlock implements plugin.Exchange. The first call for a request may cost a few
// microseconds: the loop continues in another goroutine.
func (x *Exchange) WillBlock() { x.session.driver.detach() }

// Reserve implements plugin.Exchange. For requests with short replies nothing needs to be
// reserved.
func (x *Exchange) Reserve(n int64) bool {
	if !x.session.server.Memory.Take(n) {
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
	x.session.in.next()
}

func (x *Exchange) unreserve() {
	if x.taken > 0 {
		x.session.server.Memory.Return(x.taken)
		x.taken = 0
	}
}

// Defer implements plugin.Exchange. In a loop it costs an allocation and, for all answers that
// come together, one system call.
func (x *Exchange) Defer() plugin.Deferred {
	x.later = x.session.driver.deferral()
	return x.later
}

// deferral is an answer that comes later.
type deferral struct {
	session *session // used only by its driver, which checks that the session still waits for it
	deliver func(*deferral)
	claimed atomic.Bool
	answer  plugin.Response
}

var _ plugin.Deferred = (*deferral)(nil)

// Answer implements plugin.Deferred.
func (d *deferral) Answer(a plugin.Response) {
	if d.claimed.CompareAndSwap(false, true) {
		d.answer = a
		d.deliver(d)
	}
}

// reply returns Kong's reply to call i, a protobuf message that may be empty. Calls are
// numbered from the instance's calls on; further calls follow. The bytes are valid until
// Release, or until the handler returns. The error is errReplyTooLarge or
// [memory.ErrFull].
func (x *Exchange) reply(i int) ([]byte, error) {
	if i >= len(x.replies) {
		return nil, nil // released
	}
	switch x.replies[i] {
	case replyTooLarge:
		return nil, errReplyTooLarge
	case replyNoMemory:
		return nil, memory.ErrFull
	}
	return x.session.in.bytes(x.replies[i]), nil
}

// PeerUID implements [bodyfile.Lender]. It costs a system call.
func (x *Exchange) PeerUID() (uint32, error) { return bodyfile.PeerUID(x.session.driver.detach().nc) }

// log adds a line for Kong's error log, at one of the levels of kong.log. It is sent with the
// exit, and costs Kong one more call.
func (x *Exchange) log(level, text string) { x.out, x.logged = appendLog(x.out, level, text), true }

func (x *Exchange) logError(text string) { x.log("err", text) }

// maxLines bounds the lines of one request. Kong reads the next one only when it has written
// its reply to the one before, and nothing reads the replies until all lines are written: a
// few hundred would fill both buffers of the connection.
const maxLines = 50

// exit answers the client, as soon as the handler has returned. Kong never replies to it:
// the request is over, and Kong closes the connection. Only the first call counts.
func (x *Exchange) exit(a plugin.Response) {
	if x.exited {
		return
	}
	for i, line := range a.Lines {
		if i == maxLines {
			x.log("warn", fmt.Sprintf("%d more log lines of this request are left out", len(a.Lines)-i))
			break
		}
		x.log(line.Level, line.Text)
	}
	for _, line := range a.Log {
		x.logError(line)
	}
	x.exited, x.reason = true, a.Reason
	x.out = appendExit(x.out, &a)
	x.session.send = x.out
}

// PDK returns go-pdk's view of the conversation, for rare calls: each call is a round trip,
// and go-pdk fails on text that is not UTF-8. A handler gets it by a type assertion, and
// must not exit through it.
func (x *Exchange) PDK() *pdk.PDK { return pdk.Init(pdkConn{c: x.session.driver.detach()}) }
