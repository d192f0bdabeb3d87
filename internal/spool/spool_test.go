package spool

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// open opens a spool, and waits until it has read what it adopts.
func open(t testing.TB, o Options) *Spool {
	t.Helper()
	if o.Log == nil {
		o.Log = quiet
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	until(t, "the spool is read", func() bool { return !s.Stats().Reading })
	return s
}

// until waits for a condition.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !f() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within 20 seconds: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// record returns a record that is known by its number.
func record(n int) Record {
	return Record{Key: fmt.Appendf(nil, "key %d", n), Value: fmt.Appendf(nil, "value %d", n),
		Headers: []Header{{"n", fmt.Append(nil, n)}, {"none", nil}}, Timestamp: int64(n)}
}

// put appends records and waits for their fsync.
func put(s *Spool, q *Queue, records ...Record) ([]Position, error) {
	entries := make([]Entry, len(records))
	for i, r := range records {
		entries[i] = Entry{q, r}
	}
	type result struct {
		positions []Position
		err       error
	}
	done := make(chan result, 1)
	if err := s.Append(entries, func(p []Position, err error) { done <- result{p, err} }); err != nil {
		return nil, err
	}
	r := <-done
	return r.positions, r.err
}

func mustPut(t testing.TB, s *Spool, q *Queue, from, to int) []Position {
	t.Helper()
	var records []Record
	for n := from; n < to; n++ {
		records = append(records, record(n))
	}
	p, err := put(s, q, records...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// take returns all that Next has.
func take(t testing.TB, q *Queue) []Stored {
	t.Helper()
	var out []Stored
	for {
		r, err := q.Next(100, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(r) == 0 {
			return out
		}
		out = append(out, r...)
	}
}

// want compares records with those of the numbers from to to.
func want(t testing.TB, got []Stored, from, to int) {
	t.Helper()
	if len(got) != to-from {
		t.Fatalf("got %d records, want %d", len(got), to-from)
	}
	for i, g := range got {
		if w := record(from + i); fmt.Sprintf("%#v", g.Record) != fmt.Sprintf("%#v", w) {
			t.Fatalf("record %d: got %#v, want %#v", i, g.Record, w)
		}
	}
}

func positions(stored []Stored) []Position {
	out := make([]Position, len(stored))
	for i, s := range stored {
		out[i] = s.Position
	}
	return out
}

// crash ends a spool as the end of its process would: the files stay as they are.
func crash(s *Spool) {
	s.mu.Lock()
	s.closing = true
	s.wake.Signal()
	s.mu.Unlock()
	<-s.writer.done
	s.janitor.end()
	for _, d := range s.adopted {
		d.lock.Close()
	}
	s.directory.lock.Close()
	close(s.closed)
}

func TestRecordsSurviveARestartInOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	q := s.Queue("d", "t")
	mustPut(t, s, q, 0, 10)
	got := take(t, q)
	want(t, got, 0, 10)
	q.Done(positions(got[:3]))
	q.Done(positions(got[5:6]))
	mustPut(t, s, q, 10, 12)
	s.Close()

	s = open(t, Options{Dir: dir})
	q = s.Queue("d", "t")
	mustPut(t, s, q, 12, 20)
	got = take(t, q)
	want(t, got[:2], 3, 5)
	want(t, got[2:], 6, 20)
	q.Done(positions(got))
	until(t, "nothing is held", func() bool { return s.Stats().Records == 0 })
	s.Close()
	names, err := osFS{}.Names(dir)
	if err != nil || len(names) != 0 {
		t.Fatal(names, err)
	}
}

func TestABatchIsRecoveredAsItWasSent(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	q := s.Queue("d", "t")
	p := mustPut(t, s, q, 0, 10)
	for _, b := range []Batch{
		{Partition: 3, ProducerID: 77, Epoch: 2, Sequence: 5, Positions: p[:2]},
		{Partition: 1, ProducerID: 78, Epoch: 1, Sequence: 2147483646, Positions: []Position{p[6], p[4], p[5]}},
	} {
		if err := q.WriteBatch(b); err != nil {
			t.Fatal(err)
		}
	}
	q.Done(p[4:5])
	s.Close()

	s = open(t, Options{Dir: dir})
	q = s.Queue("d", "t")
	r := q.Unacknowledged()
	if len(r) != 2 || r[0].Partition != 1 || r[1].Partition != 3 || r[0].ProducerID != 78 || r[0].Sequence != 2147483646 || r[0].Epoch != 1 {
		t.Fatalf("%+v", r)
	}
	want(t, r[1].Records, 0, 2)
	want(t, r[0].Records[:1], 6, 7)
	want(t, r[0].Records[1:], 4, 6)
	if i := q.Identities()[1]; i != (Identity{78, 1, 1}) {
		t.Fatal(i)
	}
	got := take(t, q)
	want(t, got[:2], 2, 4)
	want(t, got[2:], 7, 10)
	if r := q.Unacknowledged(); len(r) != 0 {
		t.Fatal(r)
	}
	q.Done(positions(got))
	for _, b := range r {
		q.Done(b.Positions)
	}
}
func TestReadingFromTheDiskAfterTheWindow(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Limit: 64 << 20})
	q, other := s.Queue("d", "t"), s.Queue("d", "u")
	value := make([]byte, 64<<10)
	const n = 300
	for i := range n {
		r := record(i)
		r.Value = value
		if _, err := put(s, q, r); err != nil {
			t.Fatal(err)
		}
		if _, err := put(s, other, r); err != nil {
			t.Fatal(err)
		}
	}
	got := take(t, q)
	if len(got) != n {
		t.Fatal(len(got))
	}
	for i, g := range got {
		if g.Record.Timestamp != int64(i) {
			t.Fatal(i, g.Record.Timestamp)
		}
	}
	q.Done(positions(got))
	if got = take(t, other); len(got) != n {
		t.Fatal(len(got))
	}
	other.Done(positions(got))
	until(t, "segments go", func() bool { return s.Stats().Segments <= 1 })
	mustPut(t, s, q, 0, 5)
	want(t, take(t, q), 0, 5)
}
