package producer

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/security"
	"kafka-upstream/internal/spool"
)

// Access is how a producer reaches its brokers.
type Access = security.Access

// Security returns how to reach the brokers. It may wait until ctx ends. After an error it
// is called again for a later request.
type Security func(ctx context.Context, o Options) (Access, error)

// idleTime is how long a producer lives without an instance and without a record. After any
// change, Kong closes instances and starts others, which mostly need the same producers.
const idleTime = 60 * time.Second

// PoolOptions are common to all producers of a process.
type PoolOptions struct {
	Security Security
	Memory   *memory.Limit // of all records together; may be nil
	Log      *slog.Logger
	// OrphanTimeout is how long records may stay undelivered once no instance has their
	// configuration any more; 0: forever.
	OrphanTimeout time.Duration
	// Spool is where producers with Options.Durable have their records; nil if there are none.
	Spool *spool.Spool
}

// Pool holds one producer for each key of Options, shared by all instances of all of
// Kong's workers. Its methods may be called from many goroutines at once.
type Pool struct {
	o       PoolOptions
	pending pendingLines
	sources sources

	mu        sync.Mutex // locked before a Producer's
	producers map[Key]*Producer
	closed    bool
	past      Stats          // of topics and producers that are gone; it has an entry for every topic that Stats has ever seen
	topics    map[string]int // the index of each topic in past
	unsettled []*Producer    // closed or being closed, with counts that may still change
	closing   sync.WaitGroup // unused producers that are being closed
}

// NewPool returns an empty pool.
func NewPool(o PoolOptions) *Pool {
	return &Pool{
		o: o, producers: make(map[Key]*Producer), topics: make(map[string]int),
		sources: sources{spool: o.Spool, log: o.Log, all: make(map[sourceKey]*source)},
	}
}

// SpoolStats is what the spool holds, and what it has done.
type SpoolStats struct {
	spool.Stats
	Unclaimed int // records that no producer takes: there is no configuration for them
}

// SpoolStats returns the counts of the spool. It reports false if there is none.
func (p *Pool) SpoolStats() (SpoolStats, bool) {
	if p.o.Spool == nil {
		return SpoolStats{}, false
	}
	s := SpoolStats{Stats: p.o.Spool.Stats()}
	for _, q := range s.Queues {
		if !p.sources.isTaken(sourceKey{q.Destination, q.Topic}) {
			s.Unclaimed += q.Records
		}
	}
	return s, true
}

// HasSpool reports whether there is a spool for producers with Options.Durable.
func (p *Pool) HasSpool() bool { return p.o.Spool != nil }

// orphanedAfter is how long after its release a topic, or a producer, may be unused.
func (p *Pool) orphanedAfter() time.Duration {
	if p.o.OrphanTimeout > 0 {
		return min(idleTime, p.o.OrphanTimeout)
	}
	return idleTime
}

// Acquire returns a share, for records to these topics, in the producer with these options,
// which it creates if there is none. It opens no connection to a broker, and costs next to
// nothing for topics that are never sent to. The error is that of PoolOptions.Security.
func (p *Pool) Acquire(ctx context.Context, o Options, topics ...string) (*Handle, error) {
	topics = slices.Compact(slices.Sorted(slices.Values(topics)))
	key := o.Key()
	if h := p.share(key, topics, nil); h != nil {
		return h, nil
	}
	access, err := p.o.Security(ctx, o) // may wait for a certificate: without the lock
	if err != nil {
		return nil, err
	}
	q := newProducer(o, access, &p.o, &p.pending)
	if o.Durable {
		q.sources = &p.sources
	}
	return p.share(key, topics, q), nil
}

// share returns a share in the producer there is, else in the new one, else nil.
func (p *Pool) share(key Key, topics []string, added *Producer) *Handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.producers[key]
	switch {
	case q == nil && added == nil:
		return nil
	case q == nil:
		if p.closed {
			added.close(context.Background(), errAbandoned) // rejects what it is sent
		}
		q = added
		q.removeUnused = func() { p.removeUnused(key, q) }
		p.producers[key] = q
	case added != nil: // another request was faster; nothing was opened yet
		added.close(context.Background(), errAbandoned)
	}
	q.acquire(topics)
	if q.sources != nil {
		q.sources.joinAll(q, topics)
	}
	return &Handle{q, topics, sync.OnceFunc(func() { q.release(topics, p.orphanedAfter()) })}
}

// removeUnused removes topics that no instance uses from a producer, and closes a producer
// without topics. It waits for the delivery of the topics' records, but not beyond the orphan
// timeout.
func (p *Pool) removeUnused(key Key, q *Producer) {
	p.mu.Lock()
	if p.producers[key] != q || p.closed {
		p.mu.Unlock()
		return
	}
	u := q.unused(p.orphanedAfter(), p.o.OrphanTimeout)
	var left []*topic
	defer func() { // without a lock
		for _, t := range left {
			t.source.notify() // which forget has left
		}
	}()
	if u.all {
		delete(p.producers, key)
		p.unsettled = append(p.unsettled, q)
		p.closing.Add(1)
		p.mu.Unlock()
		defer p.closing.Done()
		p.closeUnused(q, u)
		return
	}
	for _, t := range u.idle {
		if counts := q.forget(t); counts != nil {
			p.past.Topics[p.topicIndex(t.name)].add(counts)
			if t.source != nil {
				left = append(left, t)
			}
		} else { // a request of a released instance has just sent a record
			u.next = time.Second
		}
	}
	p.mu.Unlock()
	p.abandon(q, u.late) // those in flight are given up by the cluster, or when the producer is closed
	if u.next > 0 {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.removeUnusedIn(u.next)
	}
}

// closeUnused closes a producer of which nothing is used.
func (p *Pool) closeUnused(q *Producer, u unused) {
	ctx := context.Background() // its buffer is empty
	var undelivered error = errAbandoned
	if len(u.late) > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		cancel()
		undelivered = p.abandon(q, u.late)
	} else {
		p.o.Log.Info("closing an unused producer", "topics", len(u.idle))
	}
	q.close(ctx, undelivered)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
}

// abandon gives up the records of topics that are not in flight. It returns the error of the
// last topic's.
func (p *Pool) abandon(q *Producer, late []*topic) (undelivered error) {
	for _, t := range late {
		undelivered = &orphanedError{p.o.OrphanTimeout, t.log.lastError()}
		switch first := q.abandon(t, undelivered); {
		case first && q.o.Durable:
			p.o.Log.Info("records of a configuration that Kong no longer has stay in the spool, until it has one with the same brokers", "topic", t.name)
		case first:
			p.o.Log.Warn("giving up records of a configuration that Kong no longer has", "topic", t.name, "after", p.o.OrphanTimeout)
		}
	}
	return undelivered
}

// settle moves the counts of closed producers into p.past once they are final. The caller
// holds p.mu.
func (p *Pool) settle() {
	p.unsettled = slices.DeleteFunc(p.unsettled, func(q *Producer) bool {
		if !q.settled() {
			return false
		}
		q.addTo(&p.past, p.topicIndex)
		return true
	})
}

// Close drains all producers until ctx ends, and closes them. Every record that is sent from
// now on is rejected. It logs the undelivered records, by topic, and returns their number.
func (p *Pool) Close(ctx context.Context) (undelivered int64) {
	p.mu.Lock()
	p.closed = true
	producers := slices.Collect(maps.Values(p.producers))
	p.mu.Unlock()

	var total atomic.Int64
	var wg sync.WaitGroup
	for _, q := range producers {
		wg.Go(func() {
			total.Add(q.close(ctx, errAbandoned))
			q.logUndelivered()
		})
	}
	wg.Wait()
	p.closing.Wait()
	return total.Load()
}

// PendingLogLine returns a line for Kong's error log, "" for none: losses and rejections of any
// producer that were not reported yet. There is at most one line a second for each topic of
// a producer. A call that returns "" is cheap.
func (p *Pool) PendingLogLine() string { return p.pending.next() }

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

// Stats returns the sums over all producers, closed ones included, by topic.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
	s := Stats{slices.Clone(p.past.Topics), p.past.Connections}
	indexOf := func(topic string) int {
		i := p.topicIndex(topic)
		if i == len(s.Topics) {
			s.Topics = append(s.Topics, p.past.Topics[i])
		}
		return i
	}
	for _, q := range p.unsettled {
		q.addTo(&s, indexOf)
	}
	for _, q := range p.producers {
		q.addTo(&s, indexOf)
	}
	return s
}
