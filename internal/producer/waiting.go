package producer

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// A sender leaves its record in Producer.waiting and goes. From there one goroutine
// at a time gives the records to kafka-go's Writer, in their order, a batch's worth at
// once: what lies there for the linger are small items, and the Writer's own messages
// live for a moment. The goroutine is there only while it is needed: when a batch is
// full, or some records have waited for long enough.
//
// It is also who finds out how the cluster is laid out, which the Writer must not be
// called without: it would have its caller wait, or lose the records.
//
// Nobody waits for that goroutine, nor it for anybody, so it may be about to go when
// a record comes. A sender puts the record there, and then looks whether somebody is
// busy; who was busy says that he is not any more, and then looks whether anything is
// there. One of them sees the other.

const (
	// perCall is how many records are given to the Writer with one call at most. What
	// a call costs by itself is nothing to speak of when that many share it.
	perCall = chunkSize
	// maxFlush is the longest that the Writer waits for the rest of a batch, where an
	// eighth of the linger is not less. It is given whole ones, but cannot know it of
	// one that no further record fits into, or that is due.
	maxFlush = 5 * time.Millisecond
)

// attend sees to it that the waiting records are handed over, now or in time. It is for
// a sender who has put one there.
func (p *Producer) attend() {
	switch {
	case p.busy.Load(): // who is looks again
	case p.waiting.amount() == 0: // somebody has taken it already
	case p.ready.Load() && !p.plenty():
		p.setAlarm(p.gather)
	case !p.claim():
	case p.ready.Load() && !p.cfg.Async:
		p.handOverHere()
	default:
		go p.handOver(false)
	}
}

// plenty reports whether a batch's worth of records waits, or is announced.
func (p *Producer) plenty() bool {
	a := p.waiting.amount()
	return a.records() >= p.batch || a.bytes()+a.records()*recordOverhead >= p.writer.BatchBytes
}

// setAlarm has the waiting records looked at after that time, or before.
func (p *Producer) setAlarm(after time.Duration) {
	if !p.alarmed.Load() && p.alarmed.CompareAndSwap(false, true) {
		p.alarm.Reset(after)
	}
}

// ring hands over the records that have waited for long enough. Those for which the
// alarm was set may have gone, with a full batch.
func (p *Producer) ring() {
	p.alarmed.Store(false)
	if p.waiting.amount() == 0 || !p.claim() {
		return
	}
	if rest := p.rest(); rest > 0 && p.ready.Load() {
		p.setAlarm(rest)
		if p.release(true) {
			p.handOver(false)
		}
		return
	}
	p.handOver(true)
}

// rest is for how long the first waiting record may go on waiting for more; 0 if it
// may not, or is dated ahead, or not there yet. The caller is busy.
func (p *Producer) rest() time.Duration {
	first := p.waiting.first()
	if first == nil {
		return 0
	}
	rest := p.gather - time.Since(first.time)
	if rest <= p.gather/16 || rest > p.gather {
		return 0
	}
	return rest
}

// claim makes the caller the one who is busy, if nobody is.
func (p *Producer) claim() bool { return p.busy.CompareAndSwap(false, true) }

// release ends that. It reports true if there is more to do at once, and the caller is
// busy again. If he has found nothing this time, there is not: what is announced is
// about to be put there, by senders who will attend to it unless they still saw him
// busy. These are looked after in a moment, and not at once, for a sender that the
// kernel holds up in between must not have anybody look for it all the time.
func (p *Producer) release(found bool) bool {
	p.busy.Store(false)
	switch {
	case p.closed.Load(): // who closes p hands over what is left
		select {
		case p.idle <- struct{}{}:
		default:
		}
	case p.waiting.amount() == 0:
	case found && p.plenty(), !p.ready.Load():
		return p.claim()
	case found:
		p.setAlarm(p.gather)
	default:
		p.setAlarm(max(p.gather/16, time.Millisecond/2))
	}
	return false
}

// handOver hands over full batches, or first of all what waits by now. The caller is
// busy, and is not any more when it returns.
func (p *Producer) handOver(all bool) {
	for p.release(p.handOverOnce(all)) {
		all = false
	}
}

// handOverOnce does so once, and reports whether anything was there.
func (p *Producer) handOverOnce(all bool) (found bool) {
	if !p.ready.Load() {
		if !p.look() {
			return false
		}
		if rest := p.rest(); rest > 0 && !all { // records may go on gathering
			p.setAlarm(rest)
			found = true
		} else {
			all = true
		}
	}
	p.transport.refresh()
	due := 0
	if all {
		due = int(p.waiting.amount().records())
	}
	for due > 0 || p.plenty() {
		n := p.give()
		if n == 0 {
			break
		}
		found = true
		due -= n
	}
	return found
}

// handOverHere is for a sender that has to wait anyway: it hands over what waits
// itself, once, which is cheaper than a goroutine. The sender is busy, and is not any
// more when it returns. The layout is known.
func (p *Producer) handOverHere() {
	n := 0
	defer func() { // also after a panic, of which only this request dies
		if p.release(n > 0) {
			go p.handOver(false)
		}
	}()
	p.transport.refresh()
	n = p.give()
}

// calls are the messages of calls of the Writer, of all producers together: one that
// is idle keeps none.
var calls = sync.Pool{New: func() any { return new([perCall]kafka.Message) }}

// give gives the first waiting records to the Writer, a batch of them at most, and
// returns how many.
func (p *Producer) give() (given int) {
	p.balancer.begin(p.waiting.amount())
	room := p.writer.BatchBytes
	fits := func(i *item) bool {
		n := i.amount().bytes() + recordOverhead
		if n > room && room < p.writer.BatchBytes {
			return false
		}
		room -= n
		return true
	}
	messages := calls.Get().(*[perCall]kafka.Message)
	for given < p.cfg.MessagesPerRequest {
		n := p.waiting.take(messages[:min(p.cfg.MessagesPerRequest-given, perCall)], fits)
		if n == 0 {
			break
		}
		given += n
		if err := p.writer.WriteMessages(p.transport.ctx, messages[:n]...); err != nil { // ruled out by what was checked before
			p.complete(messages[:n], err)
		}
		clear(messages[:n]) // they hold the bytes of records
	}
	calls.Put(messages)
	return given
}

// handOverLast is for who has closed p: it hands over all that was accepted, and then
// stays busy for ever, so nobody calls the Writer any more.
func (p *Producer) handOverLast() {
	for !p.claim() {
		<-p.idle
	}
	p.alarm.Stop()
	for p.waiting.amount() > 0 {
		if !p.handOverOnce(true) {
			runtime.Gosched() // a record is announced: it comes at any moment, or does not
		}
	}
}

// look finds out how the cluster is laid out. Once it has it is not needed again:
// the last known layout is good enough ever after. It reports false if there is
// nothing to hand over any more: nobody waits, or the drain has no time left. The
// caller is busy.
func (p *Producer) look() bool {
	t := p.transport
	for {
		err := t.fetch(t.ctx)
		if err == nil {
			break
		}
		if t.ctx.Err() != nil {
			p.abandonWaiting()
			return false
		}
		t.status.unknown(err)
		switch {
		case p.cfg.Async && t.unreachable(err): // then records wait for as long as it takes
		case p.cfg.Async && pending(err):
			p.fail(func(i *item) bool { return time.Since(i.time) > t.patience }, err)
		default: // an attempt, as when a record is sent
			refusals := p.refusals.Add(1)
			p.fail(func(i *item) bool { return refusals-i.round >= int32(t.maxAttempts) }, err)
		}
		if !t.sleep(t.ctx) {
			p.abandonWaiting()
			return false
		}
		// Brokers that refuse us are not asked again and again for nothing.
		if p.waiting.amount() == 0 {
			return false
		}
	}
	t.status.fine()
	p.ready.Store(true)
	return true
}

// fail gives up the waiting records that are over, from the first one on.
func (p *Producer) fail(over func(*item) bool, err error) {
	messages := calls.Get().(*[perCall]kafka.Message)
	for {
		n := p.waiting.take(messages[:], over)
		if n == 0 {
			break
		}
		p.complete(messages[:n], err)
		clear(messages[:n])
	}
	calls.Put(messages)
}

func (p *Producer) abandonWaiting() { p.fail(nil, context.Cause(p.transport.ctx)) }
