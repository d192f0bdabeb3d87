package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/registry"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/security"
)

// syncTimeout bounds how long a client waits for its records to be acknowledged. It is
// below the 60 s after which Kong gives up on the plugin server.
const syncTimeout = 55 * time.Second

// errNoSpool is the error of a durable configuration in a process without a spool.
var errNoSpool = errors.New("producer_async_durable is true and there is no spool: start the plugin server with -spool and a directory, or set producer_async_durable to false")

// instance is the plugin with one configuration.
type instance struct {
	cfg     *config.Config
	needs   request.Fields
	builder *record.Builder
	schemas *registry.Schemas // nil for none
	answers answers
	slow    bool // records may take long to make: a split makes thousands
	pool    *producer.Pool
	log     *slog.Logger

	handle atomic.Pointer[producer.Handle] // nil until a request needs it

	mu     sync.Mutex // held to set handle
	closed bool
}

var _ Handler = (*instance)(nil)

func newInstance(cfg *config.Config, o Options) (*instance, error) {
	if cfg.Durable && !o.Pool.HasSpool() {
		return nil, errNoSpool
	}
	schemas, err := acquireSchemas(cfg, o.Schemas)
	if err != nil {
		return nil, err
	}
	builder, needs, err := newBuilder(cfg, schemas)
	if err != nil {
		if schemas != nil {
			schemas.Release()
		}
		return nil, err
	}
	for _, warning := range cfg.Warnings() {
		o.Log.Warn("the configuration may not do what it is meant to do", "topic", cfg.Topic, "warning", warning)
	}
	slow := record.Split(cfg.Split) != record.SplitNone
	return &instance{cfg: cfg, needs: needs, builder: builder, schemas: schemas, answers: newAnswers(cfg), slow: slow, pool: o.Pool, log: o.Log}, nil
}

// acquireSchemas returns the schemas of a configuration, which begin to be fetched; nil if it
// has none.
func acquireSchemas(cfg *config.Config, pool *registry.Pool) (*registry.Schemas, error) {
	o, ok := cfg.Schemas()
	if !ok {
		return nil, nil
	}
	return pool.Acquire(o)
}

// Needs implements Handler.
func (in *instance) Needs() request.Fields { return in.needs }

// Handle implements Handler.
func (in *instance) Handle(ctx context.Context, x Exchange, r *request.Request) Response {
	h, err := in.producer(ctx, x)
	if err != nil {
		return in.respond(err)
	}
	if in.schemas != nil {
		if err := in.schemas.Ready(ctx, x); err != nil {
			return in.respond(err)
		}
	}
	if in.slow {
		x.WillBlock()
	}
	var one [1]record.Record
	records, lines, err := in.builder.Append(one[:0], r, x.Began(), x)
	x.Release() // the producer counts the records itself, and may block for long
	var a Response
	switch {
	case err != nil:
		in.logMemoryFull(err)
		a = in.respond(err)
	case len(records) == 0:
		a = in.respond(errFiltered)
	case in.cfg.Durable:
		in.appendAndAnswer(x, h, records, lines)
		return a
	case in.cfg.Async:
		a = in.respond(h.SendAll(ctx, records, nil))
	default:
		x.WillBlock()
		a = in.sendAndWait(ctx, x, h, records)
	}
	a.Lines = lines
	return a
}

// appendAndAnswer has records appended to the spool, and the request answered once they are on the
// disk.
func (in *instance) appendAndAnswer(x Exchange, h *producer.Handle, records []record.Record, lines []record.LogLine) {
	d := x.Defer()
	h.Append(records, func(err error) {
		defer func() {
			if v := recover(); v != nil { // in the spool's goroutine
				in.log.Error("panic while answering a request; the server continues", "panic", v, "stack", string(debug.Stack()))
				d.Answer(Panic.Response())
			}
		}()
		a := in.respond(err)
		a.Lines = lines
		d.Answer(a)
	})
}

// sendAndWait sends records, and waits until each is acknowledged or given up. The response
// is that of the first one that failed; if there are several, it says which.
func (in *instance) sendAndWait(ctx context.Context, x Exchange, h *producer.Handle, records []record.Record) Response {
	ctx, cancel := context.WithTimeoutCause(ctx, syncTimeout, errSyncTimeout)
	defer cancel()
	results := make([]producer.Result, len(records))
	if err := h.SendAll(ctx, records, results); err != nil { // none was accepted
		return in.respond(err)
	}
	var first error
	for i := range results {
		if err := results[i].Err; err != nil {
			results[i].Err = undeliveredAs(err, h, records[i].Topic, time.Since(x.Began()))
			first = cmp.Or(first, results[i].Err)
		}
	}
	a := in.respond(first)
	if in.cfg.Response.Metadata || first != nil && len(records) > 1 {
		in.answers.addRecords(&a, records, results)
	}
	return a
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
	a := in.answers.of(err)
	for _, line := range a.Log {
		in.log.Error("request failed", "topic", in.cfg.Topic, "error", line)
	}
	if line := in.pool.PendingLogLine(); line != "" {
		a.Log = append(a.Log, line)
	}
	return a
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
	h, err := in.pool.Acquire(ctx, in.cfg.Producer(), in.builder.Topics()...) // may wait for the certificate, so without the lock
	if err != nil {
		if _, ok := errors.AsType[*security.CertificateError](err); !ok {
			err = fmt.Errorf("%w: %w", errConfig, err)
		}
		return nil, err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if other := in.handle.Load(); other != nil || in.closed {
		h.Release() // the producer lives for long enough to take this request's records
		return cmp.Or(other, h), nil
	}
	in.handle.Store(h)
	return h, nil
}

// Close implements Handler.
func (in *instance) Close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.schemas != nil && !in.closed {
		in.schemas.Release()
	}
	in.closed = true
	if h := in.handle.Load(); h != nil {
		h.Release()
	}
}
