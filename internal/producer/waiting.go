package producer

import (
	"context"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

// Records that come before the layout of the cluster is known wait here, in
// Producer.waiting, and not in kafka-go's Writer: it would have their senders wait
// for the layout, or lose the records.

// arrival is a record that came in that round.
type arrival struct {
	kafka.Message
	round int
}

// look finds out how the cluster is laid out, and then hands the records that
// waited for it to the Writer, which could not take them without: it would have
// let their senders wait, or lost them. Once it has found the layout it is not
// needed again: the last known one is good enough ever after.
func (p *Producer) look() {
	t := p.transport
	for {
		err := t.fetch(t.ctx)
		if err == nil {
			break
		}
		if t.ctx.Err() == nil {
			t.status.unknown(err)
		}
		p.fail(p.expire(err), err)
		if !t.sleep(t.ctx) {
			p.abandonWaiting()
			return
		}
		if p.rest() {
			return
		}
	}
	t.status.fine()
	p.handOver()
}

// rest ends the looking while nobody waits for it, so that brokers that refuse us
// are not asked again and again for nothing.
func (p *Producer) rest() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 {
		return false
	}
	p.started = false
	return true
}

// expire takes those out of the waiting records whose time is over. While no
// broker can be reached records wait for as long as it takes, unless somebody
// waits for them.
func (p *Producer) expire(err error) (expired []arrival) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var waits func(arrival) bool
	switch {
	case p.cfg.Async && p.transport.unreachable(err):
		return nil
	case p.cfg.Async && pending(err):
		waits = func(a arrival) bool { return time.Since(a.Time) <= p.transport.patience }
	default: // an attempt, as when a record is sent
		p.round++
		attempts := max(p.cfg.MaxAttempts, 1)
		waits = func(a arrival) bool { return p.round-a.round < attempts }
	}
	i := slices.IndexFunc(p.waiting, waits) // those behind came later
	if i < 0 {
		i = len(p.waiting)
	}
	expired, p.waiting = p.waiting[:i:i], p.waiting[i:]
	return expired
}

// handOver gives the waiting records to the Writer, in their order and some at a
// time, so that senders are never held up for long.
func (p *Producer) handOver() {
	const some = 256
	messages := make([]kafka.Message, 0, some)
	for {
		p.mu.Lock()
		if len(p.waiting) == 0 {
			p.waiting, p.ready = nil, true
			p.mu.Unlock()
			return
		}
		n := min(some, len(p.waiting))
		messages = messages[:0]
		for _, a := range p.waiting[:n] {
			messages = append(messages, a.Message)
		}
		clear(p.waiting[:n])
		p.waiting = p.waiting[n:]
		err := p.writer.WriteMessages(p.transport.ctx, messages...)
		p.mu.Unlock()
		if err != nil { // ruled out by what was checked before
			p.complete(slices.Clone(messages), err)
		}
	}
}

func (p *Producer) fail(records []arrival, err error) {
	if len(records) == 0 {
		return
	}
	messages := make([]kafka.Message, len(records))
	for i, a := range records {
		messages[i] = a.Message
	}
	p.complete(messages, err)
}

func (p *Producer) abandonWaiting() {
	p.mu.Lock()
	records := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	p.fail(records, context.Cause(p.transport.ctx))
}
