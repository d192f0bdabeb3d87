package spool

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	noteDelay  = 2 * time.Millisecond // notes of what is done are gathered for so long
	adoptEvery = time.Second
	avoidFor   = time.Minute
	openAgain  = 20 * time.Millisecond // after a file could not be opened
)

// janitor is the goroutine that notes what is done with, removes segments, and adopts
// directories. It alone removes files.
type janitor struct {
	work  chan struct{}
	stop  chan struct{}
	done  chan struct{}
	once  sync.Once
	told  State                // what the log says
	avoid map[string]time.Time // directories that cannot be adopted, and when to try again
}

func (j *janitor) init() {
	j.work = make(chan struct{}, 1)
	j.stop = make(chan struct{})
	j.done = make(chan struct{})
	j.avoid = map[string]time.Time{}
}

// wake has the janitor look at what there is to do.
func (j *janitor) wake() {
	select {
	case j.work <- struct{}{}:
	default:
	}
}

// end has the janitor do what there is to do for the last time.
func (j *janitor) end() {
	j.once.Do(func() { close(j.stop) })
	<-j.done
}

// runJanitor adopts the directories first.
func (s *Spool) runJanitor(found []*directory) {
	j := &s.janitor
	defer close(j.done)
	s.adopt(found)
	s.mu.Lock()
	s.gated = false
	ready := s.readyQueues()
	s.mu.Unlock()
	for _, q := range ready {
		q.ready()
	}
	tick := time.NewTicker(adoptEvery)
	defer tick.Stop()
	pause := time.NewTimer(noteDelay)
	defer pause.Stop()
	for {
		select {
		case <-j.stop:
			s.noteDone()
			s.removeSegments()
			s.syncDone(nil)
			s.noting.Lock()
			s.notes.close(s.notes.segment)
			s.notes.closed = true
			s.noting.Unlock()
			return
		case <-j.work:
			pause.Reset(noteDelay)
			select {
			case <-pause.C:
			case <-j.stop:
			}
			s.noteDone()
			s.removeSegments()
		case <-tick.C:
			s.noteDone()       // what could not be noted
			s.removeSegments() // those that were kept for a batch that is done now
			s.checkOwn()
			s.tell()
			s.adoptDead()
			s.tellAgain()
		}
	}
}

// pause waits before another attempt to open a file. It reports false if Close was called.
func (j *janitor) pause() bool {
	select {
	case <-j.stop:
		return false
	case <-time.After(openAgain):
		return true
	}
}

// tellAgain calls the Ready functions of queues whose batches could not be read.
func (s *Spool) tellAgain() {
	s.mu.Lock()
	ready := s.readyQueues()
	s.mu.Unlock()
	for _, q := range ready {
		q.ready()
	}
}

// ended reports whether Close was called.
func (j *janitor) ended() bool {
	select {
	case <-j.stop:
		return true
	default:
		return false
	}
}

// noteDone writes to done files what was done. A note that cannot be written is tried again later;
// if it never is, records are sent again.
func (s *Spool) noteDone() {
	s.noting.Lock()
	defer s.noting.Unlock()
	if s.notes.closed {
		return
	}
	s.mu.Lock()
	dirty := s.dirty
	s.dirty = nil
	s.mu.Unlock()
	for _, g := range dirty {
		s.mu.Lock()
		pending, end := g.pending, g.doneEnd
		g.pending, g.dirty = nil, false
		gone := g.directory.segments[g.id] != g
		s.mu.Unlock()
		if len(pending) == 0 || gone {
			continue
		}
		var b []byte
		if end == 0 {
			b = appendDoneHead(b, g.key)
		}
		for _, e := range pending {
			b = e.append(b, g.key)
		}
		err := s.writeDone(g, b, end)
		s.mu.Lock()
		if err == nil {
			g.doneEnd += int64(len(b))
			g.synced = false
		} else {
			s.stats.failures++
			s.noteAgain(g)
		}
		s.mu.Unlock()
	}
}

// noteAgain has all that is done with in a segment noted by the next noteDone, because a note could
// not be written, as on a full disk. It is called with mu held.
func (s *Spool) noteAgain(g *segment) {
	g.pending = g.pending[:0]
	for _, p := range g.parts {
		for _, d := range p.done {
			g.pending = append(g.pending, doneEntry{p.number, d.from, d.to})
		}
	}
	if !g.dirty {
		g.dirty = true
		s.dirty = append(s.dirty, g)
	}
}

// notes is the done file that was written last, open. It is guarded by Spool.noting.
type notes struct {
	segment *segment
	file    File
	closed  bool // nothing is written any more: the directories will be others'
}

// close closes the segment's file, if it is that.
func (n *notes) close(g *segment) {
	if n.segment == g && n.file != nil {
		n.file.Close()
		n.segment, n.file = nil, nil
	}
}

func (s *Spool) writeDone(g *segment, b []byte, end int64) error {
	n := &s.notes
	if n.segment != g {
		n.close(n.segment)
		name := g.path(doneSuffix)
		var f File
		var err error
		if end == 0 {
			if f, err = s.fs.Create(name); err != nil {
				_ = s.fs.Remove(name) // a damaged one
				f, err = s.fs.Create(name)
			}
		} else {
			f, err = s.fs.Open(name)
		}
		if err != nil {
			return err
		}
		n.segment, n.file = g, f
	}
	_, err := n.file.WriteAt(b, end)
	return err
}

// syncDone makes the done files durable, but for that of one segment.
//
// It precedes the removal of a segment. So a batch whose records are in several segments has
// either all of them, or it is known which of the others are done with.
func (s *Spool) syncDone(but *segment) {
	s.mu.Lock()
	var due []*segment
	for _, g := range s.segments {
		if g != but && !g.synced && g.doneEnd > 0 {
			due = append(due, g)
		}
	}
	s.mu.Unlock()
	directories := map[*directory]bool{}
	for _, g := range due {
		f, err := s.fs.Open(g.path(doneSuffix))
		if err == nil {
			err = f.Sync()
			f.Close()
		}
		directories[g.directory] = true
		s.mu.Lock()
		g.synced = true // a second fsync would not tell the truth
		if err != nil {
			s.stats.failures++
		}
		s.mu.Unlock()
	}
	for d := range directories {
		if err := s.fs.SyncDir(d.path); err != nil {
			s.fault()
		}
	}
}

// tell says in the log whether the spool takes records, if that has changed; what has failed
// was logged when it did.
func (s *Spool) tell() {
	s.mu.Lock()
	reason := s.health.refusal
	s.mu.Unlock()
	state := stateOf(reason)
	if state == s.janitor.told {
		return
	}
	s.janitor.told = state
	switch state {
	case OK:
		s.log.Info("the spool takes records again")
	case Full:
		s.log.Warn("requests are refused: the spool is full", slog.Any("error", reason))
	}
}

// checkOwn has the segment given up if someone has removed its file: what is written to it
// would not be found again.
func (s *Spool) checkOwn() {
	s.mu.Lock()
	a := s.writer.segment
	path := s.directory.path
	s.mu.Unlock()
	if a == nil {
		return
	}
	names, err := s.fs.Names(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) || slices.Contains(names, segmentName(a.id, a.key)+segmentSuffix) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer.segment == a && !a.sealed {
		a.gone = true
	}
}

// fault counts a file operation that failed.
func (s *Spool) fault() {
	s.mu.Lock()
	s.stats.failures++
	s.mu.Unlock()
}

// removeSegments removes the segments that nothing needs any more, and adopted directories
// without any.
func (s *Spool) removeSegments() {
	for {
		s.mu.Lock()
		var g *segment
		for _, c := range s.segments {
			if s.unlinkable(c) {
				g = c
				break
			}
		}
		s.mu.Unlock()
		if g == nil {
			break
		}
		s.removeSegment(g)
	}
	s.mu.Lock()
	var empty []*directory
	for _, d := range s.adopted {
		if len(d.segments) == 0 {
			empty = append(empty, d)
			delete(s.adopted, d.id)
		}
	}
	s.mu.Unlock()
	for _, d := range empty {
		s.release(d)
	}
}

// removeSegment removes the segment's file first: a done file without a segment means nothing,
// a segment without its done file would be sent again.
func (s *Spool) removeSegment(g *segment) {
	s.syncDone(g)
	d := g.directory
	name := g.path(segmentSuffix)
	s.noting.Lock() // a done file must not be made behind this
	defer s.noting.Unlock()
	s.notes.close(g)
	if err := s.fs.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.mu.Lock()
		g.keep = time.Now().Add(avoidFor)
		s.stats.failures++
		s.mu.Unlock()
		s.log.Warn("could not remove a file of the spool whose records are done with", slog.String("file", name), slog.Any("error", err))
		return
	}
	err := s.fs.SyncDir(d.path)
	if err == nil && g.doneEnd > 0 {
		err = s.fs.Remove(g.path(doneSuffix))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(d.segments, g.id)
	delete(s.segments, g.segmentKey())
	s.used -= g.size
	for l := range g.lanes {
		if l.segments--; l.segments == 0 {
			delete(l.queue.lanes, l.laneKey)
		}
	}
	if err != nil { // the removal may not be durable: what says that nothing in it is valid stays
		s.stats.failures++
	} else {
		d.failed = slices.DeleteFunc(d.failed, func(n note) bool { return n.segment == g.id })
	}
	s.health.retry()
}

// release unlocks a directory, and removes it if nothing is in it.
func (s *Spool) release(d *directory) {
	s.mu.Lock()
	empty := len(d.segments) == 0
	s.mu.Unlock()
	if empty {
		if err := s.fs.Remove(d.path); err == nil {
			_ = s.fs.SyncDir(s.root)
		}
	}
	d.lock.Close()
}
