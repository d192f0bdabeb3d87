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

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/producer/cluster"
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
	o       Options
	topic   string
	cluster *cluster.Cluster
	status  *status
	memory  *memory.Limit
	done    func() // called when all is over; may be nil

	limit          int64         // of a record's bytes, with its envelope
	idle           time.Duration // how long connections are kept after the last record
	maxInFlight    int           // batches
	maxUnavailable time.Duration // how long a record waits for a topic that brokers do not know

	shares  atomic.Int64  // how many instances use the producer
	wake    chan struct{} // wakes the dispatcher
	drained chan struct{} // closed when p is closed and its dispatcher has ended

	mu         sync.Mutex
	ledger     ledger
	connected  ConnectionStats
	ended      bool      // close has returned
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

func newProducer(topic string, o Options, access Access, pool *PoolOptions, n *news) *Producer {
	if !o.Async {
		o.Linger = 0
	}
	p := &Producer{
		o: o, topic: topic, memory: pool.Memory, done: access.Release,
		limit:          min(int64(o.BatchBytes), o.BufferBytes+Overhead),
		maxUnavailable: cluster.MaxUnavailable,
		idle:           max(cluster.MetadataTTL, o.Keepalive),
		maxInFlight:    max(maxInFlightBytes/(messageSize*o.BatchRecords), 1),
		wake:           make(chan struct{}, 1),
		drained:        make(chan struct{}),
		used:           time.Now(),
		ledger:         newLedger(topic, &o),
		keyed:          make(map[int32]*backlog),
		inFlight:       make(map[int32]bool),
		partitioner:    newPartitioner(o.BatchRecords, int64(o.BatchBytes-batchOverhead)),
	}
	p.status = newStatus(topic, pool.Log, n, func() int64 { return p.totals().Buffered })
	p.status.failed = access.Failed
	p.cluster = cluster.New(p.clusterOptions(access))
	p.status.servers, p.status.redact = p.cluster.Addr().String(), access.Redact
	return p
}

func (p *Producer) clusterOptions(access Access) cluster.Options {
	o := &p.o
	return cluster.Options{
		Servers:        o.Servers,
		Topics:         []string{p.topic},
		TLS:            access.TLS,
		SASL:           access.SASL,
		Acks:           o.Acks,
		RequestTimeout: o.RequestTimeout,
		Timeout:        o.Timeout,
		Keepalive:      o.Keepalive,
		MaxAttempts:    o.MaxAttempts,
		Backoff:        o.Backoff,
		WaitForBroker:  o.Async,
		Observer:       observer{p},
	}
}

// newWriter returns the Writer of a dispatcher. Each call hands it one whole batch, so it
// does not linger.
func (p *Producer) newWriter() *kafka.Writer {
	return &kafka.Writer{
		Addr:         p.cluster.Addr(),
		Transport:    p.cluster,
		Balancer:     assigned{},
		RequiredAcks: kafka.RequiredAcks(p.o.Acks),
		MaxAttempts:  1, // the cluster makes all of them, and bounds each
		BatchSize:    p.partitioner.maxRecords,
		BatchBytes:   p.partitioner.maxBytes,
		BatchTimeout: 1, // 0 means kafka-go's default
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
	if !p.o.Async {
		q.done = make(chan error, 1)
	}
	if err := p.accept(&q); err != nil || p.o.Async {
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
		p.ledger.Rejected[TooLarge]++
		return &TooLargeError{int(size + Overhead), int(p.limit)}
	case p.closed:
		p.ledger.Rejected[ShuttingDown]++
		return ErrClosed
	case p.ledger.Buffered.Records >= int64(p.o.BufferRecords), p.ledger.Buffered.Bytes+size > p.o.BufferBytes:
		p.ledger.Rejected[BufferFull]++
		p.status.refuse(q.time, ErrFull)
		return ErrFull
	case !p.memory.Take(memoryOf(size)):
		p.ledger.Rejected[MemoryFull]++
		p.status.refuse(q.time, memory.ErrFull)
		return memory.ErrFull
	}
	p.ledger.accept(size)
	q.refusals = p.refusals
	p.enqueue(*q)
	return nil
}

// abandonTime is how long close waits for batches in flight to end without an answer.
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
	}
	p.cluster.Close(undelivered)
	select {
	case <-p.drained:
	case <-time.After(abandonTime):
	}
	p.status.close()
	if p.done != nil {
		p.done()
	}
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	s := p.totals()
	return s.Undelivered + s.Buffered
}

// needsMetadata reports whether metadata is to be kept fresh while no record needs it. A
// producer without records has no use for it, and once its last instance is gone it only
// delivers what it has.
func (p *Producer) needsMetadata() bool {
	idle, buffered := p.unused()
	return buffered || p.shares.Load() > 0 && idle < cluster.MetadataTTL
}

// unused returns for how long nothing was sent, and whether records are buffered.
func (p *Producer) unused() (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.used), p.ledger.Buffered.Records > 0
}

// topicStats returns the counts of the topic, and of the connections.
func (p *Producer) topicStats() (TopicStats, ConnectionStats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.ledger.TopicStats
	if !p.ended {
		s.Buffers = []BufferStats{p.ledger.buffer(p.shares.Load() == 0)}
	}
	return s, p.connected
}

// settled reports whether the counts of a closed producer will not change any more.
func (p *Producer) settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended && p.ledger.Buffered.Records == 0 && p.connected.Opened == p.connected.Closed
}

func (p *Producer) totals() (t Totals) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.add(&p.ledger.TopicStats)
	return t
}
