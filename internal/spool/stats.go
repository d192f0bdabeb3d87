package spool

import (
	"cmp"
	"slices"
	"time"
)

// FsyncBuckets are the upper bounds of the buckets of [Stats].Fsyncs; a last one has no bound.
var FsyncBuckets = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, time.Second, 5 * time.Second,
}

// Histogram counts how long calls took.
type Histogram struct {
	Count   uint64
	Sum     time.Duration
	Buckets [len(FsyncBuckets) + 1]uint64 // not cumulative
}

// State says whether the spool takes records.
type State int

// The states of a Spool.
const (
	OK     State = iota
	Full         // [ErrFull]
	Failed       // [ErrFailed]
)

// String returns "ok", "full" or "failed".
func (s State) String() string { return [...]string{"ok", "full", "failed"}[s] }

// Stats is what a Spool has done, and what it holds.
type Stats struct {
	State  State
	Reason error // nil if State is OK

	// What it holds, adopted records included.
	Records  int   // that are not done with
	Bytes    int64 // of files with records, the room that they reserve included
	Limit    int64 // 0: none
	Segments int
	Queues   []QueueStats // with records that are not done with, ordered by name
	Reading  bool         // the directories found at Open are still being read

	// What has happened since Open.
	Groups          uint64 // commit groups on the disk
	AppendedRecords uint64
	AppendedBytes   uint64 // written to the disk, heads of entries included
	Refused         uint64 // Append calls that returned an error
	FailedGroups    uint64 // whose calls were told an error
	Failures        uint64 // writes, reads, fsyncs, and other file operations that failed
	Damaged         uint64 // records lost to damage on the disk, as far as they can be counted
	DamagedBytes    uint64 // bytes passed over because of that
	CutBytes        uint64 // bytes of unfinished groups that were cut off
	Adopted         uint64 // directories
	AdoptedRecords  uint64
	Fsyncs          Histogram // of commit groups
}

// QueueStats is what a queue holds.
type QueueStats struct {
	Destination, Topic string
	Records            int // not done with
	Unread             int // not returned by Next yet
}

// counters are guarded by Spool.mu.
type counters struct {
	groups, records, bytes, refused, failedGroups, failures  uint64
	damaged, damagedBytes, cutBytes, adopted, adoptedRecords uint64
	fsyncs                                                   Histogram
}

func (s *Spool) observeFsync(d time.Duration) {
	i, _ := slices.BinarySearch(FsyncBuckets[:], d)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.stats.fsyncs
	h.Count++
	h.Sum += d
	h.Buckets[i]++
}

// Stats returns the counts of this instant.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.stats
	out := Stats{
		Reason: s.health.refusal,
		Bytes:  s.used, Limit: s.limit, Segments: len(s.segments), Reading: s.gated,
		Groups: c.groups, AppendedRecords: c.records, AppendedBytes: c.bytes,
		Refused: c.refused, FailedGroups: c.failedGroups, Failures: c.failures,
		Damaged: c.damaged, DamagedBytes: c.damagedBytes, CutBytes: c.cutBytes,
		Adopted: c.adopted, AdoptedRecords: c.adoptedRecords, Fsyncs: c.fsyncs,
	}
	out.State = stateOf(out.Reason)
	for _, q := range s.queues {
		out.Records += q.undone
		if q.undone > 0 {
			out.Queues = append(out.Queues, QueueStats{q.name.destination, q.name.topic, q.undone, q.unread})
		}
	}
	slices.SortFunc(out.Queues, func(a, b QueueStats) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Topic, b.Topic))
	})
	return out
}
