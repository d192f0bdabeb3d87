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
	var tries atomic.Int64
	fs.fault = func(op simOp) (int, error) {
		if short.Load() && op.what == "open" && strings.HasSuffix(op.name, segmentSuffix) {
			tries.Add(1)
			return 0, syscall.EMFILE
		}
		return -1, nil
	}
	s = open(t, Options{Dir: "/spool", FS: fs})
	q = s.Queue("d", "t")
	short.Store(true)
	batches := make(chan []RecoveredBatch)
	go func() { batches <- q.Unacknowledged() }()
	until(t, "it is tried several times", func() bool { return tries.Load() > readTries })
	short.Store(false)
	if r := <-batches; len(r) != 1 || r[0].ProducerID != 1 {
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

func TestACloseEndsTheWaitForAFileThatCannotBeOpened(t *testing.T) {
	fs := newSimFS()
	s := open(t, Options{Dir: "/spool", FS: fs})
	q := s.Queue("d", "t")
	if err := q.WriteBatch(Batch{ProducerID: 1, Positions: mustPut(t, s, q, 0, 4)}); err != nil {
		t.Fatal(err)
	}
	s.Close()

	s = open(t, Options{Dir: "/spool", FS: fs})
	q = s.Queue("d", "t")
	var tries atomic.Int64
	fs.mu.Lock()
	fs.fault = func(op simOp) (int, error) {
		if op.what == "open" && strings.HasSuffix(op.name, segmentSuffix) {
			tries.Add(1)
			return 0, syscall.EMFILE
		}
		return -1, nil
	}
	fs.mu.Unlock()
	batches := make(chan []RecoveredBatch)
	go func() { batches <- q.Unacknowledged() }()
	until(t, "it is tried", func() bool { return tries.Load() > 1 })
	s.Close()
	if r := <-batches; len(r) != 0 {
		t.Fatalf("got %+v", r)
	}
	fs.mu.Lock()
	fs.fault = nil
	fs.mu.Unlock()
	s = open(t, Options{Dir: "/spool", FS: fs})
	if r := s.Queue("d", "t").Unacknowledged(); len(r) != 1 || len(r[0].Records) != 4 {
		t.Errorf("the next process gets %+v", r)
	}
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
