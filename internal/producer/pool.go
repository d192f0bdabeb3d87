package producer

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/metrics"
)

// Access is how a producer gets at its brokers. Its zero value is without TLS
// and without authentication.
type Access struct {
	TLS    *tls.Config
	SASL   sasl.Mechanism
	Failed func(error) // told of every attempt that failed; may be nil
	// Refused reports whether an error says that a broker and we do not accept
	// who the other is, which no waiting mends; may be nil.
	Refused func(error) bool
	Release func() // called when the producer is closed; may be nil
}

// Security returns how to get at the brokers of a configuration. It may wait
// until ctx ends. An error says why there is no way now; it is asked again for a
// later request.
type Security func(ctx context.Context, c *config.Config) (Access, error)

// idleTime is how long a producer lives without an instance and without a
// record. Kong closes instances and starts others after any change, so most
// that are let go are wanted again at once.
const idleTime = 60 * time.Second

// Pool holds one producer for each digest of a configuration, shared by all
// instances of all of Kong's workers. Its methods may be called from many
// goroutines at once.
type Pool struct {
	security Security
	metrics  *metrics.Metrics
	log      *slog.Logger

	mu      sync.Mutex
	entries map[config.Digest]*entry
	closed  bool
	past    Stats          // of the producers that were closed
	closing sync.WaitGroup // producers that drain because nobody uses them
}

type entry struct {
	*Producer             // its shares change under the Pool's mutex
	timer     *time.Timer // looks whether it is still unused; nil before the first
}

// NewPool returns an empty pool. m may be nil.
func NewPool(security Security, m *metrics.Metrics, log *slog.Logger) *Pool {
	return &Pool{security: security, metrics: m, log: log, entries: make(map[config.Digest]*entry)}
}

// Handle is an instance's share in a producer.
type Handle struct {
	*Producer
	release func()
}

// Release gives the share back. The producer lives on while others have a share,
// and for a minute after the last record.
func (h *Handle) Release() { h.release() }

// Acquire returns a share in the producer of cfg, made if there is none. It
// opens no connection to a broker. The error is the Security's.
func (p *Pool) Acquire(ctx context.Context, cfg *config.Config) (*Handle, error) {
	digest := cfg.Digest()
	if h := p.share(digest, nil); h != nil {
		return h, nil
	}
	access, err := p.security(ctx, cfg) // may wait for a certificate: without the lock
	if err != nil {
		return nil, err
	}
	return p.share(digest, newProducer(cfg, access, p.metrics, p.log)), nil
}

// share returns a share in the producer there is, else in the new one, else nil.
func (p *Pool) share(digest config.Digest, producer *Producer) *Handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entries[digest]
	switch {
	case e == nil && producer == nil:
		return nil
	case e == nil:
		if p.closed {
			producer.close(context.Background()) // refuses what it is sent
		}
		e = &entry{Producer: producer}
		p.entries[digest] = e
	case producer != nil: // somebody was faster; nothing was opened yet
		producer.close(context.Background())
	}
	e.shares.Add(1)
	return &Handle{e.Producer, sync.OnceFunc(func() { p.release(digest, e) })}
}

func (p *Pool) release(digest config.Digest, e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.shares.Add(-1) > 0 || p.closed {
		return
	}
	if e.timer == nil {
		e.timer = time.AfterFunc(idleTime, func() { p.closeUnused(digest, e) })
	} else {
		e.timer.Reset(idleTime)
	}
}

// closeUnused closes the producer unless it is in use again.
func (p *Pool) closeUnused(digest config.Digest, e *entry) {
	p.mu.Lock()
	if e.shares.Load() > 0 || p.closed {
		p.mu.Unlock()
		return
	}
	if idle, buffered := e.unused(); idle < idleTime || buffered {
		e.timer.Reset(max(idleTime-idle, time.Second))
		p.mu.Unlock()
		return
	}
	delete(p.entries, digest)
	p.closing.Add(1)
	p.mu.Unlock()
	defer p.closing.Done()

	p.log.Info("closing a producer that nobody uses any more", "topic", e.cfg.Topic)
	e.close(context.Background()) // its buffer is empty
	p.mu.Lock()
	p.past = sum(p.past, e.Stats())
	p.mu.Unlock()
}

// Close closes all producers, each of which delivers what it has until ctx
// ends. Every record sent from now on is refused. What is left is logged, by
// topic, and its number returned.
func (p *Pool) Close(ctx context.Context) (left int64) {
	p.mu.Lock()
	p.closed = true
	var entries []*entry
	for _, e := range p.entries {
		if e.timer != nil {
			e.timer.Stop()
		}
		entries = append(entries, e)
	}
	p.mu.Unlock()

	var total atomic.Int64
	var wg sync.WaitGroup
	for _, e := range entries {
		wg.Go(func() {
			n := e.close(ctx)
			total.Add(n)
			if n > 0 {
				// With is for a line of its own: the logger leaves out what it has just said.
				p.log.With("topic", e.cfg.Topic).Error("records left undelivered at shutdown",
					"records", n, "delivered", e.Stats().Delivered, "cause", e.status.lastCause())
			}
		})
	}
	wg.Wait()
	p.closing.Wait()
	return total.Load()
}

// Stats returns the sums over all producers there are and were.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.past
	for _, e := range p.entries {
		s = sum(s, e.Stats())
	}
	return s
}
