package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if arg, ok := os.LookupEnv(childEnv); ok {
		child(arg)
	}
	goleak.VerifyTestMain(m)
}

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

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestOpenSaysWhatIsWrongWithTheDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: file, Log: quiet}); err == nil || !strings.Contains(err.Error(), "it is no directory") {
		t.Error(err)
	}
	if os.Getuid() != 0 {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Options{Dir: dir, Log: quiet}); err == nil || !strings.Contains(err.Error(), "may not write") {
			t.Error(err)
		}
	}
}

func TestTheLimitRefusesRecordsUntilOthersAreDone(t *testing.T) {
	var log syncBuffer
	s := open(t, Options{Dir: t.TempDir(), Limit: 1 << 20, Log: textLog(&log)})
	q := s.Queue("d", "t")
	r := record(0)
	r.Value = make([]byte, 10_000)
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		_, err = put(s, q, r)
	}
	if !errors.Is(err, ErrFull) || n < 90 {
		t.Fatal(n, err)
	}
	if stats := s.Stats(); stats.State != Full || stats.Bytes > 1<<20 || stats.Refused == 0 {
		t.Fatalf("%+v", stats)
	}
	got, err := q.Next(1000, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	// Batches go in nonetheless: records leave the spool only after theirs.
	for i := range 300 {
		if err := q.WriteBatch(Batch{Partition: 1, ProducerID: 1, Sequence: int32(i), Positions: positions(got)}); err != nil {
			t.Fatal(err)
		}
	}
	q.Done(positions(got))
	until(t, "there is room again", func() bool { return s.Stats().State == OK })
	until(t, "it takes records", func() bool { _, err := put(s, q, r); return err == nil })
}

func TestAFullDiskRefusesRecordsUntilThereIsRoom(t *testing.T) {
	fs := newSimFS()
	full := true
	fs.fault = func(op simOp) (int, error) {
		if full && (op.what == "allocate" || op.what == "write") {
			return 0, syscall.ENOSPC
		}
		return -1, nil
	}
	s := open(t, Options{Dir: "/spool", FS: fs, backOff: time.Hour})
	q := s.Queue("d", "t")
	if _, err := put(s, q, record(0)); !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	// No attempt within the back-off, and the same answer at once.
	if err := s.Append([]Entry{{q, record(0)}}, nil); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if s.Stats().State != Full {
		t.Fatal(s.Stats().State)
	}
	fs.mu.Lock()
	full = false
	fs.mu.Unlock()
	s.mu.Lock()
	s.health.retry()
	s.mu.Unlock()
	mustPut(t, s, q, 0, 1)
	want(t, take(t, q), 0, 1)
	if s.Stats().State != OK {
		t.Fatal(s.Stats().State)
	}
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestARunningSpoolAdoptsBeforeWhatItHasNotReadYet(t *testing.T) {
	dir := t.TempDir()
	first, second := open(t, Options{Dir: dir}), open(t, Options{Dir: dir})
	third := open(t, Options{Dir: dir})
	mustPut(t, first, first.Queue("d", "t"), 0, 3)
	mustPut(t, second, second.Queue("d", "t"), 3, 6)
	q := third.Queue("d", "t")
	mustPut(t, third, q, 6, 9)
	ready := make(chan struct{}, 10)
	crash(second)
	crash(first)
	until(t, "both are adopted", func() bool { return third.Stats().Adopted == 2 })
	q.Ready(func() { ready <- struct{}{} })
	<-ready
	got := take(t, q)
	// The order of the two is that of their ends if the looks came between them.
	if len(got) != 9 {
		t.Fatal(len(got))
	}
	want(t, got[6:], 6, 9)
	q.Done(positions(got))
	until(t, "the directories are removed", func() bool {
		names, err := osFS{}.Names(dir)
		return err == nil && len(names) == 1
	})

	// It tells who waits.
	fourth := open(t, Options{Dir: dir})
	mustPut(t, fourth, fourth.Queue("d", "t"), 9, 10)
	fourth.Close()
	<-ready
	want(t, take(t, q), 9, 10)
}

func TestDeadProcessesComeInTheOrderOfTheirBeginning(t *testing.T) {
	dir := t.TempDir()
	var all []*Spool
	for range 4 {
		all = append(all, open(t, Options{Dir: dir}))
	}
	for _, i := range []int{2, 0, 3, 1} {
		mustPut(t, all[i], all[i].Queue("d", "t"), 2*i, 2*i+2)
	}
	for _, i := range []int{1, 3, 0, 2} {
		all[i].mu.Lock()
		//lint:ignore SA2001 each was locked once, in this order
		all[i].mu.Unlock()
	}
	for _, s := range all {
		s.janitor.end() // it must not adopt the others
	}
	for _, s := range all {
		crash(s)
	}
	s := open(t, Options{Dir: dir})
	want(t, take(t, s.Queue("d", "t")), 0, 8)
}

func TestABatchKeepsTheSegmentsOfAllItsRecords(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, segmentSize: headSize + 500}
	s := open(t, o)
	q := s.Queue("d", "t")
	var p []Position
	for n := range 20 {
		p = append(p, mustPut(t, s, q, n, n+1)...)
	}
	if err := q.WriteBatch(Batch{Partition: 1, ProducerID: 2, Epoch: 3, Sequence: 4, Positions: p[:10]}); err != nil {
		t.Fatal(err)
	}
	q.Done(p[:5])
	q.Done(p[10:])
	until(t, "what is not of the batch is removed", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.segments[segmentKey{p[15].directory, p[15].segment}] == nil
	})
	crash(s)
	s = open(t, o)
	q = s.Queue("d", "t")
	s.removeSegments()
	r := q.Unacknowledged()
	if len(r) != 1 || r[0].ProducerID != 2 {
		t.Fatalf("%+v", r)
	}
	want(t, r[0].Records, 0, 10)
	q.Done(r[0].Positions)
	until(t, "all is removed", func() bool { return s.Stats().Segments == 0 })
}

// A batch of which a record is lost cannot be recognised: the others are returned without an
// identity.
func TestABatchThatHasLostARecordHasNoIdentity(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	q := s.Queue("d", "t")
	p := mustPut(t, s, q, 0, 4)
	if err := q.WriteBatch(Batch{ProducerID: 2, Positions: p[:3]}); err != nil {
		t.Fatal(err)
	}
	q.Done(p[:1])
	s.Close()
	file := segmentFiles(t, dir)[0]
	s = open(t, Options{Dir: dir})
	rewrite(t, file, func(b []byte) []byte { return bytes.Replace(b, []byte("value 1"), []byte("VALUE 1"), 1) })
	q = s.Queue("d", "t")
	r := q.Unacknowledged()
	if len(r) != 1 || r[0].ProducerID != -1 {
		t.Fatalf("%+v", r)
	}
	want(t, r[0].Records, 2, 3)
	want(t, take(t, q), 3, 4)
	if s.Stats().Damaged != 1 || s.Stats().Records != 2 {
		t.Fatalf("%+v", s.Stats())
	}
}

func TestMemoryIsBoundedWhileTheSpoolGrows(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), FS: noSync{}})
	q := s.Queue("d", "t")
	r := record(0)
	r.Value = make([]byte, 100_000)
	for range 400 {
		if _, err := put(s, q, r); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	cached, spare := s.cached, 0
	for _, g := range s.spare {
		spare += cap(g.buf)
	}
	s.mu.Unlock()
	if cached > recentBytes || spare > spareGroups*spareBuffer {
		t.Fatal(cached, spare)
	}
	if got := take(t, q); len(got) != 400 {
		t.Fatal(len(got))
	}
}

func TestNextIsBounded(t *testing.T) {
	dir := t.TempDir()
	for _, where := range []string{"memory", "disk"} {
		s := open(t, Options{Dir: dir})
		q := s.Queue("d", "t")
		if where == "memory" {
			mustPut(t, s, q, 0, 10)
		}
		for _, c := range []struct{ records, bytes, least, most int }{
			{3, 1 << 20, 3, 3}, {100, 0, 1, 1}, {100, 1, 1, 1}, {0, 1 << 20, 1, 1}, {2, 300, 2, 2}, {100, 1 << 20, 2, 2}, {1, 1, 0, 0},
		} {
			got, err := q.Next(c.records, int64(c.bytes))
			if err != nil || len(got) < c.least || len(got) > c.most {
				t.Errorf("%s, %+v: %d, %v", where, c, len(got), err)
			}
		}
		s.Close()
	}
}

func TestACloseEndsAll(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	q := s.Queue("d", "t")
	const n = 100
	committed := make(chan error, n)
	for i := range n {
		if err := s.Append([]Entry{{q, record(i)}}, func(_ []Position, err error) { committed <- err }); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s.Close()
	if len(committed) != n {
		t.Fatal(len(committed))
	}
	for range n {
		if err := <-committed; err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Append([]Entry{{q, record(0)}}, nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := q.Next(1, 1); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := q.WriteBatch(Batch{}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	q.Done(nil)
	s.Stats()
}

func TestAllOfAnAppendComesInOneGroup(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	a, b := s.Queue("d", "a"), s.Queue("d", "b")
	var groups, calls atomic.Int32
	s.OnGroup(func() { groups.Add(1) })
	done := make(chan []Position, 100)
	for i := range 100 {
		if err := s.Append([]Entry{{a, record(i)}, {b, record(i)}}, func(p []Position, err error) {
			calls.Add(1)
			if err != nil {
				t.Error(err)
			}
			done <- p
		}); err != nil {
			t.Fatal(err)
		}
	}
	var last Position
	for range 100 {
		p := <-done
		if len(p) != 2 || last.Compare(p[0]) >= 0 {
			t.Fatal(p, last)
		}
		last = p[0]
	}
	want(t, take(t, a), 0, 100)
	want(t, take(t, b), 0, 100)
	until(t, "OnGroup was called", func() bool { return uint64(groups.Load()) == s.Stats().Groups })
	if f := s.Stats().Fsyncs; f.Count != s.Stats().Groups || f.Sum <= 0 {
		t.Fatalf("%+v", f)
	}
}

// What is written to a file that someone has removed would be lost.
func TestARemovedDirectoryIsNoticed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, backOff: time.Millisecond})
	q := s.Queue("d", "t")
	mustPut(t, s, q, 0, 1)
	if err := os.RemoveAll(s.directory.path); err != nil {
		t.Fatal(err)
	}
	s.checkOwn()
	if _, err := put(s, q, record(1)); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if _, err := put(s, q, record(1)); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
}

func TestNilAndEmptyAreKept(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	q := s.Queue("", "")
	in := []Record{{}, {Key: []byte{}, Value: []byte{}, Headers: []Header{{"", nil}, {"", []byte{}}}, Timestamp: -1}}
	if _, err := put(s, q, in...); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, Options{Dir: dir})
	for i, r := range take(t, s.Queue("", "")) {
		if got, want := fmt.Sprintf("%#v", r.Record), fmt.Sprintf("%#v", in[i]); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// A batch that is not the last any more must not come back as records to be sent as others.
func TestWhatIsDoneIsOnTheDiskBeforeTheNextBatch(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	q := s.Queue("d", "t")
	p := mustPut(t, s, q, 0, 20)
	s.janitor.end() // it would be early enough mostly
	s.notes.closed = false
	for n := range 10 {
		if err := q.WriteBatch(Batch{ProducerID: 1, Sequence: int32(2 * n), Positions: p[2*n : 2*n+2]}); err != nil {
			t.Fatal(err)
		}
		if n < 9 {
			q.Done(p[2*n : 2*n+2])
		}
	}
	crash(s)
	s = open(t, Options{Dir: dir})
	q = s.Queue("d", "t")
	r := q.Unacknowledged()
	if len(r) != 1 {
		t.Fatal(r)
	}
	want(t, r[0].Records, 18, 20)
	want(t, take(t, q), 0, 0)
}

// Reserved room of a dead process is given back when its files are read, and does not count
// until then.
func TestReservedRoomOfADeadProcessDoesNotCount(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	mustPut(t, s, s.Queue("d", "t"), 0, 1)
	if _, ok := s.writer.file.(reserver); !ok {
		t.Skip("this system does not know what is reserved")
	}
	crash(s)
	s = open(t, Options{Dir: dir})
	if b := s.Stats().Bytes; b > 10_000 {
		t.Fatal(b)
	}
	crash(s)
	s = &Spool{fs: osFS{}}
	d := &directory{path: filepath.Dir(segmentFiles(t, dir)[0])}
	rewrite(t, segmentFiles(t, dir)[0], func(b []byte) []byte { return b })
	if err := os.Truncate(segmentFiles(t, dir)[0], 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := s.inspect(d); err != nil || d.files > 10_000 {
		t.Fatal(d.files, err)
	}
}

// A batch that is adopted while records are being read is told of as well.
func TestReadyTellsOfBatchesWhileRecordsAreRead(t *testing.T) {
	dir := t.TempDir()
	s, other := open(t, Options{Dir: dir}), open(t, Options{Dir: dir})
	u := other.Queue("d", "t")
	if err := u.WriteBatch(Batch{ProducerID: 1, Positions: mustPut(t, other, u, 0, 2)}); err != nil {
		t.Fatal(err)
	}
	q := s.Queue("d", "t")
	ready := make(chan struct{}, 100)
	q.Ready(func() { ready <- struct{}{} })
	mustPut(t, s, q, 2, 4)
	<-ready
	if got, err := q.Next(1, 1<<20); err != nil || len(got) != 1 { // there is more: it does not wait
		t.Fatal(got, err)
	}
	crash(other)
	<-ready
	if r := q.Unacknowledged(); len(r) != 1 {
		t.Fatal(r)
	}
}

func TestACloseWhileFilesAreRead(t *testing.T) {
	b := example(t)
	files := map[string][]byte{}
	for i := range 5 {
		files[segmentName(uint64(i+1), fuzzKey)+segmentSuffix] = b
	}
	fs := fuzzFS(t, files)
	reading, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	slow := &slowFS{FS: fs, read: func() { once.Do(func() { close(reading); <-goOn }) }}
	s, err := Open(Options{Dir: "/spool", FS: slow, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	<-reading
	if r, err := s.Queue("d", "t").Next(1, 1); r != nil || err != nil {
		t.Fatal(r, err)
	}
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	until(t, "the spool is told to end", s.janitor.ended)
	close(goOn)
	<-closed
	if s.Stats().Records != 0 {
		t.Fatal("it has read all the same")
	}
	s = open(t, Options{Dir: "/spool", FS: fs})
	if s.Stats().Segments != 5 {
		t.Fatal(s.Stats().Segments)
	}
}

// slowFS calls a function before the second file is opened.
type slowFS struct {
	FS
	opened atomic.Int32
	read   func()
}

func (s *slowFS) Open(name string) (File, error) {
	if s.opened.Add(1) > 6 { // Open has looked at the heads of five
		s.read()
	}
	return s.FS.Open(name)
}
