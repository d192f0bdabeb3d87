// Package certs holds the client certificates that producers present to brokers, by their ID
// in Kong. It loads them from a directory, from what
// Kong has sent itself, or from Kong's Admin API, and loads them again when
// they are rotated. Nothing in it prints a private key, or the Admin API's token.
package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kafka-upstream/internal/foreign"
)

const (
	// loadTimeout bounds one load of a certificate.
	loadTimeout = 5 * time.Second
	// checkInterval is how often a certificate in use is loaded again.
	checkInterval = time.Minute
	// minInterval is the shortest time between two loads of a certificate, however often
	// Recheck is called, and between two attempts at a first load.
	minInterval = time.Second
)

var (
	errNoUUID       = errors.New("the ID is not a UUID")
	errShuttingDown = errors.New("the server is shutting down")
)

// uuid is the form of Kong's IDs, which are safe in paths.
var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// IsID reports whether id can be that of a certificate: a UUID.
func IsID(id string) bool { return uuid.MatchString(id) }

// Error says that a certificate cannot be loaded. Its text names the cause and the cure in
// one sentence.
type Error struct {
	ID  string
	Err error
}

func (e *Error) Error() string {
	// An ID may be any text of a peer's, and the cause may quote what a certificate or the
	// Admin API says.
	return fmt.Sprintf("could not load certificate %.40q: %s", e.ID, foreign.Text(e.Err.Error()))
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Store is the certificates in use. Each is loaded when it is first acquired, and loaded
// again every minute for as long as it is held, by one goroutine, which ends with the last
// Release. Its methods may be called from many goroutines at once.
type Store struct {
	load  func(ctx context.Context, id string) (*tls.Certificate, error)
	offer func(id string, c *tls.Certificate) (changed bool, err error) // nil in tests
	log   *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	entries map[string]*entry // loading or loaded
	failed  map[string]failure
}

// entry is a certificate in use.
type entry struct {
	id      string
	ctx     context.Context // ends with the last reference, once loaded
	cancel  context.CancelFunc
	recheck chan struct{} // holds one request to load it early
	current atomic.Pointer[tls.Certificate]

	loaded chan struct{} // closed when the first load is over
	err    error         // of the first load; written before loaded is closed

	refs int // guarded by Store.mu
}

// failure is a recent first load that failed.
type failure struct {
	err error
	at  time.Time
}

// New returns a store that has not loaded anything yet. The error names the option that
// cannot be used.
func New(o Options) (*Store, error) {
	s, err := newSource(o)
	if err != nil {
		return nil, err
	}
	store := newStore(s.load, o.Log)
	store.offer = s.offer
	return store, nil
}

func newStore(load func(context.Context, string) (*tls.Certificate, error), log *slog.Logger) *Store {
	ctx, cancel := context.WithCancel(context.Background())
	return &Store{
		load:    load,
		log:     log,
		ctx:     ctx,
		cancel:  cancel,
		entries: map[string]*entry{},
		failed:  map[string]failure{},
	}
}

// Acquire returns the certificate with that ID, to be released when it is no longer needed.
// It waits only for the first load, which takes five seconds at most and is shared by all
// callers, and not longer than ctx. For a second after a failed load it returns that load's
// error. Its error is always an *[Error].
func (s *Store) Acquire(ctx context.Context, id string) (*Certificate, error) {
	if !IsID(id) {
		return nil, &Error{id, errNoUUID}
	}
	e, err := s.hold(id)
	if err != nil {
		return nil, &Error{id, err}
	}
	select {
	case <-e.loaded: // before ctx, which may have ended
		err = e.err
	default:
		select {
		case <-e.loaded:
			err = e.err
		case <-ctx.Done():
			err = fmt.Errorf("it was not loaded in time: %w", context.Cause(ctx))
		}
	}
	if err != nil {
		s.drop(e)
		return nil, &Error{id, err}
	}
	return &Certificate{store: s, entry: e}, nil
}

// Offer keeps a certificate that Kong itself has sent, with its key, in PEM: it is used unless
// the directory has one with that ID. If it is another one than before, it is presented soon. One
// that cannot be used is logged, without its key.
func (s *Store) Offer(id string, cert, key []byte) {
	certificate, err := parsePair(cert, key)
	if err == nil && !IsID(id) {
		err = errNoUUID
	}
	changed := false
	if err == nil {
		changed, err = s.offer(id, certificate)
	}
	if err != nil {
		s.log.Warn("a certificate that Kong has sent is not used", "error", &Error{id, err})
	}
	if !changed {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.failed, id)
	if e := s.entries[id]; e != nil {
		e.requestCheck()
	}
}

// hold takes a reference to the entry with that ID. If there is none, it starts a load.
func (s *Store) hold(id string) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errShuttingDown
	}
	e := s.entries[id]
	if e == nil {
		if f, ok := s.failed[id]; ok && time.Since(f.at) < minInterval {
			return nil, f.err
		}
		e = &entry{id: id, recheck: make(chan struct{}, 1), loaded: make(chan struct{})}
		e.ctx, e.cancel = context.WithCancel(s.ctx)
		s.entries[id] = e
		s.wg.Go(func() { s.run(e) })
	}
	e.refs++
	return e, nil
}

// drop returns a reference. The last caller to give up waiting does not end the load:
// callers with little time would start one each, and none would get a certificate.
func (s *Store) drop(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.refs--; e.refs > 0 {
		return
	}
	select {
	case <-e.loaded:
		s.forget(e)
	default:
	}
}

// forget ends the entry. s.mu is held.
func (s *Store) forget(e *entry) {
	e.cancel()
	if s.entries[e.id] == e {
		delete(s.entries, e.id)
	}
}

// run loads the certificate, and watches it for as long as it is held.
func (s *Store) run(e *entry) {
	first, err := s.loadOnce(e)
	s.mu.Lock()
	now := time.Now()
	for id, f := range s.failed {
		if now.Sub(f.at) >= minInterval {
			delete(s.failed, id)
		}
	}
	if err != nil {
		if s.ctx.Err() != nil {
			err = errShuttingDown
		}
		e.err = err
		s.failed[e.id] = failure{err, now}
	} else {
		e.current.Store(first)
	}
	close(e.loaded)
	if err != nil || e.refs == 0 {
		s.forget(e)
	}
	s.mu.Unlock()
	if e.ctx.Err() == nil {
		s.watch(e, first)
	}
}

// watch loads the certificate again and again, until the last reference is dropped.
func (s *Store) watch(e *entry, newest *tls.Certificate) {
	log := s.log.With("certificate", e.id)
	expired := warnIfExpired(log, newest, false)
	failing := false
	last := time.Now()
	timer := time.NewTimer(checkInterval)
	defer timer.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-timer.C:
		case <-e.recheck:
			timer.Reset(minInterval - time.Since(last)) // at once, if negative
			select {
			case <-e.ctx.Done():
				return
			case <-timer.C:
			}
			select { // this load also answers what was asked for meanwhile
			case <-e.recheck:
			default:
			}
		}
		again, err := s.loadOnce(e)
		last = time.Now()
		timer.Reset(checkInterval)
		switch {
		case e.ctx.Err() != nil:
			return
		case err != nil:
			if !failing {
				log.Warn("certificate cannot be reloaded, the last good version stays in use", "error", err)
			}
			failing = true
			continue
		case failing:
			log.Info("certificate can be reloaded again")
			failing = false
		}
		// A key cannot change without its certificate.
		if !slices.EqualFunc(again.Certificate, newest.Certificate, bytes.Equal) {
			newest, expired = again, false
			e.current.Store(again)
			log.Info("certificate was rotated, new connections present the new version", attrs(again)...)
		}
		expired = warnIfExpired(log, newest, expired)
	}
}

func (s *Store) loadOnce(e *entry) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(e.ctx, loadTimeout)
	defer cancel()
	return s.load(ctx, e.id)
}

// warnIfExpired warns once of a certificate that brokers will hardly accept, and returns
// whether it has. The certificate is presented all the same: the broker decides.
func warnIfExpired(log *slog.Logger, certificate *tls.Certificate, warned bool) bool {
	if !warned && time.Now().After(certificate.Leaf.NotAfter) {
		log.Warn("certificate has expired, brokers will reject it: rotate it", attrs(certificate)...)
		return true
	}
	return warned
}

func attrs(certificate *tls.Certificate) []any {
	leaf := certificate.Leaf
	return []any{"subject", leaf.Subject.String(), "serial", leaf.SerialNumber.Text(16), "not_after", leaf.NotAfter}
}

// Close ends all background work and waits for that. Certificates that are held can still be
// presented; Acquire fails from now on. Close may be called again.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

// Certificate is a reference to a certificate in use. It holds no key, only pointers, so it
// may be printed.
type Certificate struct {
	store *Store
	entry *entry
	once  sync.Once
}

// Present returns the newest version. It is a [tls.Config.GetClientCertificate], and ignores
// which authorities the broker accepts: a broker that is shown a certificate of another one
// says so in its log and in its alert, and one that is shown none does not.
func (c *Certificate) Present(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return c.entry.current.Load(), nil
}

// Recheck has the certificate loaded soon, at most once a second, and returns at once. It is
// for a connection that failed after the TCP connect: the broker may no longer accept the
// version in use.
func (c *Certificate) Recheck() { c.entry.requestCheck() }

func (e *entry) requestCheck() {
	select {
	case e.recheck <- struct{}{}:
	default:
	}
}

// Release returns the reference. Present still returns the last version. Only the first call
// counts.
func (c *Certificate) Release() {
	c.once.Do(func() { c.store.drop(c.entry) })
}
