// Package producer delivers records to Kafka by kafka-go's Writer: with a
// bound on what is in memory, one fate for each record, and no caller that ever
// waits for a broker without having asked to.
package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/metrics"
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

// Record is one record. The producer owns its bytes once Send was called.
type Record struct {
	Topic string
	Key   []byte // nil: any partition
	Value []byte
}

// Stats counts the records that were handed to a producer. Each accepted record
// is buffered, or has met one fate:
//
//	Accepted = Delivered + Failed + Left + Buffered
type Stats struct {
	Accepted      int64 // into the buffer
	Refused       int64 // not accepted
	Delivered     int64 // acknowledged as configured; with acks 0, sent
	Failed        int64 // given up
	Left          int64 // given up at shutdown
	Buffered      int64 // waiting or on their way
	BufferedBytes int64 // keys and values of these
}

// Producer delivers the records of all instances whose configurations say the
// same about Kafka. Its methods may be called from many goroutines at once.
type Producer struct {
	cfg       *config.Config
	writer    *kafka.Writer
	transport *transport
	status    *status
	metrics   *metrics.Producer
	done      func() // called when all is over; may be nil

	records atomic.Int64 // in the buffer
	bytes   atomic.Int64

	accepted, refused, delivered, failed, left atomic.Int64

	used atomic.Int64 // last Send, Unix nanoseconds

	// mu is held for reading by every Send until its record is with the Writer:
	// none may be on its way there when the Writer is closed, which can hang
	// for ever then. It guards:
	mu      sync.RWMutex
	closed  bool
	started bool      // somebody looks for the layout, or has handed it over
	ready   bool      // the layout is known, and nobody waits for it
	waiting []arrival // records for the Writer as soon as the layout is known
	round   int       // counts the looks for the layout that brokers refused

	looking sync.WaitGroup // the goroutine that looks for the layout
}

// waiter gets the fate of a record that its sender waits for.
type waiter chan error

func newProducer(cfg *config.Config, access Access, m *metrics.Metrics, log *slog.Logger) *Producer {
	const idle = 10 * time.Second
	linger := time.Millisecond // of a record whose sender waits
	if cfg.Async {
		linger = max(cfg.FlushTimeout.Duration(), time.Millisecond)
	}
	counts := m.Producer(cfg.Topic, cfg.Acks, metrics.Limits{
		Records: int64(cfg.BufferedMessages), Bytes: cfg.BufferedBytes, Linger: linger,
	})
	t := &transport{
		servers:        newServers(cfg.BootstrapServers),
		topic:          cfg.Topic,
		requestTimeout: cfg.RequestTimeout.Duration(),
		attempt:        2*cfg.Timeout.Duration() + time.Second, // connect, then send and be answered
		pause:          max(cfg.Backoff.Duration(), minPause),
		patient:        cfg.Async,
		patience:       patience,
		refused:        access.Refused,
		status:         newStatus(cfg.Topic, log),
		metrics:        counts,
		maxAttempts:    max(cfg.MaxAttempts, 1),
	}
	t.dialer = newDialer(cfg, counts)
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	t.inner = &kafka.Transport{
		Dial:           t.dialer.dial,
		DialTimeout:    cfg.Timeout.Duration(),
		IdleTimeout:    idle,
		MetadataTTL:    layoutAge,
		MetadataTopics: []string{cfg.Topic},
		ClientID:       "kafka-upstream",
		TLS:            access.TLS,
		SASL:           t.dialer.login(access.SASL),
		Context:        t.ctx,
	}
	if cfg.KeepaliveEnabled {
		t.inner.IdleTimeout = max(cfg.Keepalive.Duration(), time.Millisecond)
	}
	t.status.failed = access.Failed
	p := &Producer{cfg: cfg, transport: t, status: t.status, metrics: counts, done: access.Release}
	p.used.Store(time.Now().UnixNano())

	backoff := max(cfg.Backoff.Duration(), 1) // 0 means kafka-go's default
	batchBytes := int64(cfg.BytesPerRequest - batchOverhead)
	p.writer = &kafka.Writer{
		Addr:            t.servers,
		Transport:       t,
		Balancer:        newBalancer(cfg.MessagesPerRequest, batchBytes),
		RequiredAcks:    kafka.RequiredAcks(cfg.Acks),
		MaxAttempts:     t.maxAttempts,
		WriteBackoffMin: backoff,
		WriteBackoffMax: backoff,
		BatchSize:       cfg.MessagesPerRequest,
		BatchBytes:      batchBytes,
		BatchTimeout:    linger,
		// The transport bounds each attempt itself; a patient one may hold it
		// for as long as no broker can be reached.
		WriteTimeout: 1000 * time.Hour,
		Async:        true, // a sender that waits does so by its waiter
		Completion:   p.completeBatch,
	}
	return p
}

// Send hands a record over. With producer_async it returns as soon as the
// record is in the buffer, at once in any case; without, when the record is
// acknowledged as configured or ctx ends, whose error it returns then: the
// record may still be delivered in that case. Other errors are [ErrFull],
// [ErrClosed], a [*TooLargeError] and, without producer_async, the reason for
// which the record was given up.
func (p *Producer) Send(ctx context.Context, r Record) error {
	m := kafka.Message{Topic: r.Topic, Key: r.Key, Value: r.Value, Time: time.Now()}
	if p.cfg.Async {
		return p.accept(m)
	}
	w := make(waiter, 1)
	m.WriterData = w
	if err := p.accept(m); err != nil {
		return err
	}
	select {
	case err := <-w:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *Producer) accept(m kafka.Message) error {
	p.used.Store(m.Time.UnixNano())
	limit := min(int64(p.cfg.BytesPerRequest), p.cfg.BufferedBytes+Overhead)
	if n := size(m) + Overhead; n > limit {
		p.refuse(metrics.TooLarge)
		return &TooLargeError{int(n), int(limit)}
	}
	if !p.reserve(size(m)) {
		p.refuse(metrics.BufferFull)
		p.status.refuse(ErrFull)
		return ErrFull
	}
	if !p.enqueue(m) {
		p.release(1, size(m))
		p.refuse(metrics.ShuttingDown)
		return ErrClosed
	}
	return nil
}

func (p *Producer) refuse(r metrics.Reason) {
	p.refused.Add(1)
	p.metrics.Refused(r)
}

// reserve makes room for one record in the buffer. The limits are exact: they
// are never passed, and no record is refused that fits.
func (p *Producer) reserve(n int64) bool {
	if !increase(&p.records, 1, int64(p.cfg.BufferedMessages)) {
		return false
	}
	if !increase(&p.bytes, n, p.cfg.BufferedBytes) {
		p.records.Add(-1)
		return false
	}
	return true
}

func increase(v *atomic.Int64, n, limit int64) bool {
	for {
		old := v.Load()
		if old+n > limit {
			return false
		}
		if v.CompareAndSwap(old, old+n) {
			return true
		}
	}
}

func (p *Producer) release(records int, bytes int64) {
	p.bytes.Add(-bytes)
	p.records.Add(-int64(records))
}

// enqueue accepts the record, unless the producer is closed.
func (p *Producer) enqueue(m kafka.Message) bool {
	p.mu.RLock()
	if p.ready && !p.closed {
		defer p.mu.RUnlock()
		p.write(m)
		return true
	}
	p.mu.RUnlock()

	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return false
	case p.ready: // since we looked
		p.write(m)
		return true
	}
	p.count(m)
	if !p.started {
		p.started = true
		p.looking.Go(p.look)
	}
	p.waiting = append(p.waiting, arrival{m, p.round})
	return true
}

// count counts an accepted record, before it can meet its fate.
func (p *Producer) count(m kafka.Message) {
	p.accepted.Add(1)
	p.metrics.Accepted(size(m))
}

// write gives the record to the Writer. The caller holds mu.
func (p *Producer) write(m kafka.Message) {
	p.count(m)
	if err := p.writer.WriteMessages(p.transport.ctx, m); err != nil { // ruled out by what was checked before
		p.complete([]kafka.Message{m}, err)
	}
}

// completeBatch learns the fate of a batch of the Writer's.
func (p *Producer) completeBatch(messages []kafka.Message, err error) {
	if len(messages) > 1 && tooLarge(err) {
		p.split(messages)
		return
	}
	var bytes int64
	for i := range messages {
		bytes += size(messages[i])
	}
	p.metrics.Batch(len(messages), bytes)
	p.complete(messages, err)
}

// complete learns the fate of records: it is where each record's ends.
func (p *Producer) complete(messages []kafka.Message, err error) {
	var bytes int64
	for i := range messages {
		bytes += size(messages[i])
	}
	n := int64(len(messages))
	switch {
	case err == nil:
		p.delivered.Add(n)
		p.metrics.Delivered(len(messages), bytes)
	case errors.Is(err, errAbandoned):
		p.left.Add(n)
		p.metrics.Left(len(messages), bytes)
	default:
		p.failed.Add(n)
		p.metrics.Failed(err, len(messages), bytes)
		if p.cfg.Async { // else the sender is told
			p.status.lose(len(messages), p.transport.placeOf(messages[0], err), err)
		}
	}
	p.release(len(messages), bytes)
	for i := range messages {
		if w, ok := messages[i].WriterData.(waiter); ok {
			w <- err
		}
	}
}

// abandonTime is how long the Writer gets to notice that it is to give up.
const abandonTime = 200 * time.Millisecond

// errAbandoned is the fate of the records that a drain had no time for.
var errAbandoned = errors.New("the server was shut down before the record was delivered")

// close lets the records in the buffer be delivered until ctx ends, and returns
// how many were left then. Records that are sent from now on are refused.
func (p *Producer) close(ctx context.Context) int64 {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	p.mu.Unlock()
	if again {
		return 0
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.looking.Wait()     // whatever waited is with the Writer, or abandoned
		_ = p.writer.Close() // sends what is in batches at once
	}()
	select {
	case <-done:
	case <-ctx.Done():
		p.transport.cancel(errAbandoned)
		select { // no attempt goes on, but the Writer may sleep before its next
		case <-done:
		case <-time.After(abandonTime):
		}
	}
	p.transport.close(errAbandoned)
	p.metrics.Close()
	if p.done != nil {
		p.done()
	}
	return p.left.Load() + p.records.Load()
}

// Stats returns the counts at this moment. They are read one after another, so
// while records are sent their sum may be off by those on their way.
func (p *Producer) Stats() Stats {
	return Stats{
		Accepted: p.accepted.Load(), Refused: p.refused.Load(), Delivered: p.delivered.Load(),
		Failed: p.failed.Load(), Left: p.left.Load(),
		Buffered: p.records.Load(), BufferedBytes: p.bytes.Load(),
	}
}

// News returns what has to be said in Kong's error log: how many records were
// lost or refused since when and why, or that they wait. "" is nothing; there
// is at most one line per second.
func (p *Producer) News() string { return p.status.kong(p.records.Load()) }

func size(m kafka.Message) int64 { return int64(len(m.Key) + len(m.Value)) }
