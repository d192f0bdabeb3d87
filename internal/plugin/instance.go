package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/security"
)

// syncTimeout is how long a client waits at most for its record to be
// acknowledged. It is below the 60 s after which Kong gives up on us.
const syncTimeout = 55 * time.Second

// instance is the plugin with one configuration.
type instance struct {
	cfg    *config.Config
	fields request.Fields
	pool   *producer.Pool
	log    *slog.Logger

	handle atomic.Pointer[producer.Handle] // nil until a request needs it

	mu     sync.Mutex // held to set handle
	closed bool
}

var _ Handler = (*instance)(nil)

func newInstance(cfg *config.Config, o Options) *instance {
	return &instance{
		cfg: cfg, pool: o.Pool, log: o.Log,
		fields: request.Fields{
			Method: cfg.ForwardMethod, URI: cfg.ForwardURI, Headers: cfg.ForwardHeaders, Body: cfg.ForwardBody,
			MaxBody: cfg.BytesPerRequest - producer.Overhead,
		},
	}
}

// Needs implements Handler.
func (in *instance) Needs() request.Fields { return in.fields }

// Handle implements Handler.
func (in *instance) Handle(ctx context.Context, x Exchange, r *request.Request) Response {
	h, err := in.producer(ctx, x)
	if err == nil {
		err = in.send(ctx, x, r, h)
	}
	return in.respond(err)
}

// Refuse implements Handler.
func (in *instance) Refuse(err error) Response { return in.respond(err) }

// respond returns the response to a request that ended with err, and logs a failure.
func (in *instance) respond(err error) Response {
	a := outcome(err, in.cfg.Topic, in.fields.MaxBody)
	for _, line := range a.Log {
		in.log.Error("request failed", "topic", in.cfg.Topic, "error", line)
	}
	if news := in.pool.News(); news != "" {
		a.Log = append(a.Log, news)
	}
	return a
}

// scratch is a buffer for the message of a small body.
type scratch struct{ message []byte }

const keepScratch = 64 << 10 // a larger buffer is not kept for another request

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// send makes the request a record and hands it over.
func (in *instance) send(ctx context.Context, x Exchange, r *request.Request, h *producer.Handle) error {
	value, err := in.value(x, r)
	x.Release() // Send counts the record itself, and may block for long
	if err != nil {
		return err
	}
	if !in.cfg.Async {
		x.WillBlock()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, syncTimeout, errOutOfTime)
		defer cancel()
	}
	err = h.Send(ctx, producer.Record{Topic: in.cfg.Topic, Value: value, Time: x.Began()})
	if err != nil {
		err = undeliveredAs(err, h, time.Since(x.Began()))
	}
	return err
}

// value returns the message, in memory of just its size: it may wait in the
// buffer for long, with many others.
func (in *instance) value(x Exchange, r *request.Request) ([]byte, error) {
	if len(r.Body) > largeBody {
		return in.largeValue(x, r)
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	var err error
	s.message, err = jsonmsg.Append(s.message[:0], r, in.fields)
	if err != nil {
		return nil, err
	}
	value := append([]byte(nil), s.message...)
	if cap(s.message) > keepScratch {
		s.message = nil
	}
	return value, nil
}

// largeBody is the size above which memory is reserved for a message before it is
// made. The message of a smaller body is made in a scratch buffer, too small to count.
const largeBody = 32 << 10

// largeValue returns the message of a request with a large body. The message is made
// in memory of the right size, which is reserved from the process's limit first.
func (in *instance) largeValue(x Exchange, r *request.Request) ([]byte, error) {
	least, most := jsonmsg.Size(r, in.fields)
	if least > in.fields.MaxBody {
		return nil, request.ErrTooLarge
	}
	if !x.Reserve(int64(most)) {
		return nil, memory.ErrFull
	}
	value, err := jsonmsg.Append(make([]byte, 0, most), r, in.fields)
	if err != nil {
		return nil, err
	}
	if more := cap(value) - most; more > 0 && !x.Reserve(int64(more)) {
		return nil, memory.ErrFull
	}
	if spare := cap(value) - len(value); spare > len(value)/8 {
		if !x.Reserve(int64(len(value))) {
			return nil, memory.ErrFull
		}
		value = append([]byte(nil), value...)
	}
	return value, nil
}

// producer returns the instance's share in a producer. It is taken with the
// first request, and again with a later one where that failed: a certificate
// may be there by then.
func (in *instance) producer(ctx context.Context, x Exchange) (*producer.Handle, error) {
	if h := in.handle.Load(); h != nil {
		return h, nil
	}
	x.WillBlock()
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	h, err := in.pool.Acquire(ctx, in.cfg) // may wait for the certificate, so without the lock
	if err != nil {
		if _, ok := errors.AsType[*security.CertificateError](err); !ok {
			err = fmt.Errorf("%w: %w", errConfig, err)
		}
		return nil, err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if other := in.handle.Load(); other != nil || in.closed {
		h.Release() // it lives for long enough to take this request's record
		return cmp.Or(other, h), nil
	}
	in.handle.Store(h)
	return h, nil
}

// Close implements Handler.
func (in *instance) Close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	if h := in.handle.Load(); h != nil {
		h.Release()
	}
}
