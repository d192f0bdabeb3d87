// Package producer delivers records to Kafka by kafka-go's Writer: with a
// bound on what is in memory, one fate for each record, and no caller that ever
// waits for a broker without having asked to.
package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
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

// Producer delivers the records of all instances whose configurations say the
// same about Kafka. Its methods may be called from many goroutines at once.
type Producer struct {
	cfg       *config.Config
	writer    *kafka.Writer
	balancer  *balancer // the Writer's
	transport *transport
	status    *status
	metrics   *metrics.Producer
	done      func() // called when all is over; may be nil

	limit  int64         // of a record's bytes, with its envelope
	batch  int64         // that many waiting records are handed over at once
	gather time.Duration // fewer ones at the latest after that time; 0: at once

	// A sender waits for nobody: what senders share is changed without a lock.
	room   room // of the buffer: what waits, and what is with the Writer
	counts counts
	closed atomic.Bool
	used   atomic.Int64 // when the last record was sent, in ns since made
	made   time.Time
	shares atomic.Int64 // that instances have in it

	// See waiting.go.
	waiting  line          // records for the Writer
	ready    atomic.Bool   // the layout is known
	refusals atomic.Int32  // counts the looks for the layout that brokers refused
	busy     atomic.Bool   // somebody hands over, or looks for the layout
	idle     chan struct{} // for close, which waits until nobody is busy
	alarm    *time.Timer   // has the waiting records handed over; a sender's, set for its own record
	alarmed  atomic.Bool   // it is set
	rest     *time.Timer   // likewise, set by who was busy for the first record that is left
}

func newProducer(cfg *config.Config, access Access, m *metrics.Metrics, log *slog.Logger) *Producer {
	idle := 10 * time.Second   // of a connection
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
		resetPause:     minPause,
		patient:        cfg.Async,
		patience:       patience,
		refused:        access.Refused,
		status:         newStatus(cfg.Topic, log),
		metrics:        counts,
		maxAttempts:    max(cfg.MaxAttempts, 1),
	}
	t.dialer = newDialer(cfg, counts)
	t.dialer.tls = access.TLS
	t.loans.Store(newLoan())
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	if cfg.KeepaliveEnabled {
		idle = max(cfg.Keepalive.Duration(), time.Millisecond)
	}
	login := t.dialer.login(access.SASL)
	p := &Producer{cfg: cfg, transport: t, status: t.status, metrics: counts, done: access.Release,
		limit: min(int64(cfg.BytesPerRequest), cfg.BufferedBytes+Overhead), batch: 1,
		room: newRoom(cfg.BufferedMessages, cfg.BufferedBytes), made: time.Now(), idle: make(chan struct{}, 1)}
	t.open = func(number uint64) *connections {
		c := &connections{servers: t.servers, number: number, dialer: t.dialer, needed: p.needsLayout}
		c.Transport = &kafka.Transport{
			Dial:           c.dial,
			DialTimeout:    cfg.Timeout.Duration(),
			IdleTimeout:    idle,
			MetadataTTL:    layoutAge,
			MetadataTopics: []string{cfg.Topic},
			ClientID:       "kafka-upstream",
			SASL:           login,
			Context:        t.ctx,
		}
		return c
	}
	t.conns = t.open(0)
	t.status.failed = access.Failed
	if cfg.Async {
		p.batch = int64(cfg.MessagesPerRequest)
		p.gather = linger - min(linger/8, maxFlush)
	}
	p.waiting.init()
	p.alarm = time.AfterFunc(time.Hour, func() { p.alarmed.Store(false); p.ring() })
	p.alarm.Stop()
	p.rest = time.AfterFunc(time.Hour, p.ringForRest)
	p.rest.Stop()

	backoff := max(cfg.Backoff.Duration(), 1) // 0 means kafka-go's default
	batchBytes := int64(cfg.BytesPerRequest - batchOverhead)
	p.balancer = newBalancer(cfg.MessagesPerRequest, batchBytes)
	p.writer = &kafka.Writer{
		Addr:            t.servers,
		Transport:       t,
		Balancer:        p.balancer,
		RequiredAcks:    kafka.RequiredAcks(cfg.Acks),
		MaxAttempts:     t.maxAttempts,
		WriteBackoffMin: backoff,
		WriteBackoffMax: backoff,
		BatchSize:       cfg.MessagesPerRequest,
		BatchBytes:      batchBytes,
		BatchTimeout:    linger - p.gather, // of a batch that is not full; its records have waited for gather
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

// accept puts the record into the buffer, if it has room.
func (p *Producer) accept(r *Record, t *ticket) error {
	n := int64(len(r.Key) + len(r.Value))
	now := r.Time
	if now.IsZero() {
		now = time.Now()
	}
	p.used.Store(int64(now.Sub(p.made)))
	if n+Overhead > p.limit {
		p.refuse(metrics.TooLarge)
		return &TooLargeError{int(n + Overhead), int(p.limit)}
	}
	if p.closed.Load() {
		p.refuse(metrics.ShuttingDown)
		return ErrClosed
	}
	// Who closes p does so first, and then waits for all that is announced: he sees
	// this record, or its sender sees that p is closed.
	p.waiting.announce(amountOf(1, n))
	if p.closed.Load() {
		p.waiting.withdraw(amountOf(1, n))
		p.refuse(metrics.ShuttingDown)
		return ErrClosed
	}
	if !p.room.take(n) {
		p.waiting.withdraw(amountOf(1, n))
		p.refuse(metrics.BufferFull)
		p.status.refuse(now)
		return ErrFull
	}
	p.counts.accepted.Add(1)
	p.metrics.Accepted(n) // before it can meet its fate
	p.waiting.put(r, now, p.refusals.Load(), t)
	p.attend()
	return nil
}

func (p *Producer) refuse(why metrics.Reason) {
	p.counts.refused.Add(1)
	p.metrics.Refused(why)
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
	fate := &p.counts.delivered
	switch {
	case err == nil:
		p.metrics.Delivered(len(messages), bytes)
	case errors.Is(err, errAbandoned):
		fate = &p.counts.left
		p.metrics.Left(len(messages), bytes)
	default:
		fate = &p.counts.failed
		p.metrics.Failed(err, len(messages), bytes)
		if p.cfg.Async { // else the sender is told
			p.status.lose(len(messages), p.transport.placeOf(messages[0], err), err)
		}
	}
	fate.Add(int64(len(messages)))
	p.room.giveBack(amountOf(len(messages), bytes))
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
	if p.closed.Swap(true) {
		return 0
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.handOverLast()     // or abandon, when t.ctx ends
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

// News returns what has to be said in Kong's error log: how many records were
// lost or refused since when and why, or that they wait. "" is nothing; there
// is at most one line per second.
func (p *Producer) News() string {
	if !p.status.news.Load() {
		return ""
	}
	return p.status.kong(p.room.used().records())
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
	return time.Since(p.made) - time.Duration(p.used.Load()), p.room.used() > 0
}

func size(m *kafka.Message) int64 { return int64(len(m.Key) + len(m.Value)) }
