// Package producer delivers records to Kafka by kafka-go's Writer. Its memory is bounded,
// each record is delivered, failed or undelivered exactly once, and Send waits for a broker
// only without Options.Async.
package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/producer/cluster"
	rec "kafka-upstream/internal/record" // tests have a function named record
)

// Errors of Send. The record was not accepted.
var (
	ErrFull   = errors.New("the buffer is full")
	ErrClosed = errors.New("the producer is closed")
)

// TooLargeError is the error of a record that no produce request may hold.
type TooLargeError struct{ Size, Limit int }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the record has %d bytes with its envelope, and producer_request_limits_bytes_per_request allows %d", e.Size, e.Limit)
}

// Upper bounds of the overheads of a record batch (format v2, KIP-98): of the batch itself,
// and of each record in it. kafka-go counts only the second.
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

// Record is one record. Its bytes belong to the producer once Send was called. Its headers
// are not sent yet.
type Record = rec.Record

// Producer delivers records to any number of topics, with the same settings. Its methods
// may be called from many goroutines at once.
type Producer struct {
	o       Options
	cluster *cluster.Cluster
	access  Access
	memory  *memory.Limit
	logger  *slog.Logger
	pending *pendingLines

	limit          int64         // of a record's bytes, with its envelope
	idle           time.Duration // how long connections are kept after the last record
	maxInFlight    int           // batches
	maxUnavailable time.Duration // how long a record waits for a topic that brokers do not know

	wake     chan struct{}  // wakes the dispatcher
	drained  chan struct{}  // closed once p is closed and its dispatcher has ended
	requests sync.WaitGroup // for metadata

	mu             sync.Mutex
	topics         map[string]*topic
	records, bytes quota // of the buffer
	connections    ConnectionStats
	shares         int       // how many instances use the producer
	used           time.Time // when a record was last sent
	closed         bool
	ended          bool       // close has returned
	due            topicQueue // topics that the dispatcher has something to do for
	backlogged     int        // records in the backlogs of all topics
	inFlight       int        // batches
	renewWriter    bool       // a topic was forgotten, and the Writer keeps a goroutine for each of its partitions

	dispatching      bool      // the dispatcher runs
	asleep           bool      // the dispatcher must be woken for a full batch, or a record that is due before wakeAt
	wakeAt           time.Time // when the dispatcher wakes by itself
	wakeOnCompletion bool      // the dispatcher must be woken for a completed batch, too

	health  health // of what all topics have in common: the brokers and the login
	probing bool   // probe runs

	messages []kafka.Message // of the current batch; the dispatcher's
}

func newProducer(o Options, access Access, pool *PoolOptions, n *pendingLines) *Producer {
	if !o.Async {
		o.Linger = 0
	}
	p := &Producer{
		o: o, access: access, memory: pool.Memory, logger: pool.Log, pending: n,
		limit:          min(int64(o.BatchBytes), o.BufferBytes+Overhead),
		idle:           max(cluster.MetadataTTL, o.Keepalive),
		maxInFlight:    max(maxInFlightBytes/(messageSize*o.BatchRecords), 1),
		maxUnavailable: cluster.MaxUnavailable,
		wake:           make(chan struct{}, 1),
		drained:        make(chan struct{}),
		topics:         make(map[string]*topic),
		records:        quota{limit: int64(o.BufferRecords)},
		bytes:          quota{limit: o.BufferBytes},
		used:           time.Now(),
	}
	p.cluster = cluster.New(p.clusterOptions())
	return p
}

func (p *Producer) clusterOptions() cluster.Options {
	o := &p.o
	return cluster.Options{
		Servers:        o.Servers,
		TLS:            p.access.TLS,
		SASL:           p.access.SASL,
		Acks:           o.Acks,
		Compression:    o.Compression,
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
		BatchSize:    p.o.BatchRecords,
		BatchBytes:   int64(p.o.BatchBytes - batchOverhead),
		BatchTimeout: 1, // 0 means kafka-go's default
		WriteTimeout: 1000 * time.Hour,
		Async:        true, // senders that wait have a channel of their own
		Completion:   p.completed,
	}
}

// Send puts a record into the buffer, for the topic that it names. With Options.Async it
// returns at once. Otherwise it returns when the record is acknowledged as configured, or
// when ctx ends, with the cause of that; the record may still be delivered then. The record
// was not accepted if the error is [ErrFull], [memory.ErrFull], [ErrClosed], [ErrUnhealthy] or a
// [*TooLargeError]. Without Async, any other error is why the record was given up.
func (p *Producer) Send(ctx context.Context, r Record) error {
	q := queued{key: r.Key, value: r.Value, time: r.Time}
	if q.time.IsZero() {
		q.time = time.Now()
	}
	if !p.o.Async {
		q.done = make(chan error, 1)
	}
	if err := p.accept(r.Topic, &q); err != nil || p.o.Async {
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
func (p *Producer) accept(topic string, q *queued) error {
	size := q.size()
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.topic(topic)
	p.used, t.used = q.time, q.time
	switch {
	case size+Overhead > p.limit:
		t.ledger.Rejected[TooLarge]++
		return &TooLargeError{int(size + Overhead), int(p.limit)}
	case p.closed:
		t.ledger.Rejected[ShuttingDown]++
		return ErrClosed
	case p.unhealthy(t):
		t.ledger.Rejected[Unhealthy]++
		t.log.recordsRejected(q.time, ErrUnhealthy)
		p.startProbes()
		return ErrUnhealthy
	case !p.hasRoom(t, size):
		t.ledger.Rejected[BufferFull]++
		t.log.recordsRejected(q.time, ErrFull)
		return ErrFull
	case !p.memory.Take(memoryOf(size)):
		t.ledger.Rejected[MemoryFull]++
		t.log.recordsRejected(q.time, memory.ErrFull)
		return memory.ErrFull
	}
	p.reserve(t, Amount{1, size})
	t.ledger.accept(size)
	q.rejections = t.rejections
	p.enqueue(t, *q)
	return nil
}

// abandonTime is how long close waits for batches in flight to end without an answer.
const abandonTime = 200 * time.Millisecond

// errAbandoned is the error of records that were not delivered before the drain timeout.
var errAbandoned = errors.New("the server was shut down before the record was delivered")

// close drains the buffer until ctx ends, gives up the records that are undelivered then,
// with the error undelivered, and returns their number. Records that are sent from now on
// are rejected.
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
	p.requests.Wait()
	p.mu.Lock()
	p.ended = true
	for _, t := range p.topics {
		t.log.close()
	}
	p.mu.Unlock()
	if p.access.Release != nil {
		p.access.Release()
	}
	s := p.totals()
	return s.Undelivered + s.Buffered
}

// needsMetadata reports whether metadata must be kept fresh in the background: while there
// are records, and for cluster.MetadataTTL after the last one if an instance uses p.
func (p *Producer) needsMetadata() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.records.used > 0 || p.shares > 0 && time.Since(p.used) < cluster.MetadataTTL
}

// addTo adds the counts of all topics to s. indexOf returns the index of a topic there.
func (p *Producer) addTo(s *Stats, indexOf func(topic string) int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Connections.add(&p.connections)
	for _, t := range p.topics {
		i := indexOf(t.name) // which may move s.Topics
		to := &s.Topics[i]
		to.add(&t.ledger.TopicStats)
		if !p.ended {
			to.Buffers = append(to.Buffers, p.bufferStats(t))
		}
	}
}

// settled reports whether the counts of a closed producer will not change any more.
func (p *Producer) settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended && p.records.used == 0 && p.connections.Opened == p.connections.Closed
}

// totals returns the sums over the topics.
func (p *Producer) totals() (sum Totals) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.topics {
		sum.add(&t.ledger.TopicStats)
	}
	return sum
}
