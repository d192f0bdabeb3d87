package producer

import (
	"context"
	"time"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/memory"
)

// Send puts a record into the buffer, for the topic that it names. With Options.Async it
// returns at once. Otherwise it returns when the record is acknowledged as configured, or
// when ctx ends, with the cause of that; the record may still be delivered then. The record
// was not accepted if the error is [ErrFull], [memory.ErrFull], [ErrClosed],
// [ErrUnhealthy] or a [*TooLargeError]. Without Async, any other error is why the record was given up.
func (p *Producer) Send(ctx context.Context, r Record) error {
	one := [1]sending{p.newSending(&r)}
	if p.o.Async {
		return p.accept(one[:])
	}
	w := newWaiter(one[:])
	if err := p.accept(one[:]); err != nil {
		return err
	}
	var result [1]Result
	w.wait(ctx, result[:])
	return result[0].Err
}

// SendAll puts all records into the buffer, or none of them: the error is one of those with
// which [Producer.Send] does not accept a record, and nothing else. Records that can never be
// in the buffer together are always refused with [ErrFull].
//
// Without Options.Async it returns when the result of each record is known, or when ctx ends.
// results, which must then have as many elements as records, gets what became of each. With
// Async it is left as it is.
func (p *Producer) SendAll(ctx context.Context, records []Record, results []Result) error {
	if len(records) == 0 {
		return nil
	}
	all := make([]sending, len(records))
	for i := range records {
		all[i] = p.newSending(&records[i])
	}
	if p.o.Async {
		return p.accept(all)
	}
	w := newWaiter(all)
	if err := p.accept(all); err != nil {
		return err
	}
	w.wait(ctx, results)
	return nil
}

// sending is a record that is not accepted yet.
type sending struct {
	queued
	name string // of the topic
	to   *topic
}

func (p *Producer) newSending(r *Record) sending {
	s := sending{name: r.Topic, queued: queued{key: r.Key, value: r.Value, accepted: time.Since(p.started)}}
	if len(r.Headers) > 0 {
		headers := make([]kafka.Header, len(r.Headers))
		for i := range r.Headers {
			headers[i] = kafka.Header(r.Headers[i])
		}
		s.headers = &headers
	}
	if at := r.Time; at.IsZero() {
		s.timestamp = time.Now().UnixMilli()
	} else {
		s.timestamp = at.UnixMilli()
	}
	return s
}

// accept puts the records into the buffer unless a limit is reached: all of them, or none.
func (p *Producer) accept(all []sending) error {
	now := p.started.Add(all[0].accepted)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = now
	for i := range all {
		s := &all[i]
		s.to = p.topic(s.name)
		s.to.used = now
	}
	if reason, err := p.takeRoom(all); err != nil {
		p.reject(all, now, reason, err)
		return err
	}
	for i := range all {
		s := &all[i]
		s.rejections = s.to.rejections
		p.enqueue(s.to, s.queued)
	}
	return nil
}

// takeRoom takes room for all of the records, or for none. The caller holds p.mu.
func (p *Producer) takeRoom(all []sending) (Rejection, error) {
	needed := int64(0)
	for i := range all {
		size := all[i].size()
		if size+Overhead > p.limit {
			return TooLarge, &TooLargeError{int(size + Overhead), int(p.limit)}
		}
		needed += memoryOf(size, all[i].headerCount())
	}
	if p.closed {
		return ShuttingDown, ErrClosed
	}
	for i := range all {
		if p.unhealthy(all[i].to) {
			p.startProbes()
			return Unhealthy, ErrUnhealthy
		}
	}
	for i := range all {
		t, size := all[i].to, all[i].size()
		if !p.hasRoom(t, size) {
			p.returnRoom(all[:i])
			return BufferFull, ErrFull
		}
		p.reserve(t, Amount{1, size})
		t.ledger.accept(size)
	}
	if !p.memory.Take(needed) {
		p.returnRoom(all)
		return MemoryFull, memory.ErrFull
	}
	return 0, nil
}

// returnRoom undoes what takeRoom did for records. The caller has held p.mu since, so no other
// goroutine saw them.
func (p *Producer) returnRoom(taken []sending) {
	for i := range taken {
		t, size := taken[i].to, taken[i].size()
		p.reserve(t, Amount{-1, -size})
		t.ledger.unaccept(size)
	}
}

// reject counts and logs records that are not accepted. The caller holds p.mu.
func (p *Producer) reject(all []sending, now time.Time, reason Rejection, err error) {
	for len(all) > 0 {
		t, n := all[0].to, 1
		for n < len(all) && all[n].to == t {
			n++
		}
		t.ledger.Rejected[reason] += int64(n)
		switch reason {
		case BufferFull, MemoryFull, Unhealthy, SpoolFull, SpoolFailed:
			t.log.recordsRejected(n, now, err)
		}
		all = all[n:]
	}
}
