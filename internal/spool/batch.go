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

// sentBatch is the last batch of a queue's partition.
type sentBatch struct {
	queue   *Queue
	batch   Batch // without positions
	places  []place
	segment *segment // that its entry is in
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
// another batch of the partition is written.
//
// Batches do not count for the limit: records leave the spool only after their batch is in it.
// If the error wraps [ErrFull] or [ErrFailed], the records can still be sent, though a later
// process would not know as what.
func (q *Queue) WriteBatch(b Batch) error {
	s := q.spool
	sent := &sentBatch{queue: q, batch: b, places: places(b.Positions)}
	sent.batch.Positions = nil
	need := int64(entryHeadSize + 4 + len(q.name.destination) + len(q.name.topic) + batchSize + placeSize*len(sent.places))
	result := make(chan error, 1)
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

// send notes the last batch of a partition, whose entry is in the segment. It is called with
// mu held.
func (q *Queue) send(b *sentBatch, in *segment) {
	if old := q.sent[b.batch.Partition]; old != nil {
		delete(old.segment.sent, old)
		if old.segment.undone == 0 {
			q.spool.janitor.wake()
		}
	}
	b.segment = in
	q.sent[b.batch.Partition] = b
	in.sent[b] = struct{}{}
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
	q.recovered = nil
	wanted := map[*part]ranges{}
	var order []*part
	for _, b := range batches {
		for _, pl := range b.places {
			p := s.segments[pl.segmentKey].parts[q]
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
		q.readAll(&walks[i])
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

// readAll reads to the end of a part; what cannot be read is given up. It is called with
// reading held.
func (q *Queue) readAll(w *walk) {
	for tries := 0; w.next < w.count; {
		f, err := q.openSegment(w.part.segment)
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
}

// recover makes a batch of the records that were read. It is called with mu held.
func (q *Queue) recover(b *sentBatch, records map[Position]Record) RecoveredBatch {
	out := RecoveredBatch{Batch: b.batch}
	complete := true
	for _, pl := range b.places {
		for n := pl.from; n < pl.to; n++ {
			at := Position{pl.directory, pl.segment, n}
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
