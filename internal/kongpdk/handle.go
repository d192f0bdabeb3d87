package kongpdk

import (
	"context"
	"sync"
	"time"

	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/request"
)

// openInstance makes an instance of a handler.
func (s *Server) openInstance(h plugin.Handler) *instance {
	p := newPlan(h.Needs(), s.RequestVariable)
	return &instance{calls: &p.calls, access: func(x *Exchange) { s.handle(x, h, p) }, close: h.Close, started: time.Now()}
}

// handle reads the request, has it handled, and answers it.
func (s *Server) handle(x *Exchange, h plugin.Handler, p *plan) {
	x.scratch = scratches.Get().(*scratch)
	if err := p.read(x, x.scratch); err != nil {
		x.Release()
		s.answer(x, h.Refuse(err))
		return
	}
	a := h.Handle(context.Background(), x, &x.scratch.request)
	x.Release()
	s.answer(x, a)
}

// answer answers a request, and counts that unless the client is lost.
func (s *Server) answer(x *Exchange, a plugin.Response) {
	if x.exit(a) == nil {
		s.plugin.Answered(a.Reason, time.Since(x.began))
	}
}

// scratch is the memory that a request is read into. A panic leaves it to the GC.
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
	s.reset()
	scratches.Put(s)
}

func (s *scratch) reset() {
	s.request.Reset()
	if s.file = s.file[:0]; cap(s.file) > keepFile {
		s.file = nil
	}
}
