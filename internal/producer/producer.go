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

// Cause classifies the error of a record that was accepted, as in the spool of a process with
// other settings.
func (e *TooLargeError) Cause() error { return kafka.MessageSizeTooLarge }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the record has %d bytes with its envelope, and producer_request_limits_bytes_per_request allows %d", e.Size, e.Limit)
}

// Upper bounds of the overheads of a record batch (format v2, KIP-98): of the batch itself,
// and of each record in it. kafka-go counts only the second.
const (
	batchOverhead  = 61
	recordOverhead = 23
)

// Overhead is how many bytes smaller than a produce request's limit a record's key, value
// and headers must be; each header counts HeaderOverhead besides its bytes.
const Overhead = batchOverhead + recordOverhead

// HeaderOverhead is an upper bound of what a header takes in a record batch beside its key and
// value: two lengths of up to 4 bytes each, for less than 128 MiB, and its share of the number
// of headers.
const HeaderOverhead = 10

const (
	// perRecord is the overhead of a record until it is completed: its entry in the backlog,
	// its message, and its share of the batch in flight.
	perRecord = 256
	perHeader = 40 // of a kafka.Header, beside its bytes
)

// memoryOf returns the memory that a record of that size takes; Go's allocator rounds sizes
// up by at most an eighth.
func memoryOf(size int64, headers int) int64 {
	size += perHeader * int64(headers)
	return perRecord + size + size/8
}

// Record is one record. Its bytes belong to the producer once Send was called, and must not
// change any more; several records may share them.
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
	sources *sources // of the pool, with Options.Durable; else nil
	wording wording

	started        time.Time
	hash           func(key []byte) uint32 // by which a key chooses its partition; nil: it does not
	limit          int64                   // of a record's bytes, with its envelope
	idle           time.Duration           // how long connections are kept after the last record
	maxInFlight    int                     // batches
	maxUnavailable time.Duration           // how long a record waits for a topic that brokers do not know

	wake     chan struct{}  // wakes the dispatcher
	drained  chan struct{}  // closed once p is closed and its dispatcher has ended
	requests sync.WaitGroup // for metadata

	mu             sync.Mutex
	topics         map[string]*topic
	records, bytes quota // of the buffer
	connections    ConnectionStats
	shares         int            // how many instances use the producer
	claims         map[string]int // how many of them use a topic, by its name; never 0
	released       time.Time      // when shares was last 0
	used           time.Time      // when a record was last sent
	closed         bool
	ended          bool       // close has returned
	due            topicQueue // topics that the dispatcher has something to do for
	backlogged     int        // records in the backlogs of all topics
	inFlight       int        // batches
	renewWriter    bool       // a topic was forgotten, and the Writer keeps a goroutine for each of its partitions

	removeUnused func()      // has the pool look for topics without a share, and for their records; nil: there is no pool
	timer        *time.Timer // runs removeUnused at removeAt
	removeAt     time.Time   // zero: never

	dispatching      bool      // the dispatcher runs
	asleep           bool      // the dispatcher must be woken for a full batch, or a record that is due before wakeAt
	wakeAt           time.Time // when the dispatcher wakes by itself
	wakeOnCompletion bool      // the dispatcher must be woken for a completed batch, too

	ready []*topic // whose source may have something to take
	taker bool     // the goroutine that takes records from the sources runs

	health  health // of what all topics have in common: the brokers and the login
	probing bool   // probe runs

	messages []kafka.Message // of the current batch; the dispatcher's
	resuming *resumption     // the current batch, if it is one of a former process; the dispatcher's
}

func newProducer(o Options, access Access, pool *PoolOptions, n *pendingLines) *Producer {
	if !o.Async {
		o.Linger = 0
	}
	p := &Producer{
		o: o, access: access, memory: pool.Memory, logger: pool.Log, pending: n,
		started:        time.Now(),
		hash:           hashOf(o.Partitioner),
		limit:          min(int64(o.BatchBytes), o.BufferBytes+Overhead),
		idle:           max(cluster.MetadataTTL, o.Keepalive),
		maxInFlight:    max(maxInFlightBytes/(messageSize*o.BatchRecords), 1),
		maxUnavailable: cluster.MaxUnavailable,
		wake:           make(chan struct{}, 1),
		drained:        make(chan struct{}),
		topics:         make(map[string]*topic),
		claims:         make(map[string]int),
		records:        quota{limit: int64(o.BufferRecords), least: 1},
		bytes:          quota{limit: o.BufferBytes, least: min(int64(o.BatchBytes), o.BufferBytes/16)},
		used:           time.Now(),
	}
	p.cluster = cluster.New(p.clusterOptions())
	p.wording = wording{p.cluster.Addr().String(), access.Redact}
	return p
}

func (p *Producer) clusterOptions() cluster.Options {
	o := &p.o
	return cluster.Options{
		Servers:        o.Servers,
		TLS:            p.access.TLS,
		SASL:           p.access.SASL,
		Acks:           o.Acks,
		Idempotent:     o.Idempotent,
		Compression:    o.Compression,
		RequestTimeout: o.RequestTimeout,
		Timeout:        o.Timeout,
		Keepalive:      o.Keepalive,
		MaxAttempts:    o.MaxAttempts,
		Backoff:        o.Backoff,
		WaitForBroker:  o.Async,
		Observer:       observer{p},
		Journal:        p.journal(),
	}
}

// journal returns that of the cluster, nil if there is none.
func (p *Producer) journal() cluster.Journal {
	if p.o.Durable && p.o.Idempotent {
		return journal{p}
	}
	return nil
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

// abandonTime is how long close waits for batches in flight to end without an answer.
const abandonTime = 200 * time.Millisecond

// errAbandoned is the error of records that were not delivered before the drain timeout.
var errAbandoned = errors.New("the server was shut down before the record was delivered")

// close drains the buffer until ctx ends, gives up the records that are undelivered then,
// with the error undelivered, and returns their number. Records that are sent from now on
// are rejected. With Options.Durable it drains the sources, too, and no record is given up:
// what is undelivered stays in the spool.
func (p *Producer) close(ctx context.Context, undelivered error) int64 {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return 0
	}
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	if p.dispatching {
		p.signal()
	} else if p.startTaking(); p.draining() {
		p.startDispatching()
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
	if p.sources != nil {
		p.sources.leaveAll(p)
		return 0
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
