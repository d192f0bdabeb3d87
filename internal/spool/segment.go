package spool

import (
	"io"
	"path/filepath"
	"time"
)

// directory is a process's directory: this one's own, or an adopted one.
type directory struct {
	id       uint64
	path     string
	lock     io.Closer
	segments map[uint64]*segment
	files    int64  // bytes of segments that are not read yet
	failed   []note // segments in which a write or an fsync failed
}

// segmentKey names a segment for all time.
type segmentKey struct{ directory, segment uint64 }

// segment is a file with entries. Its fields are guarded by Spool.mu.
type segment struct {
	directory *directory
	id, key   uint64
	size      int64 // of the file
	end       int64 // what is behind it is not valid
	sealed    bool  // nothing will be appended any more
	gone      bool  // someone has removed the file
	undone    int   // records that are not done with
	parts     map[*Queue]*part
	lanes     map[*lane]struct{} // of which it has an entry
	keep      time.Time          // it could not be removed; when to try again
	notes     []note             // in its head, about other segments

	// The done file.
	doneEnd int64       // its length; 0: not made yet
	pending []doneEntry // not written yet
	dirty   bool        // it is in Spool.dirty
	synced  bool        // nothing was written since the last fsync
}

func (g *segment) segmentKey() segmentKey { return segmentKey{g.directory.id, g.id} }

func (g *segment) path(suffix string) string {
	return filepath.Join(g.directory.path, segmentName(g.id, g.key)+suffix)
}

// part is the records of a queue in a segment. Its fields are guarded by Spool.mu.
type part struct {
	segment *segment
	queue   *Queue
	number  uint32 // of the queue in the segment
	count   uint32 // one more than the highest number of a record
	first   int64  // offset of the first entry
	last    int64  // offset behind the last entry
	done    ranges

	// The cursor of Next: the first record that it has not passed is number next, at offset or
	// behind it. Records in skip are passed over.
	next   uint32
	offset int64
	skip   ranges

	recovered ranges // that are in batches for Unacknowledged

	written uint32 // the writer's count, which is ahead of count during a commit
}

// unlinkable reports whether nothing needs the segment any more.
func (s *Spool) unlinkable(g *segment) bool {
	if !g.sealed || g.undone > 0 {
		return false
	}
	for _, n := range g.notes {
		if g.directory.segments[n.segment] != nil {
			return false
		}
	}
	// The last entry of a lane stays for longer than the others: those would come back as the
	// last one, with a sequence that the broker knows as another batch's.
	for l := range g.lanes {
		if l.last.segment == g && (l.segments > 1 || !s.allDone(l.last.places, l.queue)) {
			return false
		}
	}
	// A batch can only be sent again with all of its records.
	for q := range g.parts {
		for _, l := range q.lanes {
			if l.last.in(g.segmentKey()) && !s.allDone(l.last.places, q) {
				return false
			}
		}
	}
	return time.Now().After(g.keep)
}

// allDone reports whether all records of the places are done with.
func (s *Spool) allDone(places []place, q *Queue) bool {
	for _, p := range places {
		if g := s.segments[p.segmentKey]; g != nil {
			if part := g.parts[q]; part != nil && !part.done.covers(p.from, p.to) {
				return false
			}
		}
	}
	return true
}
