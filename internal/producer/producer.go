// Package producer delivers records to Kafka by kafka-go's Writer: with a
// bound on what is in memory, one fate for each record, and no caller that ever
// waits for a broker without having asked to.
package producer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/metrics"
	rec "kafka-upstream/internal/record" // tests have a function named record
)

// Errors of Send. A record that met one of them was not accepted.
var (
	ErrFull   = errors.New("the buffer is full")
	ErrClosed = errors.New("the producer is closed")
)

// TooLargeError is the error of a record that no produce request may hold.
type TooLargeError struct{ Size, Limit int }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the record has %d bytes with its envelope, and producer_request_limits_bytes_per_request allows %d", e.Size, e.Limit)
}

// Overheads of a record batch (format v2, KIP-98), upper bounds: of the batch
// itself, and of each record in it. kafka-go counts the second, but not the
// first, so a batch it takes for full is larger than it thinks.
const (
	batchOverhead  = 61
	recordOverhead = 23
)

// Overhead is how many bytes smaller than a produce request's limit a record's
// key and value must be.
const Overhead = batchOverhead + recordOverhead

// perRecord is the overhead of a record until it is completed: its entry in the backlog,
// its message, and its share of the batch in flight.
const perRecord = 256

// memoryOf returns the memory that a record of that many bytes takes; Go's allocator
// rounds sizes up by at most an eighth.
func memoryOf(size int64) int64 { return perRecord + size + size/8 }

// Record is one record. The producer owns its bytes once Send was called. It must not
// have headers yet.
type Record = rec.Record

// Producer delivers the records of all instances whose configurations say the
// same about Kafka. Its methods may be called from many goroutines at once.
type Producer struct {
	cfg       *config.Config
	transport *transport
	status    *status
	metrics   *metrics.Producer
	memory    *memory.Limit
	done      func() // called when all is over; may be nil

	limit       int64         // of a record's bytes, with its envelope
	linger      time.Duration // how long a record may wait for its batch to fill; 0: not at all
	idle        time.Duration // how long connections are kept after the last record
	backoff     time.Duration // between two attempts
	maxInFlight int           // batches

	shares  atomic.Int64  // how many instances use the producer
	wake    chan struct{} // wakes the dispatcher
	drained chan struct{} // closed when p is closed and its dispatcher has ended

	mu         sync.Mutex
	stats      Stats
	used       time.Time // when a record was last sent
	closed     bool
	known      bool               // the topic's metadata was fetched
	unkeyed    backlog            // of records without a key
	keyed      map[int32]*backlog // of records with a key, by partition; none is empty
	backlogged int                // records in all of them
	inFlight   map[int32]bool     // partitions with a batch in flight
	refusals   int32              // metadata requests that brokers refused

	dispatching      bool // the dispatcher runs
	wakeOnRecord     bool // wake it when a record is accepted,
	wakeOnFull       bool // when a batch is full,
	wakeOnCompletion bool // or when a batch is completed

	// Used by the dispatcher only, with mu held.
	partitioner partitioner
	messages    []kafka.Message // of the current batch
}

func newProducer(cfg *config.Config, access Access, o *PoolOptions, n *news) *Producer {
	keepalive := 10 * time.Second // of an idle connection
	if cfg.KeepaliveEnabled {
		keepalive = max(cfg.Keepalive.Duration(), time.Millisecond)
	}
	var linger time.Duration
	if cfg.Async {
		linger = cfg.FlushTimeout.Duration()
	}
	counts := o.Metrics.Producer(cfg.Topic, cfg.Acks, metrics.Limits{
		Records: int64(cfg.BufferedMessages), Bytes: cfg.BufferedBytes, Linger: linger,
	})
	t := &transport{
		servers:        newServers(cfg.BootstrapServers),
		topic:          cfg.Topic,
		requestTimeout: cfg.RequestTimeout.Duration(),
		attempt:        2*cfg.Timeout.Duration() + time.Second, // connect, then send and be answered
		pause:          max(cfg.Backoff.Duration(), minPause),
		resetPause:     minPause,
		patient:        cfg.Async,
		patience:       patience,
		refused:        access.Refused,
		metrics:        counts,
		maxAttempts:    max(cfg.MaxAttempts, 1),
	}
	t.dialer = newDialer(cfg, counts)
	t.dialer.tls = access.TLS
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	login := t.dialer.login(access.SASL)
	p := &Producer{
		cfg: cfg, transport: t, metrics: counts, memory: o.Memory, done: access.Release,
		limit:       min(int64(cfg.BytesPerRequest), cfg.BufferedBytes+Overhead),
		linger:      linger,
		idle:        max(layoutAge, keepalive),
		backoff:     max(cfg.Backoff.Duration(), 1), // 0 means kafka-go's default
		maxInFlight: max(maxInFlightBytes/(messageSize*cfg.MessagesPerRequest), 1),
		wake:        make(chan struct{}, 1),
		drained:     make(chan struct{}),
		used:        time.Now(),
		keyed:       make(map[int32]*backlog),
		inFlight:    make(map[int32]bool),
		partitioner: newPartitioner(cfg.MessagesPerRequest, int64(cfg.BytesPerRequest-batchOverhead)),
	}
	p.status = newStatus(cfg.Topic, o.Log, n, func() int64 { return p.Stats().Buffered })
	p.status.failed = access.Failed
	p.status.servers, p.status.redact = t.servers.address, access.Redact
	t.status = p.status
	t.open = func(number uint64) *connections {
		c := &connections{servers: t.servers, number: number, dialer: t.dialer, needed: p.needsLayout}
		c.Transport = &kafka.Transport{
			Dial:           c.dial,
			DialTimeout:    cfg.Timeout.Duration(),
			IdleTimeout:    keepalive,
			MetadataTTL:    layoutAge,
			MetadataTopics: []string{cfg.Topic},
			ClientID:       "kafka-upstream",
			SASL:           login,
			Context:        t.ctx,
		}
		return c
	}
	t.conns = t.open(0)
	return p
}

// newWriter returns the Writer of a dispatcher. Each call hands it one whole batch, so it
// does not linger.
func (p *Producer) newWriter() *kafka.Writer {
	return &kafka.Writer{
		Addr:            p.transport.servers,
		Transport:       p.transport,
		Balancer:        assigned{},
		RequiredAcks:    kafka.RequiredAcks(p.cfg.Acks),
		MaxAttempts:     p.transport.maxAttempts,
		WriteBackoffMin: p.backoff,
		WriteBackoffMax: p.backoff,
		BatchSize:       p.partitioner.maxRecords,
		BatchBytes:      p.partitioner.maxBytes,
		BatchTimeout:    1, // 0 means kafka-go's default
		// The transport bounds each attempt itself; a patient one may hold it
		// for as long as no broker can be reached.
		WriteTimeout: 1000 * time.Hour,
		Async:        true, // senders that wait have a channel of their own
		Completion:   p.completed,
	}
}

// Send hands a record over. With producer_async it returns as soon as the
// record is in the buffer, at once in any case; without, when the record is
// acknowledged as configured or ctx ends, whose error it returns then: the
// record may still be delivered in that case. Other errors are [ErrFull],
// [ErrClosed], a [*TooLargeError] and, without producer_async, the reason for
// which the record was given up.
func (p *Producer) Send(ctx context.Context, r Record) error {
	q := queued{key: r.Key, value: r.Value, time: r.Time}
	if q.time.IsZero() {
		q.time = time.Now()
	}
	if !p.cfg.Async {
		q.done = make(chan error, 1)
	}
	if err := p.accept(&q); err != nil || p.cfg.Async {
		return err
	}
	select {
	case err := <-q.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// accept puts the record into the buffer unless a limit is reached.
func (p *Producer) accept(q *queued) error {
	size := q.size()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = q.time
	switch {
	case size+Overhead > p.limit:
		p.refuse(metrics.TooLarge)
		return &TooLargeError{int(size + Overhead), int(p.limit)}
	case p.closed:
		p.refuse(metrics.ShuttingDown)
		return ErrClosed
	case p.stats.Buffered >= int64(p.cfg.BufferedMessages), p.stats.BufferedBytes+size > p.cfg.BufferedBytes:
		p.refuse(metrics.BufferFull)
		p.status.refuse(q.time, ErrFull)
		return ErrFull
	case !p.memory.Take(memoryOf(size)):
		p.refuse(metrics.MemoryFull)
		p.status.refuse(q.time, memory.ErrFull)
		return memory.ErrFull
	}
	p.stats.Accepted++
	p.stats.Buffered++
	p.stats.BufferedBytes += size
	p.metrics.Accepted(size)
	q.refusals = p.refusals
	p.enqueue(*q)
	return nil
}

// refuse counts a record that is not accepted. The caller holds p.mu.
func (p *Producer) refuse(why metrics.Reason) {
	p.stats.Refused++
	p.metrics.Refused(why)
}

// abandonTime is how long close waits for the Writer to give up.
const abandonTime = 200 * time.Millisecond

// errAbandoned is the fate of the records that a drain had no time for.
var errAbandoned = errors.New("the server was shut down before the record was delivered")

// close drains the buffer until ctx ends, gives up records that are undelivered then with
// that error, and returns their number. Records that are sent from now on are refused.
func (p *Producer) close(ctx context.Context, undelivered error) int64 {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return 0
	}
	p.closed = true
	if p.dispatching {
		p.signal()
	} else {
		close(p.drained)
	}
	p.mu.Unlock()
	select {
	case <-p.drained:
	case <-ctx.Done():
		p.transport.cancel(undelivered)
		select { // no attempt goes on, but the Writer may sleep before its next
		case <-p.drained:
		case <-time.After(abandonTime):
		}
	}
	p.transport.close(undelivered)
	p.metrics.Close()
	p.status.close()
	if p.done != nil {
		p.done()
	}
	s := p.Stats()
	return s.Left + s.Buffered
}

// needsLayout reports whether the layout is to stay as young as layoutAge says.
// A producer without records has no use for it, and once its last instance is gone
// it only delivers what it has.
func (p *Producer) needsLayout() bool {
	idle, buffered := p.unused()
	return buffered || p.shares.Load() > 0 && idle < layoutAge
}

// unused returns for how long nothing was sent, and whether records are buffered.
func (p *Producer) unused() (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.used), p.stats.Buffered > 0
}

// Stats returns the counts at one moment.
func (p *Producer) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}
