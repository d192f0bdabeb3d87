package spool

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// takeDirectory makes and locks the process's own directory. Its id is the time, and higher
// than any other's, so that ids ascend and are not used again.
func (s *Spool) takeDirectory() (*directory, error) {
	var err error
	for range 100 {
		var names []string
		if names, err = s.fs.Names(s.root); err != nil {
			return nil, err
		}
		id := uint64(time.Now().UnixNano())
		for _, name := range names {
			if other, ok := parseID(name); ok && other < 1<<63 {
				id = max(id, other+1)
			}
		}
		d := &directory{id: id, path: filepath.Join(s.root, directoryName(id)), segments: map[uint64]*segment{}}
		if err = s.fs.Mkdir(d.path); err != nil {
			if errors.Is(err, os.ErrExist) {
				continue
			}
			return nil, err
		}
		// Another process may take the new directory for one of a dead process, and remove it.
		if d.lock, err = s.fs.Lock(d.path); err != nil {
			if errors.Is(err, errLocked) || errors.Is(err, os.ErrNotExist) {
				continue
			}
			_ = s.fs.Remove(d.path)
			return nil, err
		}
		if err = s.fs.SyncDir(s.root); err != nil {
			s.release(d)
			return nil, err
		}
		return d, nil
	}
	return nil, err
}

// claim locks the directories of dead processes, in the order of their creation. One process
// claims at a time, so that the directories of several dead processes, whose batches may be of
// each other's records, come into one hand. With first, the error says that there is a spool of
// a later format; nothing is changed then.
func (s *Spool) claim(first bool) ([]*directory, error) {
	lock, err := s.fs.Lock(s.root)
	for tries := 0; first && errors.Is(err, errLocked) && tries < 200; tries++ {
		time.Sleep(5 * time.Millisecond) // for as long as another process claims
		lock, err = s.fs.Lock(s.root)
	}
	if err != nil {
		if errors.Is(err, errLocked) {
			return nil, nil // the next look will do
		}
		return nil, fmt.Errorf("could not lock the directory %q of the spool: %w", s.root, err)
	}
	defer lock.Close()
	names, err := s.fs.Names(s.root)
	if err != nil {
		return nil, fmt.Errorf("could not read the directory %q of the spool: %w", s.root, err)
	}
	slices.Sort(names)
	var claimed []*directory
	for _, name := range names {
		id, ok := parseID(name)
		if !ok || id == s.directory.id || s.holds(id) || time.Now().Before(s.janitor.avoid[name]) {
			continue
		}
		d := &directory{id: id, path: filepath.Join(s.root, name), segments: map[uint64]*segment{}}
		d.lock, err = s.fs.Lock(d.path)
		if errors.Is(err, errLocked) || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			if err = s.inspect(d); err != nil {
				d.lock.Close()
			}
		}
		var later *laterFormatError
		if first && errors.As(err, &later) {
			for _, c := range claimed {
				c.lock.Close()
			}
			return nil, err
		}
		if err != nil {
			s.janitor.avoid[name] = time.Now().Add(avoidFor)
			s.log.Error("could not adopt a directory of the spool, whose records stay there", slog.String("directory", d.path), slog.Any("error", err))
			continue
		}
		claimed = append(claimed, d)
	}
	s.mu.Lock()
	for _, d := range claimed {
		s.adopted[d.id] = d
		s.used += d.files
	}
	s.mu.Unlock()
	return claimed, nil
}

func (s *Spool) holds(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.adopted[id] != nil
}

// laterFormatError says that a later version has written a file.
type laterFormatError struct {
	name    string
	version uint32
}

func (e *laterFormatError) Error() string {
	return fmt.Sprintf("%q was written by a later version, in format %d of the spool, of which this one knows up to %d: run the later version until its records are sent, or give this one another directory", e.name, e.version, version)
}

// inspect adds up the files of a directory, and looks for those of a later format.
func (s *Spool) inspect(d *directory) error {
	names, err := s.fs.Names(d.path)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, _, ok := parseSegmentName(name, segmentSuffix); !ok {
			continue
		}
		path := filepath.Join(d.path, name)
		f, err := s.fs.Open(path)
		if err != nil {
			return err
		}
		size, err := f.Size()
		if r, ok := f.(reserver); ok && err == nil {
			if end, err := r.ContentEnd(); err == nil {
				size = min(size, end) // the rest goes as soon as the file is read
			}
		}
		if err == nil {
			var b [16]byte
			n, _ := f.ReadAt(b[:], 0)
			if v := headVersion(b[:n]); v > version {
				err = &laterFormatError{path, v}
			}
		}
		f.Close()
		if err != nil {
			return err
		}
		d.files += size
	}
	return nil
}

// adoptDead adopts the directories of processes that have died since the last look.
func (s *Spool) adoptDead() {
	found, err := s.claim(false)
	if err != nil {
		s.fault()
	}
	if len(found) == 0 {
		return
	}
	s.adopt(found)
	s.mu.Lock()
	ready := s.readyQueues()
	s.mu.Unlock()
	for _, q := range ready {
		q.ready()
	}
}

// readyQueues returns the queues whose Ready function is to be called: those for which Next had
// nothing, and those with batches, for which Next has nothing to return. It is called with mu
// held.
func (s *Spool) readyQueues() []*Queue {
	var out []*Queue
	for _, q := range s.queues {
		if len(q.recovered) > 0 || q.waiting && q.unread > 0 {
			q.waiting = false
			out = append(out, q)
		}
	}
	return out
}

// adopt reads directories that claim has locked, and gives their records to the queues.
//
// It removes nothing but what is no record: whoever adopts the directories after it, because
// this process dies meanwhile, finds the same records.
func (s *Spool) adopt(found []*directory) {
	var all []*scanned
	for _, d := range found {
		var records int
		scanned, ok := s.scanDirectory(d)
		if !ok {
			return // Close unlocks the directories
		}
		for _, g := range scanned {
			all = append(all, g)
			for _, p := range g.parts {
				records += int(p.live)
			}
		}
		if records > 0 {
			s.log.Info("adopted the records of a process that has ended", slog.String("directory", d.path), slog.Int("records", records))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.adopted += uint64(len(found))
	added := map[*Queue][]*part{}
	for _, d := range found {
		s.used -= d.files
		d.files = 0
	}
	for _, g := range all {
		a := g.segment
		a.directory.segments[a.id] = a
		s.segments[a.segmentKey()] = a
		s.used += a.size
		for _, sp := range g.numbered {
			q := s.queue(sp.name)
			p := &part{segment: a, queue: q, number: sp.number, count: sp.count, first: sp.first, last: sp.last,
				offset: sp.first, done: sp.done, skip: slices.Clone(sp.done)}
			a.parts[q] = p
			a.undone += int(sp.live)
			q.undone += int(sp.live)
			q.unread += int(sp.live)
			s.stats.adoptedRecords += uint64(sp.live)
			added[q] = append(added[q], p)
		}
	}
	for q, parts := range added {
		q.adopt(parts)
	}
	s.adoptBatches(all)
	s.janitor.wake()
}

// adopt puts parts before the queue's own ones, and behind those adopted earlier. It is called
// with mu held.
func (q *Queue) adopt(parts []*part) {
	i := 0
	for i < len(q.parts) && q.parts[i].segment.directory != q.spool.directory {
		i++
	}
	q.parts = slices.Insert(q.parts, i, parts...)
	q.forgetRecent()
}

// adoptBatches takes the last batch of each lane, and gives back as they were sent those of
// which not all records are done with, one for each partition. It is called with mu held.
func (s *Spool) adoptBatches(found []*scanned) {
	candidates := map[*lane]bool{}
	for _, c := range found {
		for _, b := range c.batches {
			q := s.queue(b.name)
			l := q.lanes[laneKey{b.batch.Partition, b.batch.ProducerID}]
			if l == nil || b.follows(l.last) {
				candidates[q.send(&b.sentBatch, c.segment)] = true
				q.identities[b.batch.Partition] = b.next()
				continue
			}
			last := l.last
			q.send(&b.sentBatch, c.segment)
			l.last = last
		}
	}
	var unfinished []*lane
	for l := range candidates {
		if s.readable(l) && !s.allDone(l.last.places, l.queue) {
			unfinished = append(unfinished, l)
		}
	}
	slices.SortFunc(unfinished, func(a, b *lane) int { return a.last.compare(b.last) })
	slices.SortStableFunc(unfinished, func(a, b *lane) int {
		switch {
		case a.last.refers(b.last):
			return -1
		case b.last.refers(a.last):
			return 1
		}
		return 0
	})
	type partition struct {
		queue  *Queue
		number int32
	}
	taken := map[partition]bool{}
	for _, l := range unfinished {
		// Records that were in a later batch as well were given up as a part of this one.
		p := partition{l.queue, l.partition}
		if !taken[p] && !s.overlaps(l) {
			taken[p] = true
			l.queue.recovered = append(l.queue.recovered, l.last)
			for _, pl := range l.last.places {
				part := s.segments[pl.segmentKey].parts[l.queue]
				part.recovered.add(pl.from, pl.to)
				l.queue.unread -= part.skip.add(pl.from, pl.to)
			}
		}
	}
}

// compare orders batches by where they are, the last one first.
func (b *sentBatch) compare(other *sentBatch) int {
	return cmp.Or(cmp.Compare(other.segment.directory.id, b.segment.directory.id),
		cmp.Compare(other.segment.id, b.segment.id), cmp.Compare(other.at, b.at))
}

// refers reports whether b was surely written later than a batch of another process: by one
// that had adopted its directory, which may be the younger one.
func (b *sentBatch) refers(other *sentBatch) bool {
	return b.segment.directory != other.segment.directory && slices.ContainsFunc(b.places, func(p place) bool {
		return p.directory == other.segment.directory.id
	})
}

// overlaps reports whether records of a lane's last batch are in another that is recovered.
func (s *Spool) overlaps(l *lane) bool {
	return slices.ContainsFunc(l.last.places, func(pl place) bool {
		return s.segments[pl.segmentKey].parts[l.queue].recovered.overlaps(pl.from, pl.to)
	})
}

// readable reports whether all records of a lane's last batch are there, and none of them was
// returned yet, and the batch is no longer than a writer would make it.
func (s *Spool) readable(l *lane) bool {
	if l.last.records() > maxBatch {
		return false
	}
	seen := map[*part]ranges{}
	for _, pl := range l.last.places {
		g := s.segments[pl.segmentKey]
		if g == nil || g.parts[l.queue] == nil {
			return false
		}
		p := g.parts[l.queue]
		if pl.to > p.count || p.next > pl.from {
			return false
		}
		r := seen[p]
		if r.add(pl.from, pl.to) != int(pl.to-pl.from) {
			return false // a record twice
		}
		seen[p] = r
	}
	return true
}
