package producer

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

// The dispatcher is the one goroutine that calls kafka-go's Writer. It hands over whole
// batches, each for one partition, and none for a partition that has one in flight. So each
// partition keeps its order. Records linger only in the backlog, and those that cannot be
// delivered now stay there too, where they take little more than their bytes: the Writer
// allocates a full batch (152 bytes a record) with the first record of each, and its queue
// is unbounded.
//
// The dispatcher runs while there are records, and for Producer.idle after the last one.
// An unused producer has no goroutine and no connection.

const (
	// maxInFlightBytes bounds what the Writer allocates for the batches in flight, not
	// counting their records' bytes. Each topic may always have one batch in flight.
	maxInFlightBytes = 16 << 20
	messageSize      = 152 // of a kafka.Message
	// early is how long before the end of its linger a batch may be sent: no timer is set
	// for less.
	early = time.Millisecond / 2
)

func (p *Producer) dispatch() {
	var (
		writer = p.newWriter()
		ctx    = p.cluster.Context()
		ended  = ctx.Done()
		timer  = time.NewTimer(time.Hour)
		ticked = true // it has slept for one linger since the last batch
	)
	defer timer.Stop()
	for {
		if ctx.Err() != nil {
			p.failAll(context.Cause(ctx))
			ended = nil // batches in flight end by themselves
		}
		now := time.Now()
		p.mu.Lock()
		messages, wait := p.nextBatch(now)
		if len(messages) > 0 {
			renew := p.renewWriter
			p.renewWriter = false
			p.mu.Unlock()
			if renew {
				go writer.Close() // once what is in flight is completed
				writer = p.newWriter()
			}
			p.cluster.Refresh(messages[0].Topic)
			p.resumeCurrent()
			if err := writer.WriteMessages(ctx, messages...); err != nil { // ruled out by earlier checks
				p.completed(messages, err)
			}
			clear(messages) // they hold the bytes of records
			ticked = p.o.Linger == 0
			continue
		}
		if len(p.due.topics) == 0 {
			if wait = p.idle; p.backlogged == 0 && p.inFlight == 0 {
				if wait = p.idle - now.Sub(p.used); p.draining() {
					wait = p.idle // it is woken
				} else if p.closed || wait <= 0 {
					break
				}
			}
			// A sleep of one linger ends in time for any record that comes, so no sender
			// has to wake the dispatcher while records keep coming.
			if !ticked {
				wait, ticked = min(wait, p.o.Linger), true
			}
		}
		wait = max(wait, early)
		p.asleep, p.wakeAt = true, now.Add(wait)
		p.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-p.wake:
		case <-timer.C:
		case <-ended:
		}
	}
	// Here p.mu is held, and nothing is in flight. The next record starts another
	// dispatcher.
	p.dispatching = false
	closed := p.closed
	p.mu.Unlock()
	p.cluster.CloseIdleConnections() // without p.mu, which the end of a connection locks
	_ = writer.Close()               // it holds no records
	if closed {
		close(p.drained)
	}
}

// enqueue adds a record to its backlog. It starts the dispatcher if there is none, and
// wakes it if it would sleep for too long for this record. The caller holds p.mu.
func (p *Producer) enqueue(t *topic, q queued) {
	b := p.backlogOf(t, q.key)
	first := b.len() == 0
	wasFull := !first && p.full(b) // its partition has a batch in flight
	b.push(q)
	p.addBacklogged(t, 1)
	switch started := p.serve(t); {
	case started:
	case t.known && p.asleep && (!wasFull && p.full(b) || first && p.started.Add(q.accepted+p.o.Linger+early).Before(p.wakeAt)):
		p.signal()
	}
}

// serve requests the metadata of a topic that has records, if it is not known, and starts the
// dispatcher if there is none, which it reports. The caller holds p.mu.
func (p *Producer) serve(t *topic) (started bool) {
	if !t.known && !t.awaiting {
		t.awaiting = true
		p.requests.Go(func() { p.awaitMetadata(t) })
	}
	if p.dispatching {
		return false
	}
	p.startDispatching()
	return true
}

func (p *Producer) startDispatching() {
	p.dispatching = true
	go p.dispatch()
}

// signal wakes the dispatcher. The caller holds p.mu.
func (p *Producer) signal() {
	p.asleep, p.wakeOnCompletion = false, false
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// nextBatch takes the records of a batch that is due, or returns how long to wait for one.
// The topics take turns. The caller holds p.mu, and is the dispatcher.
func (p *Producer) nextBatch(now time.Time) (messages []kafka.Message, wait time.Duration) {
	wait = time.Hour
	p.wakeOnCompletion = p.closed
	q := &p.due
	for range len(q.topics) {
		if q.next++; q.next >= len(q.topics) {
			q.next = 0
		}
		messages, w := p.nextBatchOf(q.topics[q.next], now)
		if len(messages) > 0 {
			return messages, 0
		}
		wait = min(wait, w)
	}
	return nil, wait
}

// failAll gives up all records that are not in flight.
func (p *Producer) failAll(err error) {
	p.mu.Lock()
	topics := slices.Collect(maps.Values(p.topics))
	p.mu.Unlock()
	for _, t := range topics {
		p.fail(t, func(*queued) bool { return true }, err)
	}
}
