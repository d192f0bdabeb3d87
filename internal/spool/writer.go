package spool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"syscall"
	"time"
)

// writer is the state of the goroutine that writes. segment is written with Spool.mu held;
// nobody else touches the other fields.
type writer struct {
	segment *segment // open for appending, unless sealed; nil: none yet
	file    File
	group   uint32 // number of the last group in the segment
	last    uint64 // id of the last segment
	ready   []func()
	done    chan struct{} // closed when the goroutine has ended
}

// runWriter writes groups until the spool is closed and nothing is left to write.
func (s *Spool) runWriter() {
	defer close(s.writer.done)
	for {
		s.mu.Lock()
		for len(s.groups) == 0 && !s.closing {
			s.wake.Wait()
		}
		if len(s.groups) == 0 {
			s.mu.Unlock()
			s.seal()
			return
		}
		g := s.groups[0]
		s.groups = s.groups[:copy(s.groups, s.groups[1:])]
		s.mu.Unlock()
		s.commit(g)
	}
}

// commit stores a group, and tells its calls.
func (s *Spool) commit(g *group) {
	err := s.store(g)
	s.mu.Lock()
	var positions []Position
	if err == nil {
		positions = s.publish(g)
	} else {
		s.stats.failedGroups++
	}
	onGroup := s.onGroup
	s.mu.Unlock()

	item, record := 0, 0
	for _, c := range g.calls {
		if err != nil {
			c.committed(nil, err)
			continue
		}
		first := record
		for ; item < c.to; item++ {
			if g.items[item].head.kind == kindRecord {
				record++
			}
		}
		c.committed(positions[first:record:record], nil)
	}
	for i, f := range s.writer.ready {
		f()
		s.writer.ready[i] = nil
	}
	s.writer.ready = s.writer.ready[:0]
	if onGroup != nil {
		onGroup()
	}
	s.mu.Lock()
	s.recycle(g)
	s.mu.Unlock()
}

// store writes a group behind the last one, and has the disk keep it. After an error nothing
// is written to the segment any more: what a failed fsync has left on the disk is not known,
// and a second one may succeed without having written it.
func (s *Spool) store(g *group) error {
	w := &s.writer
	size := int64(len(g.buf))
	s.mu.Lock()
	err := s.health.refused()
	gone := w.segment != nil && w.segment.gone && !w.segment.sealed
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if gone {
		return s.abandon(errors.New("someone has removed it"))
	}
	if a := w.segment; a == nil || a.sealed || a.end+size > a.size {
		// The old segment stays open if there is no new one: a smaller group may fit into it.
		if err := s.createSegment(size, g.batches); err != nil {
			return err
		}
	}
	a := w.segment
	s.stamp(g)
	n, err := w.file.WriteAt(g.buf, a.end)
	if err == nil && n < len(g.buf) {
		err = io.ErrShortWrite
	}
	if err == nil {
		began := time.Now()
		err = w.file.Sync()
		s.observeFsync(time.Since(began))
	}
	if err != nil {
		return s.abandon(err)
	}
	return nil
}

// stamp completes the heads of a group's entries.
func (s *Spool) stamp(g *group) {
	w := &s.writer
	a := w.segment
	w.group++
	for i := range g.items {
		it := &g.items[i]
		p := it.queue.current
		if p == nil || p.segment != a {
			p = &part{segment: a, queue: it.queue}
			it.queue.current = p
			s.mu.Lock()
			p.number = uint32(len(a.parts))
			a.parts[it.queue] = p
			s.mu.Unlock()
		}
		h := &it.head
		h.group, h.index, h.queue = w.group, uint32(i), p.number
		if h.kind == kindRecord {
			h.number = p.written
			p.written++
		}
		if i == len(g.items)-1 {
			h.flags |= flagLast
		}
		h.put(g.buf[it.at:], a.key)
	}
}

// publish counts what store has stored, and returns the records' positions. It is called with
// mu held.
func (s *Spool) publish(g *group) []Position {
	a := s.writer.segment
	positions := make([]Position, 0, len(g.items))
	key := a.segmentKey()
	for i := range g.items {
		it := &g.items[i]
		q, p := it.queue, it.queue.current
		at := a.end + int64(it.at)
		if it.head.kind == kindBatch {
			q.send(it.sent, a)
			continue
		}
		if p.count == 0 {
			p.first, p.offset = at, at
			q.parts = append(q.parts, p)
		}
		p.count++
		p.last = at + it.head.size()
		a.undone++
		position := Position{key.directory, key.segment, p.number, it.head.number}
		positions = append(positions, position)
		if q.arrived(Stored{position, it.record}, p.last) {
			s.writer.ready = append(s.writer.ready, q.ready)
		}
	}
	a.end += int64(len(g.buf))
	if s.health.refusal != nil && (len(positions) > 0 || !s.health.until.IsZero()) { // batches have no limit
		s.health.recover()
	}
	s.stats.groups++
	s.stats.records += uint64(len(positions))
	s.stats.bytes += uint64(len(g.buf))
	return positions
}

// seal ends the segment: what is behind its last group is given back to the disk.
func (s *Spool) seal() {
	w := &s.writer
	a := w.segment
	if a == nil || a.sealed {
		return
	}
	err := w.file.Truncate(a.end)
	w.file.Close()
	w.file = nil
	s.mu.Lock()
	s.endSegment(a, err == nil)
	s.mu.Unlock()
}

// endSegment notes the end of a segment. It is called with mu held.
func (s *Spool) endSegment(a *segment, truncated bool) {
	a.sealed = true
	if truncated {
		s.used -= a.size - a.end
		a.size = a.end
	}
	if a.undone == 0 {
		s.janitor.wake()
	}
}

// abandon gives up the segment, because a group could not be written or synced. The group is
// void: the file is cut before it, and the next segment's head says so as well, because the
// cut may not reach the disk either.
func (s *Spool) abandon(cause error) error {
	w := &s.writer
	a := w.segment
	name := a.path(segmentSuffix)
	cut := w.file.Truncate(a.end)
	if cut == nil {
		cut = w.file.Sync()
	}
	w.file.Close()
	w.file = nil

	err := diskError(cause, "write to", name)
	s.mu.Lock()
	a.directory.failed = append(a.directory.failed, note{a.id, a.end})
	s.endSegment(a, cut == nil)
	s.health.refuse(err, true)
	s.stats.failures++
	s.mu.Unlock()
	s.log.Error("could not write to the spool: requests are refused until a new file can be written",
		slog.String("file", name), slog.Int64("offset", a.end), slog.Any("error", cause))
	return err
}

// diskError says what failed, and wraps ErrFull or ErrFailed.
func diskError(cause error, what, name string) error {
	if errors.Is(cause, syscall.ENOSPC) || errors.Is(cause, syscall.EDQUOT) {
		return fmt.Errorf("%w: could not %s %q: %w", ErrFull, what, name, cause)
	}
	return fmt.Errorf("%w: could not %s %q: %w", ErrFailed, what, name, cause)
}

// createSegment makes a segment that has room for a group of the size, and seals the one before.
// If the group has batches, the limit gives way by as much as the group needs: records can
// only leave the spool once their batch is written.
func (s *Spool) createSegment(group int64, batches bool) error {
	w := &s.writer
	need := headSize + group
	s.mu.Lock()
	d := s.directory
	size := max(s.segmentSize, need)
	if s.limit > 0 {
		room := s.limit - s.used
		if a := w.segment; a != nil && !a.sealed {
			room += a.size - a.end
		}
		size = min(size, room)
		if size < need && batches {
			size = max(need, batchSegment)
		}
		if size < need {
			err := s.limitReached()
			s.health.refuse(err, false)
			s.mu.Unlock()
			return err
		}
	}
	notes := make([]note, len(d.failed))
	copy(notes, d.failed)
	s.mu.Unlock()
	if len(notes) > maxNotes {
		err := fmt.Errorf("%w: %d files below %q could not be written; check the disk, and restart the plugin server", ErrFailed, len(notes), d.path)
		s.refuse(err)
		return err
	}

	w.last++
	a := &segment{directory: d, id: w.last, key: newKey(), size: size, end: headSize,
		parts: map[*Queue]*part{}, lanes: map[*lane]struct{}{}, notes: notes, synced: true}
	name := a.path(segmentSuffix)
	f, err := s.fs.Create(name)
	if err != nil {
		return s.refuse(diskError(err, "create", name))
	}
	err = f.Allocate(size)
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	if err == nil {
		h := head{directory: d.id, id: a.id, key: a.key, notes: notes}
		_, err = f.WriteAt(h.append(nil), 0)
	}
	if err == nil {
		err = s.fs.SyncDir(d.path)
	}
	if err != nil {
		f.Close()
		_ = s.fs.Remove(name) // nothing in it was said to be stored
		return s.refuse(diskError(err, "create", name))
	}
	s.seal()
	s.mu.Lock()
	d.segments[a.id] = a
	s.segments[a.segmentKey()] = a
	s.used += size
	w.segment, w.file, w.group = a, f, 0
	s.mu.Unlock()
	return nil
}

// refuse notes that the disk has failed.
func (s *Spool) refuse(err error) error {
	s.mu.Lock()
	first := s.health.refusal == nil
	s.health.refuse(err, true)
	s.stats.failures++
	s.mu.Unlock()
	if first {
		s.log.Error("could not write to the spool: requests are refused until a new file can be written", slog.Any("error", err))
	}
	return err
}

// newKey returns a key whose mark is not zero: the unused rest of a segment is zeros.
func newKey() uint64 {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		if key := order.Uint64(b[:]); mark(key) != 0 {
			return key
		}
	}
}
