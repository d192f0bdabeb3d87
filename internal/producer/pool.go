package producer

import (
	"context"
	"crypto/tls"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/memory"
)

// Access is how a producer gets at its brokers. Its zero value is without TLS
// and without authentication.
type Access struct {
	TLS    *tls.Config
	SASL   sasl.Mechanism
	Failed func(error) // told of every attempt that failed; may be nil
	// Redact finds the configuration's secrets in what brokers send; nil: it has none.
	Redact  *foreign.Redactor
	Release func() // called when the producer is closed; may be nil
}

// Security returns how to reach the brokers. It may wait until ctx ends. After an error it
// is called again for a later request.
type Security func(ctx context.Context, o Options) (Access, error)

// idleTime is how long a producer lives without an instance and without a
// record. Kong closes instances and starts others after any change, so most
// that are let go are wanted again at once.
const idleTime = 60 * time.Second

// PoolOptions say what all producers of a process have in common.
type PoolOptions struct {
	Security Security
	Memory   *memory.Limit // of all records together; may be nil
	Log      *slog.Logger
	// OrphanTimeout is how long records may stay undelivered once no instance has their
	// configuration any more; 0: forever.
	OrphanTimeout time.Duration
}

// Pool holds one producer for each topic and key of Options, shared by all
// instances of all of Kong's workers. Its methods may be called from many
// goroutines at once.
type Pool struct {
	o    PoolOptions
	news news

	mu      sync.Mutex
	entries map[entryKey]*entry
	closed  bool
	past    Stats          // of the producers that were closed, with all topics there are and were
	topics  map[string]int // their indexes in past
	late    []*Producer    // being closed, or with something in flight that was not given up yet
	closing sync.WaitGroup // unused producers that are being closed
}

type entryKey struct {
	topic   string
	options Key
}

type entry struct {
	*Producer             // its shares change under the Pool's mutex
	timer     *time.Timer // runs closeUnused; nil before the first release
	orphaned  time.Time   // when its last share was released
}

// NewPool returns an empty pool.
func NewPool(o PoolOptions) *Pool {
	return &Pool{o: o, entries: make(map[entryKey]*entry), topics: make(map[string]int)}
}

// Handle is an instance's share in a producer.
type Handle struct {
	*Producer
	release func()
}

// Release gives the share back. The producer lives on while others have a share,
// and for a minute after the last record.
func (h *Handle) Release() { h.release() }

// Acquire returns a share in the producer to a topic, made if there is none. It opens no
// connection to a broker. The error is the Security's.
func (p *Pool) Acquire(ctx context.Context, topic string, o Options) (*Handle, error) {
	key := entryKey{topic, o.Key()}
	if h := p.share(key, nil); h != nil {
		return h, nil
	}
	access, err := p.o.Security(ctx, o) // may wait for a certificate: without the lock
	if err != nil {
		return nil, err
	}
	return p.share(key, newProducer(topic, o, access, &p.o, &p.news)), nil
}

// share returns a share in the producer there is, else in the new one, else nil.
func (p *Pool) share(key entryKey, producer *Producer) *Handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entries[key]
	switch {
	case e == nil && producer == nil:
		return nil
	case e == nil:
		if p.closed {
			producer.close(context.Background(), errAbandoned) // refuses what it is sent
		}
		e = &entry{Producer: producer}
		p.entries[key] = e
		p.topicIndex(key.topic)
	case producer != nil: // somebody was faster; nothing was opened yet
		producer.close(context.Background(), errAbandoned)
	}
	e.shares.Add(1)
	return &Handle{e.Producer, sync.OnceFunc(func() { p.release(key, e) })}
}

func (p *Pool) release(key entryKey, e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.shares.Add(-1) > 0 || p.closed {
		return
	}
	e.orphaned = time.Now()
	after := idleTime
	if p.o.OrphanTimeout > 0 {
		after = min(after, p.o.OrphanTimeout)
	}
	if e.timer == nil {
		e.timer = time.AfterFunc(after, func() { p.closeUnused(key, e) })
	} else {
		e.timer.Reset(after)
	}
}

// closeUnused closes the producer unless it is in use again. It waits for the delivery of
// its records, but not beyond the orphan timeout.
func (p *Pool) closeUnused(key entryKey, e *entry) {
	p.mu.Lock()
	if p.entries[key] != e || e.shares.Load() > 0 || p.closed {
		p.mu.Unlock()
		return
	}
	idle, buffered := e.unused()
	again := idleTime - idle
	if buffered {
		again = time.Second
		if p.o.OrphanTimeout > 0 {
			again = min(again, p.o.OrphanTimeout-time.Since(e.orphaned))
		}
	}
	if again > 0 {
		e.timer.Reset(again)
		p.mu.Unlock()
		return
	}
	delete(p.entries, key)
	p.late = append(p.late, e.Producer)
	p.closing.Add(1)
	p.mu.Unlock()
	defer p.closing.Done()

	ctx := context.Background() // its buffer is empty
	if buffered {
		p.o.Log.Warn("giving up records of a configuration that Kong no longer has", "topic", e.topic, "after", p.o.OrphanTimeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		cancel()
	} else {
		p.o.Log.Info("closing an unused producer", "topic", e.topic)
	}
	e.close(ctx, &orphanedError{p.o.OrphanTimeout, e.status.lastTrouble()})
	p.mu.Lock()
	p.settle()
	p.mu.Unlock()
}

// settle adds up the counts of closed producers that will not change any more. The caller
// holds p.mu.
func (p *Pool) settle() {
	p.late = slices.DeleteFunc(p.late, func(e *Producer) bool {
		if !e.settled() {
			return false
		}
		p.past.add(e, p.topicIndex(e.topic))
		return true
	})
}

// Close closes all producers, each of which delivers what it has until ctx
// ends. Every record sent from now on is refused. What is left is logged, by
// topic, and its number returned.
func (p *Pool) Close(ctx context.Context) (undelivered int64) {
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
			n := e.close(ctx, errAbandoned)
			total.Add(n)
			if n > 0 {
				p.o.Log.Error("records left undelivered at shutdown", "topic", e.topic, "records", n,
					"delivered", e.totals().Delivered, "error", e.status.lastCause())
			}
		})
	}
	wg.Wait()
	p.closing.Wait()
	return total.Load()
}

// News returns a line for Kong's error log, "" for none: losses and rejections of any
// producer that were not reported yet. There is at most one line a second for each
// producer. A call without news is cheap.
func (p *Pool) News() string { return p.news.next() }

const (
	// MaxTopics is how many topics are counted by name. Others add up as OtherTopics.
	MaxTopics = 1000
	// OtherTopics is a name that no topic can have.
	OtherTopics = "(other)"
	// maxTopicName is Kafka's limit.
	maxTopicName = 249
)

// topicIndex returns the index of a topic in p.past. The caller holds p.mu.
func (p *Pool) topicIndex(name string) int {
	if i, ok := p.topics[name]; ok {
		return i
	}
	if len(p.topics) >= MaxTopics || len(name) > maxTopicName || !utf8.ValidString(name) {
		name = OtherTopics
		if i, ok := p.topics[name]; ok {
			return i
		}
	}
	p.topics[name] = len(p.past.Topics)
	p.past.Topics = append(p.past.Topics, TopicStats{Topic: name})
	return p.topics[name]
}

// Stats returns the sums over all producers there are and were, by topic.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
	s := Stats{slices.Clone(p.past.Topics), p.past.Connections}
	for _, e := range p.late {
		s.add(e, p.topicIndex(e.topic))
	}
	for _, e := range p.entries {
		s.add(e.Producer, p.topicIndex(e.topic))
	}
	return s
}

// add adds the counts of a producer to the topic with that index.
func (s *Stats) add(p *Producer, i int) {
	topic, connections := p.topicStats()
	s.Topics[i].add(&topic)
	s.Topics[i].Buffers = append(s.Topics[i].Buffers, topic.Buffers...)
	s.Connections.add(&connections)
}
