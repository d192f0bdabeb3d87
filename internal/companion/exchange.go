package companion

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"kafka-upstream/internal/bodyfile"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/request"
)

// exchange is one request. One goroutine uses it, until the handler returns.
type exchange struct {
	conn     *conn
	id       uint32
	config   *configuration
	began    time.Time
	flags    uint8
	payload  []byte
	scratch  *scratch // what the request was read into; nil once it is released
	in       *buffer  // the payload's, if this request has a goroutine of its own
	taken    int64    // from the memory limit
	own      bool     // this request has a goroutine of its own
	later    *deferral
	released bool
}

var (
	_ plugin.Exchange = (*exchange)(nil)
	_ bodyfile.Lender = (*exchange)(nil)
)

func (x *exchange) begin(id uint32, conf *configuration, now time.Time, flags uint8, payload []byte) {
	*x = exchange{conn: x.conn, id: id, config: conf, began: now, flags: flags, payload: payload}
}

// Began implements plugin.Exchange.
func (x *exchange) Began() time.Time { return x.began }

// WillBlock implements plugin.Exchange. The first call for a request may cost a microsecond:
// another goroutine goes on reading.
func (x *exchange) WillBlock() {
	if !x.own {
		x.own = true
		x.conn.handOver(x)
	}
}

// Reserve implements plugin.Exchange.
func (x *exchange) Reserve(n int64) bool {
	if !x.conn.server.Memory.Take(n) {
		return false
	}
	x.taken += n
	return true
}

// PeerUID implements [bodyfile.Lender].
func (x *exchange) PeerUID() (uint32, error) { return x.conn.uid() }

// Release implements plugin.Exchange.
func (x *exchange) Release() {
	x.released = true
	x.conn.server.Memory.Return(x.taken)
	x.taken = 0
	x.scratch.free()
	x.scratch, x.payload = nil, nil
	if x.in != nil {
		x.conn.server.held.Add(-int64(cap(x.in.b)))
		x.in.free()
		x.in = nil
	}
}

// Defer implements plugin.Exchange.
func (x *exchange) Defer() plugin.Deferred {
	c := x.conn
	c.refs.Add(1)
	c.inFlight.Add(1)
	c.server.held.Add(deferredSize)
	c.server.serving.Add(1)
	x.later = &deferral{conn: c, id: x.id, began: x.began}
	return x.later
}

// deferral is a request that is answered later.
type deferral struct {
	conn    *conn
	id      uint32
	began   time.Time
	claimed atomic.Bool
}

var _ plugin.Deferred = (*deferral)(nil)

// Answer implements plugin.Deferred. Answers that come together leave in one write.
func (d *deferral) Answer(a plugin.Response) {
	if !d.claimed.CompareAndSwap(false, true) {
		return
	}
	c := d.conn
	c.out.answer(d.id, &a, d.began)
	if c.deferred.Add(1) == 1 {
		go c.flushDeferred()
	}
}

// run handles the request, and puts the answer into the outbox. A panic concerns only this
// request.
func (x *exchange) run() {
	defer func() {
		if v := recover(); v != nil {
			x.conn.server.log.Error("panic while handling a request; the server continues", "panic", v, "stack", string(debug.Stack()))
			x.scratch = nil // it may be in any state
			x.Release()
			x.answer(plugin.Panic.Response())
		}
	}()
	a := x.handle()
	x.Release()
	if x.later == nil {
		x.answer(a)
	}
}

func (x *exchange) answer(a plugin.Response) {
	if x.later != nil { // the handler panicked after that
		x.later.Answer(a)
		return
	}
	x.conn.out.answer(x.id, &a, x.began)
}

func (x *exchange) handle() plugin.Response {
	h := x.config.handler
	if x.conn.server.isCrowded() {
		return h.Refuse(memory.ErrFull)
	}
	x.scratch = scratches.Get().(*scratch)
	r := &x.scratch.request
	path, err := readRequest(x.payload, x.flags, &x.config.needs, x.Reserve, r)
	if path != nil || len(x.payload) > maxInline {
		x.WillBlock() // a disk may be slow
	}
	if path != nil {
		if x.scratch.file, err = bodyfile.Read(x.scratch.file, string(path), x.config.needs.MaxBody, x); err == nil {
			r.Body = x.scratch.file
		}
	}
	if err != nil {
		return h.Refuse(err)
	}
	return h.Handle(context.Background(), x, r)
}

// finish sends the answer of a request that had a goroutine of its own, and ends that.
func (x *exchange) finish() {
	c := x.conn
	c.flush()
	c.server.held.Add(-blockedSize)
	c.inFlight.Add(-1)
	c.release()
	c.server.serving.Done()
}

// scratch is the memory that a request is read into. After a panic it is not reused.
type scratch struct {
	request request.Request
	file    []byte // a body that Kong had in a file
}

const keepFile = 256 << 10 // a larger buffer is not kept for another request

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// free gives s back for another request. It does nothing if s is nil.
func (s *scratch) free() {
	if s == nil {
		return
	}
	s.request.Reset()
	if s.file = s.file[:0]; cap(s.file) > keepFile {
		s.file = nil
	}
	scratches.Put(s)
}
