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
// busy; who was busy says that he is not any more, and then looks whether the record is
// there that he would have gone on with. One of them sees the other. Records that came
// after one whose sender is held up by the kernel have to wait for that, and for a moment
// more: nobody looks for it all the time.

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

// setAlarm has the waiting records looked at after that time, or when the alarm rings
// that is set already. It is for a record that has come just now: no alarm that was set
// for others is later.
func (p *Producer) setAlarm(after time.Duration) {
	if !p.alarmed.Load() && p.alarmed.CompareAndSwap(false, true) {
		p.alarm.Reset(after)
	}
}

// ring hands over the records that have waited for long enough. Those for which the
// alarm was set may have gone, with a full batch. It reports false if records wait and
// somebody else is busy.
func (p *Producer) ring() bool {
	if p.waiting.amount() == 0 {
		return true
	}
	if !p.claim() {
		return false
	}
	due, _ := p.due()
	p.handOver(due)
	return true
}

// ringForRest is for the first record that was left, which nobody else looks after: who
// set the alarm may be held up by the kernel before he says that he is not busy, and
// sets no other then.
func (p *Producer) ringForRest() {
	if !p.ring() && !p.closed.Load() {
		p.rest.Reset(time.Millisecond)
	}
}

// due reports whether the first waiting record has waited for long enough, or is dated
// ahead, and otherwise when to look again. The caller is busy.
func (p *Producer) due() (due bool, after time.Duration) {
	const soonest = time.Millisecond / 2
	first := p.waiting.first()
	if first == nil { // its sender is held up; whoever comes behind it may be due
		return false, max(min(p.gather/16, maxFlush), soonest)
	}
	rest := p.gather - time.Since(first.time)
	return rest <= p.gather/16 || rest > p.gather, max(min(rest, p.gather), soonest)
}

// claim makes the caller the one who is busy, if nobody is.
func (p *Producer) claim() bool { return p.busy.CompareAndSwap(false, true) }

// release ends that. next is the place of the first record that was not handed over.
// It reports true if there is more to do at once, and the caller is busy again.
func (p *Producer) release(next *item) bool {
	_, after := p.due()
	// What is left has an alarm of its own, which only he sets who is busy: from then on
	// senders may set theirs, for younger records, and it would stay at that.
	left := p.gather > 0 && p.ready.Load() && !p.closed.Load() && p.waiting.amount() > 0
	if left {
		p.rest.Reset(after)
	}
	p.busy.Store(false)
	switch {
	case p.closed.Load(): // who closes p hands over what is left
		select {
		case p.idle <- struct{}{}:
		default:
		}
	case p.waiting.amount() == 0:
	case !p.ready.Load():
		return p.claim()
	case next != nil && p.plenty() && next.there.Load():
		return p.claim()
	case !left: // whoever has the next place attends to it, and sees that nobody is busy
		p.setAlarm(after)
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

// handOverOnce does so once, and returns the place of the first record that is left.
func (p *Producer) handOverOnce(all bool) *item {
	if !p.ready.Load() {
		if !p.look() {
			return nil
		}
		due, _ := p.due() // it may have taken long
		all = all || due
	}
	p.transport.refresh()
	var left int64
	if all {
		left = p.waiting.amount().records()
	}
	for {
		batch, whole, next := p.gathered()
		if batch == 0 || !whole && left <= 0 {
			return next
		}
		p.give(batch)
		left -= batch.records()
	}
}

// handOverHere is for a sender that has to wait anyway: it hands over what waits
// itself, once, which is cheaper than a goroutine. The sender is busy, and is not any
// more when it returns. The layout is known.
func (p *Producer) handOverHere() {
	var next *item
	defer func() { // also after a panic, of which only this request dies
		if p.release(next) {
			go p.handOver(false)
		}
	}()
	p.transport.refresh()
	batch, _, after := p.gathered()
	if batch > 0 {
		p.give(batch)
	}
	next = after
}

// gathered looks for the next batch: how much is there for it, whether it is as much as
// goes together, and the place of the record after it. A record whose sender is held up
// is waited for, and those after it with it.
func (p *Producer) gathered() (batch amount, whole bool, next *item) {
	room := p.writer.BatchBytes
	next = p.waiting.each(func(i *item) bool {
		size := i.amount().bytes() + recordOverhead
		if batch.records() == int64(p.cfg.MessagesPerRequest) || batch > 0 && size > room {
			whole = true
			return false
		}
		batch += i.amount()
		room -= size
		return true
	})
	return batch, whole || batch.records() >= p.batch || room <= 0, next
}

// calls are the messages of calls of the Writer, of all producers together: one that
// is idle keeps none.
var calls = sync.Pool{New: func() any { return new([perCall]kafka.Message) }}

// give gives that much to the Writer, which is there.
func (p *Producer) give(batch amount) {
	p.balancer.begin(batch)
	messages := calls.Get().(*[perCall]kafka.Message)
	for left := int(batch.records()); left > 0; {
		n := p.waiting.take(messages[:min(left, perCall)], nil)
		left -= n
		if err := p.writer.WriteMessages(p.transport.ctx, messages[:n]...); err != nil { // ruled out by what was checked before
			p.complete(messages[:n], err)
		}
		clear(messages[:n]) // they hold the bytes of records
	}
	calls.Put(messages)
}

// handOverLast is for who has closed p: it hands over all that was accepted, and then
// stays busy for ever, so nobody calls the Writer any more.
func (p *Producer) handOverLast() {
	for !p.claim() {
		<-p.idle
	}
	p.alarm.Stop()
	p.rest.Stop()
	for p.waiting.amount() > 0 {
		p.handOverOnce(true)
		runtime.Gosched() // a record may be announced: it comes at any moment, or does not
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
