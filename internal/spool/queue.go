package spool

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
)

const (
	recentBytes = 8 << 20 // of records that are in memory for Next, over all queues
	readTries   = 5       // before a place on the disk is given up
)

// queueName is what a queue is found by.
type queueName struct{ destination, topic string }

// Queue is the records of a destination and a topic, first in, first out. It is safe for
// concurrent use.
type Queue struct {
	spool *Spool
	name  queueName

	// Guarded by Spool.mu.
	parts      []*part // that may have records for Next, in order: adopted ones first
	unread     int     // records that Next has not returned
	undone     int     // records that are not done with
	recent     []Stored
	recentEnd  []int64 // offsets behind the records of recent
	waiting    bool    // Next had nothing
	notify     func()
	lanes      map[laneKey]*lane
	identities map[int32]Identity // of adopted batches
	recovered  []*sentBatch       // not returned by Unacknowledged yet
	refused    error              // why Unacknowledged could not; Next would come before it

	current *part // the writer's

	// Next and Unacknowledged hold reading, which guards the fields below.
	reading sync.Mutex
	file    File
	open    *segment // that file belongs to
	tries   int      // failed reads in a row
}

// Names returns what the queue was made with.
func (q *Queue) Names() (destination, topic string) { return q.name.destination, q.name.topic }

// Ready sets a function that is called when the queue has something for Next, new records or
// adopted ones, after Next had nothing; and whenever it has something for Unacknowledged. It is
// called at once if there is something already. It must not block.
func (q *Queue) Ready(f func()) {
	s := q.spool
	s.mu.Lock()
	q.notify = f
	now := !s.gated && (q.unread > 0 || len(q.recovered) > 0)
	if now {
		q.waiting = false
	}
	s.mu.Unlock()
	if now {
		f()
	}
}

// ready calls the function that Ready has set.
func (q *Queue) ready() {
	s := q.spool
	s.mu.Lock()
	f := q.notify
	s.mu.Unlock()
	if f != nil {
		f()
	}
}

// arrived adds a record that is on the disk, and reports whether to call ready. end is the
// offset behind it. It is called with mu held.
//
// recent is either empty or all that is unread. So once it has no room, records are read from
// the disk until there is none that is not read.
func (q *Queue) arrived(r Stored, end int64) bool {
	s := q.spool
	if size := r.Record.size(); len(q.recent) == q.unread && s.cached+size <= recentBytes {
		q.recent = append(q.recent, r)
		q.recentEnd = append(q.recentEnd, end)
		s.cached += size
	} else if len(q.recent) > 0 {
		q.forgetRecent()
	}
	q.unread++
	q.undone++
	if s.gated || !q.waiting {
		return false
	}
	q.waiting = false
	return true
}

// forgetRecent has Next read from the disk. It is called with mu held.
func (q *Queue) forgetRecent() {
	for i := range q.recent {
		q.spool.cached -= q.recent[i].Record.size()
	}
	q.recent, q.recentEnd = nil, nil
}

// Next returns the next records of the queue in order, which no Next has returned before: at
// most maxRecords, and at most maxBytes of them, or a single larger one. None means that there
// is none now; [Queue.Ready]'s function is called when there is. Records that were in a batch
// of a former process are returned by [Queue.Unacknowledged] instead, which must be called
// first whenever Ready's function was called.
//
// It may wait for the disk. After an error the same records are tried again by the next call;
// what cannot be read for several calls is given up, counted, and logged.
func (q *Queue) Next(maxRecords int, maxBytes int64) ([]Stored, error) {
	q.reading.Lock()
	defer q.reading.Unlock()
	s := q.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.closing {
			return nil, ErrClosed
		}
		if s.gated || q.unread == 0 {
			q.waiting = true
			q.closeFile()
			return nil, nil
		}
		if q.refused != nil {
			return nil, q.refused
		}
		if len(q.recent) > 0 {
			return q.takeRecent(maxRecords, maxBytes), nil
		}
		p := q.unreadPart()
		if p == nil { // cannot be; but an endless loop would be worse
			q.unread = 0
			continue
		}
		out, err := q.read(p, maxRecords, maxBytes)
		if err != nil || len(out) > 0 {
			return out, err
		}
	}
}

// takeRecent returns records of recent. It is called with mu held.
func (q *Queue) takeRecent(maxRecords int, maxBytes int64) []Stored {
	n := 0
	var bytes int64
	for n < len(q.recent) && n < max(maxRecords, 1) {
		size := q.recent[n].Record.size()
		if n > 0 && bytes+size > maxBytes {
			break
		}
		bytes += size
		n++
	}
	s := q.spool
	for i, r := range q.recent[:n] {
		if i+1 < n && q.recent[i+1].Position.segment == r.Position.segment {
			continue
		}
		// The last one of its segment moves that part's cursor.
		if g := s.segments[segmentKey{r.Position.directory, r.Position.segment}]; g != nil {
			p := g.parts[q]
			p.next, p.offset = r.Position.number+1, q.recentEnd[i]
		}
	}
	q.unread -= n
	s.cached -= bytes
	// All are taken mostly; what is returned is then the slice itself.
	out := q.recent[:n:n]
	if n == len(q.recent) {
		q.recent, q.recentEnd = nil, q.recentEnd[:0]
	} else {
		q.recent = q.recent[n:]
		q.recentEnd = q.recentEnd[n:]
	}
	return out
}

// unreadPart returns the first part with unread records, and drops those before it. It is
// called with mu held.
func (q *Queue) unreadPart() *part {
	for len(q.parts) > 0 {
		p := q.parts[0]
		if p.unread() > 0 {
			return p
		}
		if len(q.parts) == 1 && !p.segment.sealed {
			return nil
		}
		q.parts[0] = nil
		q.parts = q.parts[1:]
	}
	return nil
}

// unread returns how many records of the part Next has not passed.
func (p *part) unread() int {
	if p.next >= p.count {
		return 0
	}
	n := int(p.count - p.next)
	for _, s := range p.skip {
		if s.to > p.next {
			n -= int(s.to - max(s.from, p.next))
		}
	}
	return n
}

// read reads records of a part from the disk. It is called with reading and mu held, and
// releases mu meanwhile.
func (q *Queue) read(p *part, maxRecords int, maxBytes int64) ([]Stored, error) {
	s := q.spool
	w := walk{part: p, key: p.segment.key, next: p.next, count: p.count, offset: p.offset, last: p.last, skip: p.skip}
	s.mu.Unlock()
	f, err := q.openSegment(p.segment)
	if err == nil {
		err = w.read(f, max(maxRecords, 1), maxBytes)
	}
	s.mu.Lock()
	if err != nil {
		s.stats.failures++
		if q.tries++; isShortage(err) {
			q.tries = 0
		}
		if q.tries < readTries {
			return nil, fmt.Errorf("could not read %q at offset %d: %w", p.segment.path(segmentSuffix), w.offset, err)
		}
		q.closeFile()
		w.giveUp(f == nil)
	}
	q.tries = 0
	lost := q.lose(p, w.lost, w.offset)
	p.next, p.offset = w.next, w.offset
	q.unread -= len(w.out) + lost
	return w.out, nil
}

// isShortage reports whether a file cannot be opened for now, though its records are there: too
// many are open, or someone has changed who may read it.
func isShortage(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EACCES)
}

// openSegment returns the segment's file. It is called with reading held.
func (q *Queue) openSegment(g *segment) (File, error) {
	if q.open == g {
		return q.file, nil
	}
	q.closeFile()
	f, err := q.spool.fs.Open(g.path(segmentSuffix))
	if err != nil {
		return nil, err
	}
	q.file, q.open = f, g
	return f, nil
}

// closeFile is called with reading held.
func (q *Queue) closeFile() {
	if q.file != nil {
		q.file.Close()
		q.file, q.open = nil, nil
	}
}

// Done says that records were delivered, or have failed and were counted: their space on the
// disk may go. The order is free. Positions of records that are done with already are ignored.
func (q *Queue) Done(positions []Position) {
	s := q.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(positions); {
		first := positions[i]
		n := 1
		for i+n < len(positions) && positions[i+n].directory == first.directory &&
			positions[i+n].segment == first.segment && positions[i+n].queue == first.queue && positions[i+n].number == first.number+uint32(n) {
			n++
		}
		i += n
		g := s.segments[segmentKey{first.directory, first.segment}]
		if g == nil || g.parts[q] == nil || g.parts[q].number != first.queue {
			continue
		}
		p := g.parts[q]
		from, to := first.number, min(first.number+uint32(n), p.count)
		if added := p.done.add(from, to); added > 0 {
			if k := len(g.pending) - 1; k >= 0 && g.pending[k].queue == p.number && g.pending[k].to == from {
				g.pending[k].to = to
			} else {
				g.pending = append(g.pending, doneEntry{p.number, from, to})
			}
			s.finished(p, added)
		}
	}
}

// Undone returns those of the records that are not done with: those of a [RecoveredBatch] that is
// not sent again as it was.
func (q *Queue) Undone(records []Stored) (undone []Stored) {
	s := q.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range records {
		at := &records[i].Position
		if g := s.segments[segmentKey{at.directory, at.segment}]; g != nil && g.parts[q] != nil && !g.parts[q].done.contains(at.number) {
			undone = append(undone, records[i])
		}
	}
	return undone
}

// finished counts records that are done with, has that noted, and the segment removed if they
// were its last. It is called with mu held.
func (s *Spool) finished(p *part, n int) {
	p.queue.undone -= n
	p.segment.undone -= n
	if !p.segment.dirty {
		p.segment.dirty = true
		s.dirty = append(s.dirty, p.segment)
	}
	s.janitor.wake()
}
