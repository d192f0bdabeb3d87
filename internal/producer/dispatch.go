package producer

import (
	"context"
	"time"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/kafkaerr"
)

// The dispatcher is the one goroutine that calls kafka-go's Writer. It hands over whole
// batches, each for one partition, and none for a partition that has one in flight. So
// each partition keeps its order, records linger only in the backlog, and what cannot be
// delivered now stays there too, where it takes little more than its bytes: the Writer
// allocates a full batch (152 bytes a record) with the first record of each, and its
// queue is unbounded.
//
// The dispatcher runs while there are records, and for Producer.idle after the last one.
// An unused producer has no goroutine and no connection.

const (
	// maxInFlightBytes bounds what the Writer allocates for the batches in flight, not
	// counting their records' bytes. One batch may always be in flight.
	maxInFlightBytes = 16 << 20
	messageSize      = 152 // of a kafka.Message
	// early is how long before its linger is over a batch may be sent: no timer is set
	// for less.
	early = time.Millisecond / 2
)

func (p *Producer) dispatch() {
	var (
		writer = p.newWriter()
		ctx    = p.cluster.Context()
		ended  = ctx.Done()
		timer  = time.NewTimer(time.Hour)
		ticked = true // the sleep for one linger is over
	)
	defer timer.Stop()
	for {
		if ctx.Err() != nil {
			p.fail(func(*queued) bool { return true }, context.Cause(ctx))
			ended = nil // batches in flight end by themselves
		}
		p.mu.Lock()
		if p.backlogged > 0 && !p.known {
			p.mu.Unlock()
			p.awaitMetadata()
			continue
		}
		messages, wait := p.nextBatch(time.Now())
		if len(messages) > 0 {
			p.mu.Unlock()
			p.cluster.Refresh(p.topic)
			if err := writer.WriteMessages(ctx, messages...); err != nil { // ruled out by earlier checks
				p.completed(messages, err)
			}
			clear(messages) // they hold the bytes of records
			ticked = p.o.Linger == 0
			continue
		}
		if p.backlogged == 0 {
			if wait = p.idle; len(p.inFlight) == 0 {
				if wait = p.idle - time.Since(p.used); p.closed || wait <= 0 {
					break
				}
			}
			// A sleep of one linger ends in time for any record that comes, so no sender
			// has to wake the dispatcher while records keep coming.
			if p.wakeOnRecord = ticked; !ticked {
				wait, ticked = min(wait, p.o.Linger), true
			}
		}
		p.wakeOnFull = true
		p.mu.Unlock()
		timer.Reset(max(wait, early))
		select {
		case <-p.wake:
		case <-timer.C:
		case <-ended:
		}
	}
	// Here p.mu is held, and nothing is in flight. The next record starts another
	// dispatcher.
	p.dispatching = false
	p.cluster.CloseIdleConnections()
	closed := p.closed
	p.mu.Unlock()
	_ = writer.Close() // it holds no records
	if closed {
		close(p.drained)
	}
}

// enqueue adds a record to its backlog. It starts the dispatcher if there is none, and
// wakes it if it would sleep too long for this record. The caller holds p.mu.
func (p *Producer) enqueue(q queued) {
	b := p.backlogOf(q.key)
	due := b.len() == 0 || !p.full(b) // if it was before, its partition has a batch in flight
	b.push(q)
	p.backlogged++
	switch {
	case !p.dispatching:
		p.dispatching = true
		go p.dispatch()
	case p.wakeOnRecord, p.wakeOnFull && due && p.full(b):
		p.signal()
	}
}

// signal wakes the dispatcher. The caller holds p.mu.
func (p *Producer) signal() {
	p.wakeOnRecord, p.wakeOnFull, p.wakeOnCompletion = false, false, false
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// unassigned stands for the partition of keyed records until the metadata is known.
const unassigned = -1

// backlogOf returns the backlog for a key; nil means no key. The caller holds p.mu.
func (p *Producer) backlogOf(key []byte) *backlog {
	if key == nil {
		return &p.unkeyed
	}
	partition := int32(unassigned)
	if p.known {
		partition = partitionOf(key, p.cluster.Partitions(p.topic))
	}
	b := p.keyed[partition]
	if b == nil {
		b = new(backlog)
		p.keyed[partition] = b
	}
	return b
}

// full reports whether a batch of the backlog need not wait for more records.
func (p *Producer) full(b *backlog) bool {
	return p.o.Linger == 0 || b.len() >= p.partitioner.maxRecords || b.bytes >= p.partitioner.maxBytes
}

// nextBatch takes the records of a batch that is due and whose partition has none in
// flight, or returns how long to wait for one. The caller holds p.mu, and is the
// dispatcher.
func (p *Producer) nextBatch(now time.Time) (messages []kafka.Message, wait time.Duration) {
	wait = time.Hour
	due := func(b *backlog) bool {
		if b.len() == 0 {
			return false
		}
		rest := p.o.Linger - now.Sub(b.first().time)
		if p.closed || p.full(b) || rest <= early || rest > p.o.Linger { // more than linger: its time is in the future
			return true
		}
		wait = min(wait, rest)
		return false
	}
	p.wakeOnCompletion = p.closed
	free := len(p.inFlight) < p.maxInFlight
	maxRecords, maxBytes := p.partitioner.maxRecords, p.partitioner.maxBytes
	if b := &p.unkeyed; due(b) {
		if free {
			n, bytes := b.batch(maxRecords, maxBytes)
			if partition, ok := p.partitioner.choose(p.cluster.Partitions(p.topic), p.inFlight, n, bytes); ok {
				if k := p.keyed[partition]; k != nil && due(k) && k.first().time.Before(b.first().time) {
					b = k // or they would wait for as long as others come
					n, _ = b.batch(maxRecords, maxBytes)
				}
				return p.take(b, n, partition), 0
			}
		}
		p.wakeOnCompletion = true
	}
	for partition, b := range p.keyed {
		if !due(b) {
			continue
		}
		if free && !p.inFlight[partition] {
			n, _ := b.batch(maxRecords, maxBytes)
			return p.take(b, n, partition), 0
		}
		p.wakeOnCompletion = true
	}
	return nil, wait
}

// take returns the first n records of the backlog as messages to that partition, valid
// until the next call. The caller holds p.mu, and is the dispatcher.
func (p *Producer) take(b *backlog, n int, partition int32) []kafka.Message {
	p.inFlight[partition] = true
	p.messages = p.messages[:0]
	p.backlogged -= n
	b.take(n, func(q *queued) {
		p.messages = append(p.messages, q.message(p.topic, partition))
	})
	if b.len() == 0 && p.keyed[partition] == b {
		delete(p.keyed, partition)
	}
	return p.messages
}

// awaitMetadata requests the topic's metadata until the cluster has answered: without it,
// the Writer would block, or lose the records. It gives up when the backlog is empty, or
// when the producer is closed.
func (p *Producer) awaitMetadata() {
	ctx := p.cluster.Context()
	var since time.Time // when brokers began to say that the topic is not there
	for ctx.Err() == nil {
		err := p.cluster.Await(ctx, p.topic)
		if err == nil {
			p.status.fine()
			p.mu.Lock()
			p.known = true
			if b := p.keyed[unassigned]; b != nil {
				delete(p.keyed, unassigned)
				b.take(b.len(), func(q *queued) { p.backlogOf(q.key).push(*q) })
			}
			p.mu.Unlock()
			return
		}
		if ctx.Err() != nil {
			return
		}
		p.status.unknown(err)
		switch {
		case p.o.Async && kafkaerr.IsUnreachable(err): // records wait, and use up no attempt
			since = time.Time{}
		case p.o.Async && kafkaerr.IsMissingTopic(err):
			if since.IsZero() {
				since = time.Now()
			}
			if time.Since(since) > p.maxUnavailable { // an outage before it does not count
				p.fail(func(q *queued) bool { return time.Since(q.time) > p.maxUnavailable }, err)
			}
		default: // counts as an attempt for each record in the backlog
			p.mu.Lock()
			p.refusals++
			refusals := p.refusals
			p.mu.Unlock()
			p.fail(func(q *queued) bool { return refusals-q.refusals >= int32(p.o.MaxAttempts) }, err)
		}
		// Pause before the next request, and send none if no record needs it.
		if !p.cluster.Pause(ctx) {
			return
		}
		p.mu.Lock()
		none := p.backlogged == 0
		p.mu.Unlock()
		if none {
			return
		}
	}
}

// fail gives up records at the head of each backlog for as long as over reports true.
func (p *Producer) fail(over func(*queued) bool, err error) {
	var failed []kafka.Message
	p.mu.Lock()
	of := func(b *backlog, partition int32) {
		n := 0
		for n < b.len() && over(&b.records[b.head+n]) {
			n++
		}
		b.take(n, func(q *queued) { failed = append(failed, q.message(p.topic, partition)) })
		p.backlogged -= n
	}
	of(&p.unkeyed, unassigned)
	for partition, b := range p.keyed {
		if of(b, partition); b.len() == 0 {
			delete(p.keyed, partition)
		}
	}
	p.mu.Unlock()
	if len(failed) > 0 {
		p.complete(failed, err)
	}
}
