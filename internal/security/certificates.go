package security

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kafka-upstream/internal/foreign"
)

const (
	// loadTimeout bounds one load of a certificate.
	loadTimeout = 5 * time.Second
	// relookInterval is how often a certificate in use is looked at again.
	relookInterval = time.Minute
	// relookGap is the least time between two looks at a certificate, however
	// often an early one is asked for, and between two tries of a first load.
	relookGap = time.Second
)

// CertificateError says that a certificate could not be loaded. Whoever serves
// requests answers them with 502 and "could not load certificate", and logs the
// error, which names the cause and the cure in one sentence.
type CertificateError struct {
	ID  string
	Err error
}

func (e *CertificateError) Error() string {
	// The id is foreign text until it is known to be a UUID, and the cause may hold what
	// a certificate or a peer says.
	return fmt.Sprintf("could not load certificate %.40q: %s", e.ID, foreign.Text(e.Err.Error()))
}

// Unwrap returns the cause.
func (e *CertificateError) Unwrap() error { return e.Err }

// CertificatesOptions says where certificates come from.
type CertificatesOptions struct {
	// Dir is a folder with ID.crt (a certificate, and the chain after it) and
	// ID.key, in PEM (the flag -certificates). What is there goes before Kong's
	// Admin API. Empty: no such folder.
	Dir string
	// AdminURL is where Kong's Admin API is: http://host:port, https://host:port
	// (either may have a path) or unix:/path (the flag -admin-url). Empty: not
	// to be asked.
	AdminURL string
	// AdminTokenFile names a file with the Kong-Admin-Token to send (the flag
	// -admin-token-file); it is read at each load. Empty: none is sent.
	AdminTokenFile string
	// CAFile names a PEM file with CA certificates that an Admin API under
	// https may have its certificate from, beside the system's (-ca-file).
	CAFile string
	// Logger hears of rotations, of certificates that cannot be loaded again
	// and of expired ones; nil means slog.Default(). First loads that fail are
	// not logged but returned.
	Logger *slog.Logger
}

// Certificates are Kong's certificates by their id, as the process uses them.
// Each is loaded when first acquired, kept while it is held, and looked at again
// every minute, in the background, by one goroutine that ends with the last
// Release. All methods may be called concurrently.
type Certificates struct {
	load   func(ctx context.Context, id string) (*tls.Certificate, error)
	logger *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	entries map[string]*entry // loading or loaded
	failed  map[string]failure
}

// entry is one certificate in use.
type entry struct {
	id      string
	ctx     context.Context // ends with the last reference, once loaded
	cancel  context.CancelFunc
	relook  chan struct{} // holds one request for an early look
	current atomic.Pointer[tls.Certificate]

	ready chan struct{} // closed when the first load is over
	err   error         // of the first load; written before ready is closed

	refs int // guarded by Certificates.mu, like all references
}

// failure is a first load that failed lately.
type failure struct {
	err error
	at  time.Time
}

// NewCertificates returns a store that loads nothing yet. The error says which
// option cannot be used.
func NewCertificates(o CertificatesOptions) (*Certificates, error) {
	s, err := newSource(o)
	if err != nil {
		return nil, err
	}
	return newCertificates(s.load, o.Logger), nil
}

func newCertificates(load func(context.Context, string) (*tls.Certificate, error), logger *slog.Logger) *Certificates {
	if logger == nil {
		logger = slog.Default()
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Certificates{
		load:    load,
		logger:  logger,
		ctx:     ctx,
		cancel:  cancel,
		entries: map[string]*entry{},
		failed:  map[string]failure{},
	}
}

// Acquire returns the certificate with that id, to be released when it is no
// longer needed. It waits only while the certificate is being loaded: five
// seconds at most, for all who ask at the same time, and no longer than ctx. Its
// error is always a *CertificateError. Within a second of a load that failed it
// returns that load's error at once.
func (s *Certificates) Acquire(ctx context.Context, id string) (*Certificate, error) {
	if !isUUID(id) {
		return nil, &CertificateError{id, errors.New("the id is not a UUID, as Kong's certificates have it")}
	}
	e, err := s.hold(id)
	if err != nil {
		return nil, &CertificateError{id, err}
	}
	select {
	case <-e.ready:
	default:
		select {
		case <-e.ready:
		case <-ctx.Done():
			s.drop(e)
			return nil, &CertificateError{id, fmt.Errorf("it was not there in time: %w", context.Cause(ctx))}
		}
	}
	if e.err != nil {
		s.drop(e)
		return nil, &CertificateError{id, e.err}
	}
	return &Certificate{store: s, entry: e}, nil
}

// hold takes a reference on the entry of that id, and starts its load if there
// is none.
func (s *Certificates) hold(id string) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the server is shutting down")
	}
	e := s.entries[id]
	if e == nil {
		if f, ok := s.failed[id]; ok && time.Since(f.at) < relookGap {
			return nil, f.err
		}
		e = &entry{id: id, relook: make(chan struct{}, 1), ready: make(chan struct{})}
		e.ctx, e.cancel = context.WithCancel(s.ctx)
		s.entries[id] = e
		s.wg.Go(func() { s.run(e) })
	}
	e.refs++
	return e, nil
}

// drop gives a reference back. A load under way is not given up with its last
// waiter: otherwise impatient callers would start one each, and never get a
// certificate.
func (s *Certificates) drop(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.refs--; e.refs > 0 {
		return
	}
	select {
	case <-e.ready:
		s.forget(e)
	default:
	}
}

// forget ends the entry. The caller holds the mutex.
func (s *Certificates) forget(e *entry) {
	e.cancel()
	if s.entries[e.id] == e {
		delete(s.entries, e.id)
	}
}

// run loads the certificate and looks at it again for as long as it is held.
func (s *Certificates) run(e *entry) {
	first, err := s.look(e)
	s.mu.Lock()
	now := time.Now()
	for id, f := range s.failed {
		if now.Sub(f.at) >= relookGap {
			delete(s.failed, id)
		}
	}
	if err != nil {
		if s.ctx.Err() != nil {
			err = errors.New("the server is shutting down")
		}
		e.err = err
		s.failed[e.id] = failure{err, now}
	} else {
		e.current.Store(first)
	}
	close(e.ready)
	if err != nil || e.refs == 0 {
		s.forget(e)
	}
	s.mu.Unlock()
	if e.ctx.Err() == nil {
		s.watch(e, first)
	}
}

// watch takes up new versions until the last reference is dropped.
func (s *Certificates) watch(e *entry, newest *tls.Certificate) {
	log := s.logger.With("certificate", e.id)
	expired := warnIfExpired(log, newest, false)
	failing := false
	looked := time.Now()
	timer := time.NewTimer(relookInterval)
	defer timer.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-timer.C:
		case <-e.relook:
			timer.Reset(relookGap - time.Since(looked)) // at once, if negative
			select {
			case <-e.ctx.Done():
				return
			case <-timer.C:
			}
			select { // what was asked for meanwhile, this look answers
			case <-e.relook:
			default:
			}
		}
		again, err := s.look(e)
		looked = time.Now()
		timer.Reset(relookInterval)
		switch {
		case e.ctx.Err() != nil:
			return
		case err != nil:
			if !failing {
				log.Warn("certificate could not be loaded again, the last good version stays in use", "cause", err)
			}
			failing = true
			continue
		case failing:
			log.Info("certificate can be loaded again")
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

func (s *Certificates) look(e *entry) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(e.ctx, loadTimeout)
	defer cancel()
	return s.load(ctx, e.id)
}

// warnIfExpired warns of a certificate that a broker will hardly accept, unless
// that was done. It is presented all the same: the broker decides, and says why.
func warnIfExpired(log *slog.Logger, certificate *tls.Certificate, warned bool) bool {
	if !warned && time.Now().After(certificate.Leaf.NotAfter) {
		log.Warn("certificate expired, brokers will refuse it: rotate it", attrs(certificate)...)
		return true
	}
	return warned
}

func attrs(certificate *tls.Certificate) []any {
	leaf := certificate.Leaf
	return []any{"subject", leaf.Subject.String(), "serial", leaf.SerialNumber.Text(16), "not_after", leaf.NotAfter}
}

// Close ends all background work and waits for it. Certificates that are held
// stay usable as they are; Acquire fails from now on. Close may be called again.
func (s *Certificates) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

// Certificate is a reference to a certificate in use. It prints as its id.
type Certificate struct {
	store *Certificates
	entry *entry
	once  sync.Once
}

// Relook asks for an early look at whether there is a new version, and returns
// at once. It is for whoever sees a new connection fail after the dial (the
// broker may have stopped accepting the version in use; see
// [kafkaerr.IsAuthentication]); there is at most one look a second.
func (c *Certificate) Relook() {
	select {
	case c.entry.relook <- struct{}{}:
	default:
	}
}

// Release gives the reference back. A *tls.Config made with the certificate
// still works, with the version that was the newest. Only the first call counts.
func (c *Certificate) Release() {
	c.once.Do(func() { c.store.drop(c.entry) })
}

// newest is a tls.Config's GetClientCertificate. It does not look at which CAs
// the broker accepts: a broker that is shown a certificate of another CA says so
// in its log and in its alert, one that is shown none does not.
func (c *Certificate) newest(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return c.entry.current.Load(), nil
}

func (c *Certificate) redacted() redacted { return redacted("certificate " + c.entry.id) }

// String returns "certificate" and the id.
func (c *Certificate) String() string { return c.redacted().String() }

// GoString returns what String does.
func (c *Certificate) GoString() string { return c.redacted().GoString() }

// Format writes what String returns, whatever the verb.
func (c *Certificate) Format(f fmt.State, verb rune) { c.redacted().Format(f, verb) }

// LogValue returns what String does.
func (c *Certificate) LogValue() slog.Value { return c.redacted().LogValue() }

// isUUID reports whether an id is 32 hexadecimal digits in groups of 8, 4, 4, 4
// and 12, so that it is safe in a path.
func isUUID(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i := range len(id) {
		switch b := id[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if b != '-' {
				return false
			}
		case b >= '0' && b <= '9', b >= 'a' && b <= 'f', b >= 'A' && b <= 'F':
		default:
			return false
		}
	}
	return true
}
