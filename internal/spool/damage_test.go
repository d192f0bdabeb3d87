package spool

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// segmentFiles returns the files with records below dir, in order.
func segmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*", "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// left returns a directory that a process has left, with groups of two records each, its only
// segment, and where the groups end in it.
func left(t testing.TB, groups int) (dir, file string, ends []int64) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, Options{Dir: dir, segmentSize: 64 << 10})
	q := s.Queue("d", "t")
	for n := range groups {
		mustPut(t, s, q, 2*n, 2*n+2)
		ends = append(ends, s.writer.segment.end)
	}
	crash(s)
	files := segmentFiles(t, dir)
	if len(files) != 1 {
		t.Fatal(files)
	}
	return dir, files[0], ends
}

// rewrite has f change a file.
func rewrite(t testing.TB, name string, f func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, f(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestATornGroupIsCutAtEachByte(t *testing.T) {
	const groups = 3
	dir, file, ends := left(t, groups)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, zeros := range []bool{false, true} {
		for at := ends[groups-2]; at <= ends[groups-1]; at++ {
			torn := bytes.Clone(whole[:at])
			if zeros {
				torn = append(torn, make([]byte, int64(len(whole))-at)...)
			}
			if err := os.WriteFile(file, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, Options{Dir: dir})
			n := 2 * groups
			if at < ends[groups-1] && !(zeros && bytes.Equal(torn[at:ends[groups-1]], whole[at:ends[groups-1]])) {
				n -= 2
			}
			want(t, take(t, s.Queue("d", "t")), 0, n)
			stats := s.Stats()
			if i, err := os.Stat(file); err != nil || i.Size() != ends[n/2-1] {
				t.Fatal(at, i.Size(), err)
			}
			if cut := stats.CutBytes > 0; cut != (n < 2*groups && len(bytes.TrimRight(torn[ends[groups-2]:], "\x00")) > 0) || stats.Damaged+stats.DamagedBytes > 0 {
				t.Fatalf("cut at %d: %+v", at, stats)
			}
			crash(s)
		}
	}
}

func TestADamagedMiddleIsPassedOver(t *testing.T) {
	const groups = 4
	dir, file, ends := left(t, groups)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for at := ends[0]; at < ends[1]; at++ { // the second group
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x40
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		s := open(t, Options{Dir: dir, Log: textLog(&log)})
		got := take(t, s.Queue("d", "t"))
		want(t, got[:2], 0, 2)
		want(t, got[len(got)-4:], 4, 8)
		stats := s.Stats()
		if len(got) != 7 || stats.Damaged != 1 || stats.DamagedBytes == 0 || stats.DamagedBytes > uint64(ends[1]-ends[0]) {
			t.Fatalf("damage at %d: %d records, %+v", at, len(got), stats)
		}
		if !strings.Contains(log.String(), filepath.Base(file)) || !strings.Contains(log.String(), "offset=") {
			t.Fatal(log.String())
		}
		crash(s)
	}
}

func TestADamagedHeadLosesNoRecord(t *testing.T) {
	dir, file, _ := left(t, 3)
	rewrite(t, file, func(b []byte) []byte { clear(b[:headSize]); return b })
	s := open(t, Options{Dir: dir})
	want(t, take(t, s.Queue("d", "t")), 0, 6)
}

// What a client sends may look like entries, but it does not know the segment's key.
func TestRecordsThatLookLikeEntriesAreNoneInADamagedFile(t *testing.T) {
	_, file, ends := left(t, 3)
	foreign, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	foreign = foreign[headSize:ends[2]]

	dir := t.TempDir()
	s := open(t, Options{Dir: dir, segmentSize: 64 << 10})
	q := s.Queue("d", "t")
	mustPut(t, s, q, 0, 1)
	r := record(1)
	r.Value = bytes.Repeat(foreign, 20)
	if _, err := put(s, q, r); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, q, 2, 3)
	crash(s)
	rewrite(t, segmentFiles(t, dir)[0], func(b []byte) []byte {
		i := bytes.Index(b, []byte("key 1"))
		b[i-50] ^= 1 // in the head, or the payload before the value
		b[i-2] ^= 1
		return b
	})
	s = open(t, Options{Dir: dir})
	got := take(t, s.Queue("d", "t"))
	if len(got) != 2 {
		t.Fatal(len(got))
	}
	want(t, got[:1], 0, 1)
	want(t, got[1:], 2, 3)
}

// Damage that comes after the files were read is met by Next.
func TestRecordsThatCannotBeReadAnyMoreAreGivenUp(t *testing.T) {
	dir, file, ends := left(t, 4)
	s := open(t, Options{Dir: dir})
	q := s.Queue("d", "t")
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 50), ends[0]+10); err != nil {
		t.Fatal(err)
	}
	got := take(t, q)
	if len(got) != 7 || s.Stats().Damaged != 1 || s.Stats().Records != 7 {
		t.Fatalf("%d, %+v", len(got), s.Stats())
	}
	q.Done(positions(got))
	until(t, "the segment is removed", func() bool { return s.Stats().Segments == 0 })
}

func TestAFileThatIsGoneIsGivenUp(t *testing.T) {
	dir, file, _ := left(t, 2)
	s := open(t, Options{Dir: dir})
	q := s.Queue("d", "t")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for {
		got, err := q.Next(10, 1000)
		if err == nil {
			if len(got) != 0 {
				t.Fatal(got)
			}
			break
		}
		failed++
	}
	if stats := s.Stats(); failed != readTries-1 || stats.Damaged != 4 || stats.Records != 0 {
		t.Fatalf("%d, %+v", failed, stats)
	}
}

// A done file that is lost, torn or foreign only has records sent again.
func TestADamagedDoneFileMeansRecordsAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	q := s.Queue("d", "t")
	p := mustPut(t, s, q, 0, 6)
	take(t, q)
	for i := range 3 {
		q.Done(p[2*i : 2*i+1])
		until(t, "it is noted", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.writer.segment.doneEnd == int64(16+16*(i+1))
		})
	}
	crash(s)
	done := strings.TrimSuffix(segmentFiles(t, dir)[0], segmentSuffix) + doneSuffix
	whole, err := os.ReadFile(done)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		file []byte
		want int
	}{
		{"whole", whole, 3},
		{"torn in the last note", whole[:len(whole)-1], 4},
		{"torn in the head", whole[:7], 6},
		{"empty", nil, 6},
		{"damaged in the middle", append(append(bytes.Clone(whole[:33]), 77), whole[34:]...), 4},
		{"damaged head", append([]byte{1}, whole[1:]...), 6},
	} {
		if err := os.WriteFile(done, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, Options{Dir: dir})
		if got := take(t, s.Queue("d", "t")); len(got) != c.want {
			t.Errorf("%s: %d records, want %d", c.name, len(got), c.want)
		}
		crash(s)
	}
	// It is used again after that.
	s = open(t, Options{Dir: dir})
	q = s.Queue("d", "t")
	q.Done(positions(take(t, q)[:1]))
	s.Close()
	s = open(t, Options{Dir: dir})
	if got := take(t, s.Queue("d", "t")); len(got) != 5 {
		t.Fatal(len(got))
	}
}

func TestALaterFormatIsRefusedAndNotTouched(t *testing.T) {
	dir, file, _ := left(t, 2)
	rewrite(t, file, func(b []byte) []byte { order.PutUint32(b[8:], version+1); return b })
	before, _ := os.ReadFile(file)
	_, err := Open(Options{Dir: dir, Log: quiet})
	var later *laterFormatError
	if !errors.As(err, &later) || !strings.Contains(err.Error(), file) {
		t.Fatal(err)
	}
	after, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(before, after) {
		t.Fatal("the file was changed", err)
	}
	names, _ := osFS{}.Names(dir)
	if len(names) != 1 {
		t.Fatal(names)
	}
	// While the spool runs, it is left alone.
	rewrite(t, file, func(b []byte) []byte { order.PutUint32(b[8:], version); return b })
	l, err := osFS{}.Lock(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Dir: dir})
	rewrite(t, file, func(b []byte) []byte { order.PutUint32(b[8:], version+1); return b })
	l.Close()
	s.adoptDead()
	if s.Stats().Adopted != 0 {
		t.Fatal("it was adopted")
	}
}
