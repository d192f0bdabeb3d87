package registry

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// linger is how long a schema is kept that no configuration uses any longer: Kong ends an
	// instance before it starts the one of a changed configuration, and the registry may be
	// away just then.
	linger = 10 * time.Minute
	// maxSchemas is how many schemas a process keeps.
	maxSchemas = 4096
)

var (
	errShuttingDown = errors.New("the server is shutting down")
	errVersion      = errors.New("the version of a schema must be a number, or latest")
	errTooMany      = errors.New("there are too many schemas: the configurations of this process may name 4096")
)

// Pool is the schemas of a process. Configurations share a schema if they get it from the same
// registry, with the same credentials and TLS settings. Its methods may be called from many
// goroutines at once.
type Pool struct {
	env Env

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	fetches [results]atomic.Uint64

	mu      sync.Mutex
	closed  bool
	entries map[key]*entry
	clients map[key]*client
}

// NewPool returns a pool that has not opened anything yet.
func NewPool(env Env) *Pool {
	p := &Pool{env: env, entries: make(map[key]*entry), clients: make(map[key]*client)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Acquire returns the schemas of a configuration, which o.Check has found nothing wrong with,
// to be released. It does not wait: a schema that nobody else uses begins to be fetched.
func (p *Pool) Acquire(o Options) (*Schemas, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &Schemas{pool: p}
	for _, want := range []struct {
		to *(*Serializer)
		Subject
		isKey bool
	}{{&s.Value, o.Value, false}, {&s.Key, o.Key, true}} {
		if want.Name == "" {
			continue
		}
		e, err := p.hold(o, want.Subject)
		if err != nil {
			s.release()
			return nil, err
		}
		*want.to = &Serializer{e, want.isKey}
	}
	return s, nil
}

// hold takes a reference to the entry of a subject. If there is none, it makes one. p.mu is held.
func (p *Pool) hold(o Options, s Subject) (*entry, error) {
	if p.closed {
		return nil, errShuttingDown
	}
	version, ok := number(s.Version)
	if !ok {
		return nil, errVersion
	}
	t := target{s.Name, version, max(o.TTL, 0), o.MaxValue}
	if t.fixed() {
		t.ttl = 0 // which does not matter
	}
	connection := o.connection()
	id := digest(connection, t.name, t.version, t.ttl, t.maxValue)
	if e := p.entries[id]; e != nil {
		if e.refs++; e.refs == 1 {
			e.orphaned.Stop()
		}
		return e, nil
	}
	if len(p.entries) >= maxSchemas && !p.evict() {
		return nil, errTooMany
	}
	c := p.clients[connection]
	if c == nil {
		var err error
		if c, err = newClient(o, p.env); err != nil {
			return nil, err
		}
		p.clients[connection] = c
	}
	c.refs++
	e := newEntry(p, id, c, t)
	p.entries[id] = e
	p.wg.Go(e.run)
	return e, nil
}

// drop returns a reference. p.mu is held.
func (p *Pool) drop(e *entry) {
	if e.refs--; e.refs > 0 || p.closed {
		return
	}
	e.orphaned = time.AfterFunc(linger, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if e.refs == 0 && p.entries[e.id] == e {
			p.forget(e)
		}
	})
}

// evict forgets a schema that no configuration uses, and reports false if there is none. p.mu
// is held.
func (p *Pool) evict() bool {
	for _, e := range p.entries {
		if e.refs == 0 {
			e.orphaned.Stop()
			p.forget(e)
			return true
		}
	}
	return false
}

// forget ends an entry without references. p.mu is held.
func (p *Pool) forget(e *entry) {
	e.cancel()
	delete(p.entries, e.id)
	c := e.client
	if c.refs--; c.refs == 0 {
		delete(p.clients, c.id)
		if !p.closed {
			p.wg.Go(c.close) // which may wait
		}
	}
}

// Close ends all background work and waits for that. What was fetched stays usable; Acquire
// fails from now on. Close may be called again.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	clients := slices.Collect(maps.Values(p.clients))
	for _, e := range p.entries {
		if e.orphaned != nil {
			e.orphaned.Stop()
		}
	}
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
	for _, c := range clients {
		c.close()
	}
}

// Stats are what a Pool has and has done.
type Stats struct {
	// Schemas are the schemas that configurations use, by State.
	Schemas [states]int
	// Stale is for how long a schema in use could not be fetched again, or fetched at all:
	// the longest such time of all. It is 0 while all is well.
	Stale time.Duration
	// Fetches are the fetches of schemas, by Result. One with the schemas that it refers to
	// counts once.
	Fetches [results]uint64
}

// State says whether a schema can be used.
type State uint8

// The states.
const (
	Current State = iota // the newest fetch succeeded
	Stale                // it did not, and the schema of an earlier one is in use
	Missing              // there is no schema, and requests are refused
	states
)

// String returns the value of the label state.
func (s State) String() string { return [...]string{"current", "stale", "missing"}[s] }

// Result is how a fetch ended.
type Result uint8

// The results.
const (
	Fetched     Result = iota
	Unavailable        // the registry did not send the schema
	Unusable           // it is no schema that can be used
	results
)

// String returns the value of the label result.
func (r Result) String() string { return [...]string{"fetched", "unavailable", "unusable"}[r] }

// Stats returns the current ones. A nil Pool has none.
func (p *Pool) Stats() (s Stats) {
	if p == nil {
		return s
	}
	for r := range s.Fetches {
		s.Fetches[r] = p.fetches[r].Load()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries {
		st := e.state.Load()
		switch {
		case e.refs == 0:
			continue
		case st == nil || st.schema == nil:
			s.Schemas[Missing]++
		case st.err != nil:
			s.Schemas[Stale]++
		default:
			s.Schemas[Current]++
		}
		if st != nil && st.err != nil {
			s.Stale = max(s.Stale, time.Since(st.failing))
		}
	}
	return s
}
