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
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/security"
)

// syncTimeout bounds how long a client waits for its record to be acknowledged. It is
// below the 60 s after which Kong gives up on the plugin server.
const syncTimeout = 55 * time.Second

// instance is the plugin with one configuration.
type instance struct {
	cfg     *config.Config
	fields  request.Fields
	builder *record.Builder
	pool    *producer.Pool
	log     *slog.Logger

	handle atomic.Pointer[producer.Handle] // nil until a request needs it

	mu     sync.Mutex // held to set handle
	closed bool
}

var _ Handler = (*instance)(nil)

func newInstance(cfg *config.Config, o Options) (*instance, error) {
	r := cfg.Record()
	builder, err := record.NewBuilder(r, jsonmsg.NewEncoder(r.Forward, r.ExcludeHeaders))
	if err != nil {
		return nil, err
	}
	return &instance{cfg: cfg, pool: o.Pool, log: o.Log, fields: builder.Needs(), builder: builder}, nil
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
func (in *instance) Refuse(err error) Response {
	in.logMemoryFull(err)
	return in.respond(err)
}

// logMemoryFull logs a request that was rejected at the memory limit before it was a record.
// The pool reports only records. Kong's error log gets no line, because each would cost one
// more call while memory is short.
func (in *instance) logMemoryFull(err error) {
	if errors.Is(err, memory.ErrFull) {
		in.log.Error("request failed", "topic", in.cfg.Topic, "error", err)
	}
}

// respond returns the response to a request that ended with err, and logs a failure.
func (in *instance) respond(err error) Response {
	a := outcome(err, in.cfg.Topic, in.fields.MaxBody)
	for _, line := range a.Log {
		in.log.Error("request failed", "topic", in.cfg.Topic, "error", line)
	}
	if line := in.pool.PendingLogLine(); line != "" {
		a.Log = append(a.Log, line)
	}
	return a
}

// send makes records of the request and hands them over.
func (in *instance) send(ctx context.Context, x Exchange, r *request.Request, h *producer.Handle) error {
	var one [1]record.Record
	records, _, err := in.builder.Append(one[:0], r, x.Began(), x)
	x.Release() // Send counts the record itself, and may block for long
	if err != nil {
		in.logMemoryFull(err)
		return err
	}
	if !in.cfg.Async {
		x.WillBlock()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, syncTimeout, errSyncTimeout)
		defer cancel()
	}
	for i := range records {
		if err := h.Send(ctx, records[i]); err != nil {
			return undeliveredAs(err, h, records[i].Topic, time.Since(x.Began()))
		}
	}
	return nil
}

// producer returns the instance's share in a producer. The first request acquires it. If
// that fails, the next request tries again: the certificate may be available by then.
func (in *instance) producer(ctx context.Context, x Exchange) (*producer.Handle, error) {
	if h := in.handle.Load(); h != nil {
		return h, nil
	}
	x.WillBlock()
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	h, err := in.pool.Acquire(ctx, in.cfg.Producer(), in.cfg.Topic) // may wait for the certificate, so without the lock
	if err != nil {
		if _, ok := errors.AsType[*security.CertificateError](err); !ok {
			err = fmt.Errorf("%w: %w", errConfig, err)
		}
		return nil, err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if other := in.handle.Load(); other != nil || in.closed {
		h.Release() // the producer lives for long enough to take this request's record
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
