package producer

import (
	"context"
	"time"

	"github.com/segmentio/kafka-go"
)

// A sender leaves its record in Producer.waiting and goes. From there one goroutine
// at a time gives the records to kafka-go's Writer, many with one call, so that
// they share what a call costs, and in their order. It is there only while it is
// needed: when a batch's worth of records waits, or some have waited for long enough.
//
// It is also who finds out how the cluster is laid out, which the Writer must not be
// called without: it would have its caller wait, or lose the records.

const (
	// maxGroup is how many waiting records are handed over at once, where
	// batches may be larger.
	maxGroup = 256
	// maxGather is the longest that records wait for others to be handed over with,
	// where an eighth of the linger is not less. The rest of the linger is the
	// Writer's, to fill the batches of all partitions: records with a key go to many.
	maxGather = 100 * time.Millisecond
)

// arrival is when a record came, and what there is to know of it besides.
type arrival struct {
	time   time.Time
	round  int32
	ticket *ticket
}

// call sees to it that the waiting records are handed over, now or later. The
// caller holds mu, has put a record there, and knows that p is not busy.
func (p *Producer) call() {
	switch {
	case !p.ready, p.waiting.records >= p.group, p.waiting.bytes >= p.writer.BatchBytes:
		p.handOver()
	case p.waiting.records == 1: // the others find the alarm set
		p.alarm.Reset(p.gather)
	}
}

// ring hands over the records that have waited for long enough. It may come late,
// when others have done so, and then does it too early for those that came since.
func (p *Producer) ring() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.busy && !p.closed && p.waiting.records > 0 {
		p.handOver()
	}
}

// handOver starts the goroutine. The caller holds mu, and knows that p is not busy.
// Once p is closed none is started but by close, and by one that hands over.
func (p *Producer) handOver() {
	p.busy = true
	ready := p.ready
	p.handing.Go(func() {
		if ready || p.look() {
			p.write()
		}
	})
}

// handOverHere is for a sender that has to wait anyway: it hands over what waits
// itself, once, which is cheaper than a goroutine. The caller holds mu, which is
// released, and knows that p is ready, and neither busy nor closed.
func (p *Producer) handOverHere() {
	p.busy = true
	p.handing.Add(1)
	c := p.waiting.takeAll()
	p.mu.Unlock()
	defer func() { // also after a panic, of which only this request dies
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.busy = false; p.waiting.records > 0 {
			p.handOver()
		}
		p.handing.Done()
	}()
	p.transport.refresh()
	p.give(c)
}

// write gives the waiting records to the Writer, and goes on while there is a
// group's worth of others.
func (p *Producer) write() {
	p.transport.refresh()
	for first := true; ; first = false {
		p.mu.Lock()
		n := p.waiting.records
		if n == 0 || !first && n < p.group && !p.closed {
			p.busy = false
			if n > 0 {
				p.alarm.Reset(p.gather)
			}
			p.mu.Unlock()
			return
		}
		c := p.waiting.takeAll()
		p.mu.Unlock()
		p.give(c)
	}
}

// give gives the records of a chunk, and of those after it, to the Writer.
func (p *Producer) give(c *chunk) {
	for c != nil {
		if err := p.writer.WriteMessages(p.transport.ctx, c.rest()...); err != nil { // ruled out by what was checked before
			p.complete(c.rest(), err)
		}
		c = c.free()
	}
}

// look finds out how the cluster is laid out. Once it has it is not needed again:
// the last known layout is good enough ever after. It reports false if there is
// nothing to hand over any more: nobody waits, or the producer was closed.
func (p *Producer) look() bool {
	t := p.transport
	for {
		err := t.fetch(t.ctx)
		if err == nil {
			break
		}
		if t.ctx.Err() != nil { // the drain has no time left
			p.abandonWaiting()
			return false
		}
		t.status.unknown(err)
		p.fail(p.expire(err), err)
		if !t.sleep(t.ctx) {
			p.abandonWaiting()
			return false
		}
		if p.pause() {
			return false
		}
	}
	t.status.fine()
	p.mu.Lock()
	p.ready = true
	p.mu.Unlock()
	return true
}

// pause ends the looking while nobody waits for it, so that brokers that refuse us
// are not asked again and again for nothing.
func (p *Producer) pause() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting.records > 0 {
		return false
	}
	p.busy = false
	return true
}

// expire takes those out of the waiting records whose time is over. While no
// broker can be reached records wait for as long as it takes, unless somebody
// waits for them.
func (p *Producer) expire(err error) []kafka.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.cfg.Async && p.transport.unreachable(err):
		return nil
	case p.cfg.Async && pending(err):
		return p.waiting.takeUntil(func(m *kafka.Message, _ int32) bool {
			return time.Since(m.Time) <= p.transport.patience
		})
	default: // an attempt, as when a record is sent
		p.round++
		attempts := int32(max(p.cfg.MaxAttempts, 1))
		return p.waiting.takeUntil(func(_ *kafka.Message, round int32) bool {
			return p.round-round < attempts
		})
	}
}

func (p *Producer) fail(messages []kafka.Message, err error) {
	if len(messages) > 0 {
		p.complete(messages, err)
	}
}

func (p *Producer) abandonWaiting() {
	p.mu.Lock()
	messages := p.waiting.takeUntil(func(*kafka.Message, int32) bool { return false })
	p.busy = false
	p.mu.Unlock()
	p.fail(messages, context.Cause(p.transport.ctx))
}
