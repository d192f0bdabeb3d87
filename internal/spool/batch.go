package spool

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
)

// Batch is what records are sent as: their partition, and what an idempotent producer says of
// them (KIP-98). Positions are those of its records, in the batch's order.
type Batch struct {
	Partition  int32
	ProducerID int64
	Epoch      int16
	Sequence   int32 // of the first record
	Positions  []Position
}

// RecoveredBatch is a batch that a former process may have sent, and of which it does not know
// that it was acknowledged. If it is sent again exactly so, the broker recognises it.
//
// If not all of its records can be read any more, ProducerID is -1, and it has the others:
// they cannot be recognised.
type RecoveredBatch struct {
	Batch
	Records []Stored // at Batch.Positions
}

// Identity is what the next batch of a partition is sent as.
type Identity struct {
	ProducerID int64
	Epoch      int16
	Sequence   int32
}

// sentBatch is a batch that was written.
type sentBatch struct {
	batch   Batch // without positions
	places  []place
	segment *segment // that its entry is in
	at      int64    // offset of the entry; only of adopted ones
}

// maxBatch bounds the records of a batch that comes from a file.
const maxBatch = 1 << 20

// laneKey says whose sequences a batch is in.
type laneKey struct {
	partition int32
	producer  int64
}

// lane is the batches of a producer id for a partition of a queue. One of them is in flight at
// a time, so only the last one can be unfinished. It is guarded by Spool.mu.
type lane struct {
	laneKey
	queue    *Queue
	last     *sentBatch
	segments int // that have an entry of the lane
}

// in reports whether records of the batch are in the segment.
func (b *sentBatch) in(g segmentKey) bool {
	return slices.ContainsFunc(b.places, func(p place) bool { return p.segmentKey == g })
}

// records returns how many records the batch has.
func (b *sentBatch) records() int {
	n := 0
	for _, p := range b.places {
		n += int(p.to - p.from)
	}
	return n
}

// next returns the identity of the partition's next batch. Sequences go from 1<<31-1 to 0.
func (b *sentBatch) next() Identity {
	return Identity{b.batch.ProducerID, b.batch.Epoch, int32((int64(b.batch.Sequence) + int64(b.records())) & math.MaxInt32)}
}

// WriteBatch writes what records of the queue are about to be sent as, and returns when that is
// on stable storage, with the next commit group. It is kept until all of them are done with, or
// another batch of the partition is written. Calls of Done that came before it are on the disk
// before it, though not synced: they survive the end of the process, not a power failure.
//
// Batches do not count for the limit: records leave the spool only after their batch is in it.
// If the error wraps [ErrFull] or [ErrFailed], the records can still be sent, though a later
// process would not know as what.
func (q *Queue) WriteBatch(b Batch) error {
	s := q.spool
	sent := &sentBatch{batch: b, places: places(b.Positions)}
	sent.batch.Positions = nil
	need := int64(entryHeadSize + 4 + len(q.name.destination) + len(q.name.topic) + batchSize + placeSize*len(sent.places))
	result := make(chan error, 1)
	// The batch before this one of the partition must not come back once it is not the last
	// any more: its records would be sent as others.
	s.noteDone()
	s.mu.Lock()
	if err := s.admit(need, 0); err != nil {
		s.mu.Unlock()
		return err
	}
	g := s.group()
	it := g.begin(q)
	it.sent = sent
	g.buf = appendBatch(g.buf, &b, sent.places)
	g.finish(it, kindBatch)
	g.batches = true
	g.calls = append(g.calls, call{len(g.items), func(_ []Position, err error) { result <- err }})
	s.submit(need)
	s.mu.Unlock()
	return <-result
}

// send notes the last batch of a lane, whose entry is in the segment. It is called with mu held.
func (q *Queue) send(b *sentBatch, in *segment) *lane {
	key := laneKey{b.batch.Partition, b.batch.ProducerID}
	l := q.lanes[key]
	if l == nil {
		l = &lane{laneKey: key, queue: q}
		q.lanes[key] = l
	}
	if _, ok := in.lanes[l]; !ok {
		in.lanes[l] = struct{}{}
		l.segments++
	}
	b.segment = in
	l.last = b
	return l
}

// follows reports whether b was written after another batch of its lane, by another process
// or an earlier segment: its epoch is higher, or its sequence, which goes from 1<<31-1 to 0.
// The same sequence is the same batch, or what was split off it.
func (b *sentBatch) follows(other *sentBatch) bool {
	if b.batch.Epoch != other.batch.Epoch {
		return b.batch.Epoch > other.batch.Epoch
	}
	ahead := uint32(b.batch.Sequence-other.batch.Sequence) & math.MaxInt32
	return ahead < 1<<30
}

// Identities returns what former processes sent last, by partition, as far as the files are
// still there: what the next batch of each partition would be sent as.
func (q *Queue) Identities() map[int32]Identity {
	q.spool.mu.Lock()
	defer q.spool.mu.Unlock()
	out := make(map[int32]Identity, len(q.identities))
	for p, i := range q.identities {
		out[p] = i
	}
	return out
}

// Unacknowledged returns the batches of former processes of which not all records are done
// with: the last one of each partition, ordered by partition. Each is returned once, and
// [Queue.Next] does not return its records. It must be called whenever Ready's function was
// called, before Next, also by a producer without idempotence. It may wait for the disk.
func (q *Queue) Unacknowledged() []RecoveredBatch {
	q.reading.Lock()
	defer q.reading.Unlock()
	s := q.spool
	s.mu.Lock()
	if s.gated || s.closing {
		s.mu.Unlock()
		return nil
	}
	batches := q.recovered
	q.recovered, q.refused = nil, nil
	wanted := map[*part]ranges{}
	var order []*part
	for _, b := range batches {
		for _, pl := range b.places {
			g := s.segments[pl.segmentKey]
			if g == nil || g.parts[q] == nil {
				continue
			}
			p := g.parts[q]
			r, known := wanted[p]
			if !known {
				order = append(order, p)
			}
			r.add(pl.from, pl.to)
			wanted[p] = r
		}
	}
	walks := make([]walk, len(order))
	for i, p := range order {
		skip := ranges{{0, p.count}}
		for _, w := range wanted[p] {
			skip.remove(w.from, w.to)
		}
		walks[i] = walk{part: p, key: p.segment.key, count: p.count, offset: p.first, last: p.last, skip: skip}
	}
	s.mu.Unlock()
	if len(batches) == 0 {
		return nil
	}

	records := map[Position]Record{}
	for i := range walks {
		if err := q.readAll(&walks[i]); err != nil {
			q.closeFile()
			s.mu.Lock()
			defer s.mu.Unlock()
			s.stats.failures++
			q.recovered, q.refused = append(batches, q.recovered...), err // the janitor calls ready again
			return nil
		}
		for _, r := range walks[i].out {
			records[r.Position] = r.Record
		}
	}
	q.closeFile()

	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range walks {
		q.lose(order[i], walks[i].lost, walks[i].offset)
	}
	out := make([]RecoveredBatch, 0, len(batches))
	for _, b := range batches {
		if r := q.recover(b, records); len(r.Records) > 0 {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b RecoveredBatch) int { return int(a.Partition) - int(b.Partition) })
	return out
}

// readAll reads to the end of a part; what cannot be read is given up, unless isShortage is true
// of the error. It is called with reading held.
func (q *Queue) readAll(w *walk) error {
	for tries := 0; w.next < w.count; {
		f, err := q.openSegment(w.part.segment)
		if isShortage(err) {
			return err
		}
		if err == nil {
			if err = w.read(f, math.MaxInt, math.MaxInt64); err == nil {
				continue
			}
		}
		if tries++; tries >= readTries {
			tries = 0
			q.closeFile()
			w.giveUp(f == nil)
		}
	}
	return nil
}

// recover makes a batch of the records that were read. It is called with mu held.
func (q *Queue) recover(b *sentBatch, records map[Position]Record) RecoveredBatch {
	out := RecoveredBatch{Batch: b.batch}
	complete := true
	for _, pl := range b.places {
		g := q.spool.segments[pl.segmentKey]
		if g == nil || g.parts[q] == nil {
			complete = false
			continue
		}
		queue := g.parts[q].number
		for n := pl.from; n < pl.to; n++ {
			at := Position{pl.directory, pl.segment, queue, n}
			r, ok := records[at]
			if !ok {
				complete = false
				continue
			}
			out.Positions = append(out.Positions, at)
			out.Records = append(out.Records, Stored{at, r})
		}
	}
	if !complete {
		out.ProducerID = -1
		undone := out.Records[:0]
		out.Positions = out.Positions[:0]
		for _, r := range out.Records {
			g := q.spool.segments[segmentKey{r.Position.directory, r.Position.segment}]
			if !g.parts[q].done.contains(r.Position.number) {
				undone = append(undone, r)
				out.Positions = append(out.Positions, r.Position)
			}
		}
		out.Records = undone
	}
	return out
}

// lose counts records that cannot be read as done with. It is called with mu held.
func (q *Queue) lose(p *part, lost []span, offset int64) int {
	n := 0
	for _, l := range lost {
		if added := p.done.add(l.from, l.to); added > 0 {
			p.segment.pending = append(p.segment.pending, doneEntry{p.number, l.from, l.to})
			n += added
		}
	}
	if n > 0 {
		s := q.spool
		s.finished(p, n)
		s.stats.damaged += uint64(n)
		s.log.Error(fmt.Sprintf("%d records of the spool cannot be read any more, and are lost: check the disk", n),
			slog.String("file", p.segment.path(segmentSuffix)), slog.Int64("offset", offset))
	}
	return n
}
