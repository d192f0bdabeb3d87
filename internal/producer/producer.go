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
	"time"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/metrics"
	"kafka-upstream/internal/values"
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
	Time  time.Time // of the request, which came a moment ago; zero: now
	Lent  bool      // Value is one of [values.Copy], for the producer to free
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

	limit  int64         // of a record's bytes, with its envelope
	group  int           // so many waiting records are handed over at once
	gather time.Duration // fewer ones at the latest after that time; 0: at once

	handing sync.WaitGroup // the goroutine that hands over, or looks for the layout

	mu      sync.Mutex // held for moments only, and never while anything is waited for
	closed  bool
	ready   bool        // the layout is known
	busy    bool        // the goroutine is there
	round   int32       // counts the looks for the layout that brokers refused
	waiting queue       // records for the Writer
	alarm   *time.Timer // has the waiting records handed over
	stats   Stats       // the buffered records are those that wait and those with the Writer
	used    time.Time   // of the last Send
}

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
	t.loans.Store(newLoan())
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
	p := &Producer{cfg: cfg, transport: t, status: t.status, metrics: counts, done: access.Release,
		limit: min(int64(cfg.BytesPerRequest), cfg.BufferedBytes+Overhead), group: 1, used: time.Now()}
	if cfg.Async {
		p.group = min(cfg.MessagesPerRequest, maxGroup)
		p.gather = min(linger/8, maxGather)
	}
	p.alarm = time.AfterFunc(time.Hour, p.ring)
	p.alarm.Stop()

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
		BatchTimeout:    linger - p.gather, // of the first record in the batch, which may have waited for gather
		// The transport bounds each attempt itself; a patient one may hold it
		// for as long as no broker can be reached.
		WriteTimeout: 1000 * time.Hour,
		Async:        true, // a sender that waits does so by its waiter
		Completion:   p.completed,
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
	t := &noTicket
	if r.Lent {
		t = p.transport.loans.Load()
	}
	if !p.cfg.Async {
		t = &ticket{loan: t.loan, fate: make(chan error, 1)}
	}
	if err := p.accept(&r, t); err != nil {
		if r.Lent {
			values.Free(r.Value)
		}
		return err
	}
	if p.cfg.Async {
		return nil
	}
	select {
	case err := <-t.fate:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// accept puts the record into the buffer, if it has room. The limits are exact:
// they are never passed, and no record is refused that fits.
func (p *Producer) accept(r *Record, t *ticket) error {
	n := int64(len(r.Key) + len(r.Value))
	now := r.Time
	if now.IsZero() {
		now = time.Now()
	}
	p.mu.Lock()
	p.used = now
	switch {
	case n+Overhead > p.limit:
		p.stats.Refused++
		p.mu.Unlock()
		p.metrics.Refused(metrics.TooLarge)
		return &TooLargeError{int(n + Overhead), int(p.limit)}
	case p.closed:
		p.stats.Refused++
		p.mu.Unlock()
		p.metrics.Refused(metrics.ShuttingDown)
		return ErrClosed
	case p.stats.Buffered >= int64(p.cfg.BufferedMessages) || p.stats.BufferedBytes+n > p.cfg.BufferedBytes:
		p.stats.Refused++
		p.mu.Unlock()
		p.metrics.Refused(metrics.BufferFull)
		p.status.refuse(now)
		return ErrFull
	}
	p.stats.Accepted++
	p.stats.Buffered++
	p.stats.BufferedBytes += n
	p.metrics.Accepted(n) // before it can meet its fate
	p.waiting.put(r, arrival{now, p.round, t})
	switch {
	case p.busy:
	case p.ready && !p.cfg.Async:
		p.handOverHere() // and mu is released
		return nil
	default:
		p.call()
	}
	p.mu.Unlock()
	return nil
}

// completed learns the fate of a batch of the Writer's.
func (p *Producer) completed(messages []kafka.Message, err error) {
	p.completeBatch(messages, err)
	if err == nil {
		giveBack(messages)
	}
}

// completeBatch learns the fate of a batch.
func (p *Producer) completeBatch(messages []kafka.Message, err error) {
	if len(messages) > 1 {
		if tooLarge(err) {
			p.split(messages)
			return
		}
		if refused, ok := errors.AsType[*recordsRefusedError](err); ok {
			p.sift(messages, refused)
			return
		}
	}
	p.completeWhole(messages, err)
}

// completeWhole learns the one fate of a batch.
func (p *Producer) completeWhole(messages []kafka.Message, err error) {
	var bytes int64
	for i := range messages {
		bytes += size(&messages[i])
	}
	p.metrics.Batch(len(messages), bytes)
	p.complete(messages, err)
}

// complete learns the fate of records: it is where each record's ends.
func (p *Producer) complete(messages []kafka.Message, err error) {
	var bytes int64
	for i := range messages {
		bytes += size(&messages[i])
	}
	n := int64(len(messages))
	fate := &p.stats.Delivered
	switch {
	case err == nil:
		p.metrics.Delivered(len(messages), bytes)
	case errors.Is(err, errAbandoned):
		fate = &p.stats.Left
		p.metrics.Left(len(messages), bytes)
	default:
		fate = &p.stats.Failed
		p.metrics.Failed(err, len(messages), bytes)
		if p.cfg.Async { // else the sender is told
			p.status.lose(len(messages), p.transport.placeOf(messages[0], err), err)
		}
	}
	p.mu.Lock()
	*fate += n
	p.stats.Buffered -= n
	p.stats.BufferedBytes -= bytes
	p.mu.Unlock()
	for i := range messages {
		if t := messages[i].WriterData.(*ticket); t.fate != nil {
			t.fate <- err
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
	p.alarm.Stop()
	if !again && !p.busy && p.waiting.records > 0 {
		p.handOver()
	}
	p.mu.Unlock()
	if again {
		return 0
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.handing.Wait()     // whatever waited is with the Writer, which is called no more, or abandoned
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
	s := p.Stats()
	return s.Left + s.Buffered
}

// Stats returns the counts at this moment.
func (p *Producer) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// News returns what has to be said in Kong's error log: how many records were
// lost or refused since when and why, or that they wait. "" is nothing; there
// is at most one line per second.
func (p *Producer) News() string {
	if !p.status.news.Load() {
		return ""
	}
	return p.status.kong(p.Stats().Buffered)
}

// idle returns for how long nothing was sent, and whether records are buffered.
func (p *Producer) idle() (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.used), p.stats.Buffered > 0
}
