package spool

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// A process that has too many files open must not take the records of a file for lost.
func TestRecordsOfAFileThatCannotBeOpenedForNowAreNotLost(t *testing.T) {
	fs := newSimFS()
	s := open(t, Options{Dir: "/spool", FS: fs})
	q := s.Queue("d", "t")
	p := mustPut(t, s, q, 0, 10)
	if err := q.WriteBatch(Batch{ProducerID: 1, Positions: p[:4]}); err != nil {
		t.Fatal(err)
	}
	s.Close()

	var short atomic.Bool
	fs.fault = func(op simOp) (int, error) {
		if short.Load() && op.what == "open" && strings.HasSuffix(op.name, segmentSuffix) {
			return 0, syscall.EMFILE
		}
		return -1, nil
	}
	s = open(t, Options{Dir: "/spool", FS: fs})
	q = s.Queue("d", "t")
	short.Store(true)
	var told atomic.Int64
	q.Ready(func() { told.Add(1) })
	for range 2 * readTries {
		if r := q.Unacknowledged(); len(r) > 0 {
			t.Fatalf("got %+v", r)
		}
		if got, err := q.Next(100, 1<<20); err == nil || len(got) > 0 {
			t.Fatalf("got %d records before those of the batch, %v", len(got), err)
		}
	}
	short.Store(false)
	before := told.Load()
	until(t, "it is told again", func() bool { return told.Load() > before })
	if r := q.Unacknowledged(); len(r) != 1 || r[0].ProducerID != 1 {
		t.Fatalf("got %+v", r)
	} else {
		want(t, r[0].Records, 0, 4)
	}
	short.Store(true)
	for range 2 * readTries {
		if got, err := q.Next(100, 1<<20); err == nil || len(got) > 0 {
			t.Fatalf("got %d records, %v", len(got), err)
		}
	}
	short.Store(false)
	want(t, take(t, q), 4, 10)
	if n := s.Stats().Damaged; n != 0 {
		t.Errorf("%d records are called damaged", n)
	}
}

// Without a done file, all records of a segment would be sent again.
func TestADoneFileThatCannotBeOpenedForNowIsWaitedFor(t *testing.T) {
	fs := newSimFS()
	s := open(t, Options{Dir: "/spool", FS: fs})
	q := s.Queue("d", "t")
	q.Done(mustPut(t, s, q, 0, 10)[:6])
	s.Close()

	var tries atomic.Int64
	fs.fault = func(op simOp) (int, error) {
		if op.what == "open" && strings.HasSuffix(op.name, doneSuffix) && tries.Add(1) <= 3 {
			return 0, syscall.EMFILE
		}
		return -1, nil
	}
	s = open(t, Options{Dir: "/spool", FS: fs})
	want(t, take(t, s.Queue("d", "t")), 6, 10)
}

// What is delivered while the disk is full must not be sent again by the next process.
func TestWhatIsDoneOnAFullDiskIsNotedOnceThereIsRoom(t *testing.T) {
	fs := newSimFS()
	var full atomic.Bool
	full.Store(true)
	fs.fault = func(op simOp) (int, error) {
		if full.Load() && strings.HasSuffix(op.name, doneSuffix) && (op.what == "create" || op.what == "write") {
			return 0, syscall.ENOSPC
		}
		return -1, nil
	}
	s := open(t, Options{Dir: "/spool", FS: fs})
	q := s.Queue("d", "t")
	p := mustPut(t, s, q, 0, 10)
	take(t, q)
	failures := s.Stats().Failures
	q.Done(p[:3])
	until(t, "a note fails", func() bool { return s.Stats().Failures > failures })
	q.Done(p[5:7])
	until(t, "another one fails", func() bool { return s.Stats().Failures > failures+1 })
	full.Store(false)
	until(t, "they are written", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.dirty) == 0
	})
	s.noteDone() // once more, so that none is under way
	crash(s)
	s = open(t, Options{Dir: "/spool", FS: fs.after(killed, nil)})
	got := take(t, s.Queue("d", "t"))
	if len(got) != 5 {
		t.Fatalf("got %d records again, want the 5 that were not done", len(got))
	}
	want(t, got[:2], 3, 5)
	want(t, got[2:], 7, 10)
}
