package spool

import (
	"fmt"
	"hash/crc32"
)

const (
	groupSize    = 4 << 20   // a group that has this many bytes is closed
	mostQueued   = 64 << 20  // bytes that wait for the disk
	mostEntry    = 256 << 20 // bytes of an Append
	batchSegment = 256 << 10 // the size of a segment that is made for batches beyond the limit
	spareBuffer  = 8 << 20   // larger buffers are not kept
	spareGroups  = 3
)

// group is what is written at once.
type group struct {
	buf     []byte // entries, whose heads are written by stamp
	items   []item
	calls   []call
	batches bool // there are entries of kindBatch
}

// item is an entry of a group.
type item struct {
	queue  *Queue
	at     int // offset in the group's buffer
	head   entryHead
	record Record
	sent   *sentBatch // of kindBatch
}

// call is an Append or a WriteBatch: the items up to, but not including, to.
type call struct {
	to        int
	committed func([]Position, error)
}

// Append hands records over for the disk, all or none of them, and returns at once. The error
// wraps [ErrFull], [ErrFailed] or [ErrClosed]. If it is nil, committed is called exactly once:
// after the fsync, with the position of each record, or with such an error: then none of the
// records is stored. The calls of a queue are in the order of its Append calls. They come from
// the goroutine that writes, and must not block, nor call Close.
//
// The spool keeps the slices of the records, and hands them to Next: their bytes must not
// change. It does not keep entries.
func (s *Spool) Append(entries []Entry, committed func([]Position, error)) error {
	var need int64
	for i := range entries {
		need += entryHeadSize + entries[i].Record.payloadSize(entries[i].Queue.name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admit(need, s.limit); err != nil {
		s.stats.refused++
		return err
	}
	g := s.group()
	for i := range entries {
		e := &entries[i]
		it := g.begin(e.Queue)
		it.record = e.Record
		g.buf = appendRecord(g.buf, &e.Record)
		g.finish(it, kindRecord)
	}
	g.calls = append(g.calls, call{len(g.items), committed})
	s.submit(need)
	return nil
}

// admit returns why need bytes are not accepted. It is called with mu held.
func (s *Spool) admit(need, limit int64) error {
	if s.closing {
		return ErrClosed
	}
	if err := s.health.refused(); err != nil {
		return err
	}
	if need > mostEntry {
		return fmt.Errorf("%w for %d bytes at once: at most %d are possible", ErrFull, need, mostEntry)
	}
	if s.queued > 0 && s.queued+need > mostQueued {
		err := fmt.Errorf("%w: %d bytes wait for the disk, which is slow", ErrFull, s.queued)
		s.health.refuse(err, false)
		return err
	}
	if limit > 0 {
		room := limit - s.used
		if a := s.writer.segment; a != nil && !a.sealed {
			room += a.size - a.end
		}
		if s.queued+need > room {
			err := s.limitReached()
			s.health.refuse(err, false)
			return err
		}
	}
	return nil
}

func (s *Spool) limitReached() error {
	return fmt.Errorf("%w: the files below %q have reached the limit of %d bytes, because Kafka has not acknowledged their records yet", ErrFull, s.root, s.limit)
}

// group returns the group that is being filled. It is called with mu held.
func (s *Spool) group() *group {
	if k := len(s.groups); k > 0 && len(s.groups[k-1].buf) < groupSize {
		return s.groups[k-1]
	}
	var g *group
	if k := len(s.spare); k > 0 {
		g, s.spare = s.spare[k-1], s.spare[:k-1]
	} else {
		g = &group{}
	}
	s.groups = append(s.groups, g)
	return g
}

// submit has the writer take what was added to a group. It is called with mu held.
func (s *Spool) submit(size int64) {
	s.queued += size
	s.wake.Signal()
}

// recycle keeps a group's memory for another. It is called with mu held.
func (s *Spool) recycle(g *group) {
	s.queued -= int64(len(g.buf))
	if len(s.spare) == spareGroups || cap(g.buf) > spareBuffer {
		return
	}
	clear(g.items)
	clear(g.calls)
	g.buf, g.items, g.calls = g.buf[:0], g.items[:0], g.calls[:0]
	g.batches = false
	s.spare = append(s.spare, g)
}

// begin adds an entry, whose payload is to be appended to buf.
func (g *group) begin(q *Queue) *item {
	g.items = append(g.items, item{queue: q, at: len(g.buf)})
	var head [entryHeadSize]byte
	g.buf = append(g.buf, head[:]...)
	g.buf = appendNames(g.buf, q.name)
	return &g.items[len(g.items)-1]
}

// finish ends the entry.
func (g *group) finish(it *item, kind uint8) {
	payload := g.buf[it.at+entryHeadSize:]
	it.head = entryHead{kind: kind, length: uint32(len(payload)), payload: crc32.Checksum(payload, castagnoli)}
}
