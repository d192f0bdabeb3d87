package producer

import (
	"slices"
	"time"
)

// handOverTime is how long a producer without an instance goes on with a topic whose source
// another one waits for.
const handOverTime = 5 * time.Second

// acquire adds an instance's share in topics. A topic has no state before a record is sent
// to it.
func (p *Producer) acquire(topics []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shares++
	for _, name := range topics {
		p.claims[name]++
		if t := p.topics[name]; t != nil {
			t.orphaned, t.gaveUp = time.Time{}, false
			p.startTaking() // what it gave up is in the spool, with Options.Durable
		}
	}
	p.shareBuffer()
}

// release takes an instance's share back.
func (p *Producer) release(topics []string, after time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	unused := false
	if p.o.Durable {
		after = min(after, handOverTime) // others may wait for the sources
	}
	for _, name := range topics {
		if p.claims[name]--; p.claims[name] > 0 {
			continue
		}
		delete(p.claims, name)
		if t := p.topics[name]; t != nil {
			t.orphaned, unused = now, true
		}
	}
	p.shareBuffer()
	if p.shares--; p.shares == 0 {
		p.released, unused = now, true
	}
	if unused {
		p.removeUnusedIn(after)
	}
}

// removeUnusedIn has the pool look for what is unused after that time, if not earlier. The
// caller holds p.mu.
func (p *Producer) removeUnusedIn(after time.Duration) {
	at := time.Now().Add(after)
	if p.removeUnused == nil || p.closed || !p.removeAt.IsZero() && !p.removeAt.After(at) {
		return
	}
	if p.removeAt = at; p.timer == nil {
		p.timer = time.AfterFunc(after, p.removeUnused)
	} else {
		p.timer.Reset(after)
	}
}

// unused is what no instance uses.
type unused struct {
	idle []*topic      // without records for long enough
	late []*topic      // whose records are undelivered for too long
	all  bool          // nothing else is left of the producer
	next time.Duration // until there may be more; 0: nothing else is unused
}

// unused returns what no instance has used for that long, and what was orphaned for longer
// than the orphan timeout, unless that is 0.
func (p *Producer) unused(after, orphanTimeout time.Duration) (u unused) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removeAt = time.Time{}
	wait := func(d time.Duration) {
		if u.next == 0 || d < u.next {
			u.next = d
		}
	}
	u.all = p.shares == 0
	for _, t := range p.topics {
		if t.orphaned.IsZero() {
			u.all = false
			continue
		}
		rest := max(idleTime-time.Since(t.used), after-time.Since(t.orphaned))
		timeout, awaited := orphanTimeout, t.source != nil && t.source.isAwaited()
		if awaited {
			if rest = 0; timeout <= 0 || timeout > handOverTime {
				timeout = handOverTime
			}
		}
		if t.ledger.Buffered.Records > 0 || t.taking || t.isReady && !t.gaveUp && !awaited {
			if rest = time.Second; timeout > 0 {
				rest = min(rest, timeout-time.Since(t.orphaned))
			}
			if rest <= 0 {
				u.late = append(u.late, t)
				wait(time.Second)
				continue
			}
		}
		if rest <= 0 {
			u.idle = append(u.idle, t)
			continue
		}
		u.all = false
		wait(rest)
	}
	if u.all && len(p.topics) == 0 {
		if rest := max(idleTime-time.Since(p.used), after-time.Since(p.released)); rest > 0 {
			u.all = false
			wait(rest)
		}
	}
	return u
}

// abandon gives up the records of a topic that are not in flight, and reports whether it does
// so for the first time.
func (p *Producer) abandon(t *topic, err error) (first bool) {
	p.mu.Lock()
	first, t.gaveUp = !t.gaveUp, true
	p.mu.Unlock()
	p.fail(t, func(*queued) bool { return true }, err)
	return first
}

// forget removes a topic without records, and returns its counts, or nil if it has records
// after all. Its share of the buffer goes to the others, and so does its source, of which the
// caller notifies them.
func (p *Producer) forget(t *topic) *TopicStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.ledger.Buffered.Records > 0 || t.taking {
		return nil
	}
	p.ready = slices.DeleteFunc(p.ready, func(r *topic) bool { return r == t })
	if t.source != nil {
		t.source.leave(p) // with p.mu held: the topic may come again at once, and join
	}
	delete(p.topics, t.name)
	p.renewWriter = true
	p.cluster.Forget(t.name)
	p.shareBuffer()
	t.log.close()
	return &t.ledger.TopicStats
}
