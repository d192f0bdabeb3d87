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
	in := &instance{calls: &p.calls, access: func(x *Exchange) { handle(x, h, p) }, close: h.Close, started: time.Now()}
	if p.variable != "" {
		in.nextCalls = p.nextCalls
	}
	return in
}

// handle reads the request, calls the handler, and answers.
func handle(x *Exchange, h plugin.Handler, p *plan) {
	x.scratch = scratches.Get().(*scratch)
	var a plugin.Response
	if err := p.read(x, x.scratch); err != nil {
		x.Release()
		a = h.Refuse(err)
	} else {
		a = h.Handle(context.Background(), x, &x.scratch.request)
		x.Release()
	}
	if x.later == nil {
		x.exit(a)
	}
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
	s.reset()
	scratches.Put(s)
}

func (s *scratch) reset() {
	s.request.Reset()
	if s.file = s.file[:0]; cap(s.file) > keepFile {
		s.file = nil
	}
}
