// Package plugin is the plugin, whichever door its requests come through: it makes
// records of a request, hands them to the producer of its configuration, and returns the
// response.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record/registry"
	"kafka-upstream/internal/request"
)

const (
	// Name is the plugin's name, that of Kong Enterprise's own.
	Name = "kafka-upstream"
	// Priority is that of Kong Enterprise's plugin: it runs after the plugins
	// that authenticate, limit and transform.
	Priority = 751
)

// Handler answers the requests of one configuration. Its methods may be called from many
// goroutines at once.
type Handler interface {
	// Needs returns what a door has to find out about each request.
	Needs() request.Fields
	// Handle handles one request. It calls x.WillBlock before it blocks, and keeps nothing
	// of r. All work for the request is done when it returns, unless it has called x.Defer:
	// then the response that it returns is discarded.
	Handle(ctx context.Context, x Exchange, r *request.Request) Response
	// Refuse returns the response to a request that a door could not read. The error is
	// [request.ErrTooLarge], a [*request.BodyError], memory.ErrFull, or any other, which
	// counts as unexpected.
	Refuse(err error) Response
	// Close is called when no further request will come. Handle may still be running.
	Close()
}

// Exchange is a door's side of one request. One goroutine uses it, until Handle returns.
type Exchange interface {
	// Began returns when the request came.
	Began() time.Time
	// WillBlock must be called before anything that may take long, such as waiting for
	// another service: the goroutine may serve other requests too. Calls after the first
	// cost nothing.
	WillBlock()
	// Reserve takes n bytes of the process's memory limit for what is made of the
	// request, and reports false if fewer are free. Release, or the return of Handle,
	// gives them back.
	Reserve(n int64) bool
	// Release gives back what was reserved, and the memory of the request, which must not
	// be used after that. Call it before a long wait.
	Release()
	// Defer returns the way to answer the request later, which keeps no goroutine busy
	// meanwhile, in place of the response of Handle. Call it at most once, and neither
	// WillBlock after it. If Handle panics after it, that is the answer.
	Defer() Deferred
}

// Deferred is a request that is answered later.
type Deferred interface {
	// Answer answers the request, even before Handle has returned. It may be called from
	// any goroutine, and never blocks. Only the first call counts. The answer goes nowhere
	// if the connection has ended.
	Answer(Response)
}

// Options are what the plugin works with.
type Options struct {
	Pool    *producer.Pool // whose producers all instances share
	Schemas *registry.Pool // whose schemas all instances share
	Log     *slog.Logger
}

// Plugin makes a [Handler] of each configuration, and counts the requests that were
// answered.
type Plugin struct {
	Options
	Counters
}

// New returns the plugin.
func New(o Options) *Plugin { return &Plugin{Options: o} }

// Start returns the handler of a configuration, which is JSON as Kong sends it. It cannot
// fail: the handler of a configuration that cannot be used refuses each request. If the
// start failed instead, Kong would answer 500, and no log would have the reason.
func (p *Plugin) Start(b []byte) Handler {
	cfg, err := config.Parse(b)
	if err == nil {
		err = cfg.Validate()
	}
	var in *instance
	if err == nil {
		in, err = newInstance(cfg, p.Options)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errConfig, err)
		p.Log.Error("starting an instance with a configuration that cannot be used: its requests are answered 500", "error", err)
		return invalidConfig{err}
	}
	p.Log.Info("starting an instance", "topic", cfg.Topic)
	return in
}

// Invalid returns a handler that refuses each request because of that error in Kong's
// configuration.
func (p *Plugin) Invalid(err error) Handler {
	return invalidConfig{fmt.Errorf("%w: %w", errConfig, err)}
}

// errConfig is the error of a configuration that cannot be used.
var errConfig = errors.New("invalid plugin configuration")

// invalidConfig is the handler of a configuration that cannot be used.
type invalidConfig struct{ err error }

var _ Handler = invalidConfig{}

// Needs implements Handler.
func (invalidConfig) Needs() request.Fields { return request.Fields{} }

// Handle implements Handler.
func (h invalidConfig) Handle(context.Context, Exchange, *request.Request) Response {
	return h.Refuse(nil)
}

// Refuse implements Handler.
func (h invalidConfig) Refuse(error) Response { return outcome(h.err, "", 0) }

// Close implements Handler.
func (invalidConfig) Close() {}
