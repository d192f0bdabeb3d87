// Package plugin is the plugin: for each request it builds the message, hands
// it to the producer of its configuration, and answers the client.
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
	"kafka-upstream/internal/kongpdk"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/metrics"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/security"
	"kafka-upstream/internal/version"
	"kafka-upstream/schema"
)

const (
	// Name is the plugin's name, that of Kong Enterprise's own.
	Name = "kafka-upstream"
	// Priority is that of Kong Enterprise's plugin: it runs after the plugins
	// that authenticate, limit and transform.
	Priority = 751
)

// syncTimeout is how long a client waits at most for its record to be
// acknowledged. It is below the 60 s after which Kong gives up on us.
const syncTimeout = 55 * time.Second

// errConversation is the error of replies of Kong that cannot be understood.
var errConversation = errors.New("unexpected reply of Kong")

// Options say what the plugin works with.
type Options struct {
	Pool    *producer.Pool   // whose producers all instances share
	Metrics *metrics.Metrics // may be nil
	Log     *slog.Logger

	// RequestVariable is a variable of nginx that the method, the URI and the query
	// are read off; none if "". See [request.NewPlan].
	RequestVariable string
}

// Plugin returns the plugin as the plugin server serves it.
func Plugin(o Options) *kongpdk.Plugin {
	return &kongpdk.Plugin{
		Name: Name, Version: version.Number, Priority: Priority, Schema: schema.JSON(),
		Start:    func(b []byte) kongpdk.Instance { return start(b, &o) },
		Refuse:   func(err error) kongpdk.Instance { return refuser{fmt.Errorf("%w: %w", errConfig, err), o.Metrics} },
		Panicked: func(began time.Time) { o.Metrics.Request(metrics.Panic, time.Since(began)) },
	}
}

// instance is the plugin with one configuration.
type instance struct {
	cfg     *config.Config
	plan    *request.Plan
	parts   request.Parts
	pool    *producer.Pool
	metrics *metrics.Metrics
	log     *slog.Logger

	handle atomic.Pointer[producer.Handle] // nil until a request needs it

	mu     sync.Mutex // held to set handle
	closed bool
}

var _ kongpdk.Instance = (*instance)(nil)

func start(b []byte, o *Options) kongpdk.Instance {
	cfg, err := config.Parse(b)
	if err == nil {
		err = cfg.Validate()
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errConfig, err)
		o.Log.Error("starting an instance with a configuration that cannot be used: its requests are answered 500", "cause", err)
		return refuser{err, o.Metrics}
	}
	o.Log.Info("starting an instance", "topic", cfg.Topic)
	wanted := request.Parts{Method: cfg.ForwardMethod, URI: cfg.ForwardURI, Headers: cfg.ForwardHeaders, Body: cfg.ForwardBody}
	return &instance{
		cfg: cfg, pool: o.Pool, metrics: o.Metrics, log: o.Log,
		plan:  request.NewPlan(wanted, cfg.BytesPerRequest-producer.Overhead, o.RequestVariable),
		parts: wanted,
	}
}

// Asks implements kongpdk.Instance.
func (in *instance) Asks() *kongpdk.Asks { return in.plan.Asks() }

// Access implements kongpdk.Instance.
func (in *instance) Access(x *kongpdk.Exchange) {
	h, err := in.producer(x)
	if err == nil {
		err = in.send(x, h)
	}
	out := outcomeOf(err, in.cfg.Topic, in.cfg.BytesPerRequest-producer.Overhead)
	if out.log != "" {
		in.log.Error("request failed", "topic", in.cfg.Topic, "cause", out.log)
		x.LogError(out.log)
	}
	if news := in.pool.News(); news != "" {
		x.LogError(news)
	}
	if x.Exit(out.answer) == nil { // else nobody is left to be told
		in.metrics.Request(out.reason, time.Since(x.Began()))
	}
}

// scratch is what a request needs until its record is made.
type scratch struct {
	request request.Request
	message []byte
}

const keepScratch = 64 << 10 // a larger buffer is not kept for another request

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// send makes the request a record and hands it over.
func (in *instance) send(x *kongpdk.Exchange, h *producer.Handle) error {
	s := scratches.Get().(*scratch)
	value, err := in.value(x, s)
	s.request.Reset()
	if cap(s.message) > keepScratch {
		s.message = nil
	}
	scratches.Put(s)
	x.Release() // Send counts the record itself, and may block for long
	if err != nil {
		return err
	}
	ctx := context.Background()
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
func (in *instance) value(x *kongpdk.Exchange, s *scratch) ([]byte, error) {
	if err := in.plan.Read(x, &s.request); err != nil {
		if _, ok := errors.AsType[*request.BodyError](err); ok || errors.Is(err, request.ErrTooLarge) || errors.Is(err, memory.ErrFull) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errConversation, err)
	}
	if len(s.request.Body) > largeBody {
		return in.largeValue(x, &s.request)
	}
	var err error
	s.message, err = jsonmsg.Append(s.message[:0], &s.request, in.parts)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), s.message...), nil
}

// largeBody is the size above which memory is reserved for a message before it is
// made. The message of a smaller body is made in a scratch buffer, too small to count.
const largeBody = 32 << 10

// largeValue returns the message of a request with a large body. The message is made
// in memory of the right size, which is reserved from the process's limit first.
func (in *instance) largeValue(x *kongpdk.Exchange, r *request.Request) ([]byte, error) {
	least, most := jsonmsg.Size(r, in.parts)
	if least > in.cfg.BytesPerRequest-producer.Overhead {
		return nil, request.ErrTooLarge
	}
	if !x.Reserve(int64(most)) {
		return nil, memory.ErrFull
	}
	value, err := jsonmsg.Append(make([]byte, 0, most), r, in.parts)
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
func (in *instance) producer(x *kongpdk.Exchange) (*producer.Handle, error) {
	if h := in.handle.Load(); h != nil {
		return h, nil
	}
	x.WillBlock()
	ctx, cancel := context.WithTimeout(context.Background(), syncTimeout)
	defer cancel()
	h, err := in.pool.Acquire(ctx, in.cfg.Topic, in.cfg.Producer()) // may wait for the certificate, so without the lock
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

// Close implements kongpdk.Instance.
func (in *instance) Close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	if h := in.handle.Load(); h != nil {
		h.Release()
	}
}

// refuser is an instance of a configuration that is no good. It answers each
// request by saying so: were the start refused instead, Kong would answer
// without a reason that anybody could find.
type refuser struct {
	err     error
	metrics *metrics.Metrics
}

var _ kongpdk.Instance = refuser{}

// Asks implements kongpdk.Instance.
func (r refuser) Asks() *kongpdk.Asks { return new(kongpdk.Asks) }

// Access implements kongpdk.Instance.
func (r refuser) Access(x *kongpdk.Exchange) {
	out := outcomeOf(r.err, "", 0)
	x.LogError(out.log)
	if x.Exit(out.answer) == nil {
		r.metrics.Request(out.reason, time.Since(x.Began()))
	}
}

// Close implements kongpdk.Instance.
func (r refuser) Close() {}
