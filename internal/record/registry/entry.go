package registry

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// minInterval is the shortest time between two fetches of a schema, and the time after a
	// first failure. It doubles with each further failure, up to maxInterval.
	minInterval = time.Second
	maxInterval = 30 * time.Second
)

// entry is a schema in use. One goroutine fetches it: until that succeeds, if its version is
// fixed, and otherwise again and again.
type entry struct {
	target
	pool   *Pool
	id     key
	client *client
	log    *slog.Logger

	ctx    context.Context // ends some time after the last reference
	cancel context.CancelFunc
	loaded chan struct{}         // closed when the first fetch is over
	state  atomic.Pointer[state] // nil until then
	used   chan struct{}         // holds one note that the schema was used, if that matters

	refs     int         // guarded by Pool.mu
	orphaned *time.Timer // forgets the entry; nil until there were no references, guarded by Pool.mu
}

// state is what came of the fetches so far. It is read-only.
type state struct {
	schema  *schema   // nil: no fetch has succeeded
	err     error     // of the newest one, nil if it has succeeded
	failing time.Time // with err: since when fetches fail
}

func newEntry(p *Pool, id key, c *client, t target) *entry {
	e := &entry{target: t, pool: p, id: id, client: c, refs: 1, loaded: make(chan struct{}), used: make(chan struct{}, 1)}
	e.log = p.env.Log.With("registry", c.shown, "subject", t.name, "schema_version", t.versionName())
	e.ctx, e.cancel = context.WithCancel(p.ctx)
	return e
}

// run fetches the schema until the entry is forgotten.
func (e *entry) run() {
	now := &state{}
	wait := minInterval
	for {
		s, err := e.client.fetch(e.ctx, e.target, now.schema)
		if e.ctx.Err() != nil {
			err = &UnavailableError{e.name, e.versionName(), e.client.shown, errShuttingDown}
		}
		now = e.next(now, s, err)
		if e.state.Swap(now) == nil {
			close(e.loaded)
		}
		timer := time.NewTimer(wait)
		switch {
		case err != nil:
			wait = min(2*wait, maxInterval)
		case e.fixed():
			timer.Stop()
			return
		default:
			wait = minInterval
			timer.Reset(max(e.ttl, minInterval))
		}
		select {
		case <-e.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err == nil && e.onUse() {
			select {
			case <-e.ctx.Done():
				return
			case <-e.used:
			}
		}
	}
}

// onUse reports whether it is use that makes the schema be fetched again, and not time.
func (e *entry) onUse() bool { return !e.fixed() && e.ttl < minInterval }

// next returns the state after a fetch, which it counts, and logs what has changed.
func (e *entry) next(before *state, s *schema, err error) *state {
	switch {
	case e.ctx.Err() != nil:
		return &state{before.schema, err, time.Now()}
	case err != nil:
		result := Unavailable
		if _, ok := errors.AsType[*SchemaError](err); ok {
			result = Unusable
		}
		e.pool.fetches[result].Add(1)
		after := &state{before.schema, err, before.failing}
		if before.err == nil {
			after.failing = time.Now()
			e.logFailure(before, err)
		}
		return after
	}
	e.pool.fetches[Fetched].Add(1)
	switch {
	case before.err != nil || before.schema == nil:
		e.log.Info("schema was fetched", "id", s.answer.ID, "version", s.answer.Version)
	case before.schema != s:
		e.log.Info("schema has a new version, which is used from now on", "id", s.answer.ID, "version", s.answer.Version)
	}
	return &state{schema: s}
}

func (e *entry) logFailure(before *state, err error) {
	if before.schema != nil {
		e.log.Warn("schema cannot be fetched again: the last one stays in use", "error", err)
		return
	}
	e.log.Error("schema cannot be used: requests that need it are refused", "error", err)
}

// current returns the schema. The error is that of the newest fetch, if none has succeeded.
func (e *entry) current() (*schema, error) {
	if e.onUse() {
		select {
		case e.used <- struct{}{}:
		default:
		}
	}
	switch st := e.state.Load(); {
	case st == nil:
		return nil, &UnavailableError{e.name, e.versionName(), e.client.shown, errNotYet}
	case st.schema == nil:
		return nil, st.err
	default:
		return st.schema, nil
	}
}

var errNotYet = errors.New("it is still being fetched")
