package spool

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"path"
	"strings"
	"testing"
)

const (
	fuzzID  = 0x1000
	fuzzKey = 0x0123456789abcdef
)

// repair gives entries the mark and the checksums that they would have, so that what they say
// is believed.
func repair(b []byte) []byte {
	h := head{directory: fuzzID, id: 1, key: fuzzKey}
	b = append(h.append(nil), b[min(headSize, len(b)):]...)
	for at := headSize; at+entryHeadSize <= len(b); {
		p := b[at:]
		n := int(order.Uint32(p[12:]))
		if n > len(p)-entryHeadSize {
			n = len(p) - entryHeadSize
			order.PutUint32(p[12:], uint32(n))
		}
		e := entryHead{
			payload: crc32.Checksum(p[entryHeadSize:entryHeadSize+n], castagnoli), length: uint32(n),
			group: order.Uint32(p[16:]), index: order.Uint32(p[20:]), queue: order.Uint32(p[24:]), number: order.Uint32(p[28:]),
			kind: p[32], flags: p[33],
		}
		e.put(p, fuzzKey)
		at += entryHeadSize + n
	}
	return b
}

// fuzzFS has one directory of a dead process, with these files.
func fuzzFS(t testing.TB, files map[string][]byte) *simFS {
	fs := newSimFS()
	if err := errors.Join(fs.Mkdir("/spool"), fs.Mkdir("/spool/"+directoryName(fuzzID))); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		f, err := fs.Create(path.Join("/spool", directoryName(fuzzID), name))
		if err != nil {
			continue // the same name twice
		}
		if _, err := f.WriteAt(content, 0); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// use opens a spool and does with it what a program does.
func use(t *testing.T, fs *simFS) {
	s, err := Open(Options{Dir: "/spool", FS: fs, Log: quiet, segmentSize: headSize + 1000})
	if err != nil {
		var later *laterFormatError
		if !errors.As(err, &later) {
			t.Fatal(err)
		}
		return
	}
	defer s.Close()
	until(t, "read", func() bool { return !s.Stats().Reading })
	seen := map[Position]bool{}
	note := func(r Stored) {
		if seen[r.Position] {
			t.Fatal(r.Position, " is there twice")
		}
		seen[r.Position] = true
	}
	stats := s.Stats()
	for _, name := range stats.Queues {
		q := s.Queue(name.Destination, name.Topic)
		recovered := q.Unacknowledged()
		done := 0
		for _, b := range recovered {
			for _, r := range b.Records {
				note(r)
			}
			done += len(b.Records)
		}
		got := take(t, q)
		for _, r := range got {
			note(r)
		}
		if len(got)+done < name.Records {
			t.Fatalf("%d records and %d in batches, of %d", len(got), done, name.Records)
		}
		q.Done(positions(got))
		for _, b := range recovered {
			q.Done(b.Positions)
		}
		if _, err := put(s, q, record(1)); err != nil {
			t.Fatal(err)
		}
		q.Done(positions(take(t, q)))
	}
	if n := s.Stats().Records; n != 0 {
		t.Fatal(n, " records are left")
	}
}

// example is a segment with records of two queues, and batches.
func example(t testing.TB) []byte {
	fs := newSimFS()
	s, err := Open(Options{Dir: "/spool", FS: fs, Log: quiet, segmentSize: headSize + 3000})
	if err != nil {
		t.Fatal(err)
	}
	q, u := s.Queue("d", "t"), s.Queue("d", "u")
	var p []Position
	for n := range 3 {
		p = append(p, mustPut(t, s, q, 2*n, 2*n+2)...)
		mustPut(t, s, u, n, n+1)
	}
	for i := range p {
		p[i].directory = fuzzID // as the file will be there
	}
	for i := range 2 {
		if err := q.WriteBatch(Batch{Partition: int32(i), ProducerID: 3, Sequence: 7, Positions: p[2*i : 2*i+3]}); err != nil {
			t.Fatal(err)
		}
	}
	f, err := fs.Open(s.writer.segment.path(segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, s.writer.segment.end)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	s.Close()
	return repair(b)
}

func FuzzSegment(f *testing.F) {
	b := example(f)
	f.Add(b[headSize:], true)
	f.Add(b[headSize:], false)
	f.Add(b[headSize:headSize+100], true)
	f.Add(append(bytes.Clone(b[headSize:]), make([]byte, 1000)...), true)
	f.Fuzz(func(t *testing.T, b []byte, repaired bool) {
		h := head{directory: fuzzID, id: 1, key: fuzzKey}
		b = append(h.append(nil), b...)
		if repaired {
			b = repair(b)
		}
		use(t, fuzzFS(t, map[string][]byte{segmentName(1, fuzzKey) + segmentSuffix: b}))
	})
}

func FuzzDoneFile(f *testing.F) {
	segment := example(f)
	b := appendDoneHead(nil, fuzzKey)
	f.Add(b, true)
	b = doneEntry{0, 1, 2}.append(b, fuzzKey)
	b = doneEntry{1, 0, 1 << 31}.append(b, fuzzKey)
	f.Add(b, true)
	f.Add(b[:len(b)-3], false)
	f.Fuzz(func(t *testing.T, b []byte, repaired bool) {
		if repaired {
			done := appendDoneHead(nil, fuzzKey)
			for at := 16; at+doneSize <= len(b); at += doneSize {
				e := doneEntry{order.Uint32(b[at:]), order.Uint32(b[at+4:]), order.Uint32(b[at+8:])}
				done = e.append(done, fuzzKey)
			}
			b = done
		}
		name := segmentName(1, fuzzKey)
		use(t, fuzzFS(t, map[string][]byte{name + segmentSuffix: segment, name + doneSuffix: b}))
	})
}

// FuzzDirectory has files of any names, one a line, with a good segment's content or another's
// head.
func FuzzDirectory(f *testing.F) {
	segment := example(f)
	f.Add(segmentName(1, fuzzKey)+segmentSuffix+"\n"+segmentName(2, fuzzKey)+doneSuffix, uint64(1), uint64(5000))
	f.Add(fmt.Sprintf("%s%s\nx\n%s%s", segmentName(1, fuzzKey), doneSuffix, segmentName(1<<63, 1), segmentSuffix), uint64(2), uint64(0))
	f.Fuzz(func(t *testing.T, names string, noted, end uint64) {
		h := head{directory: fuzzID, id: 1, key: fuzzKey, notes: []note{{noted, int64(end)}, {noted + 1, int64(end) / 2}}}
		content := append(h.append(nil), segment[headSize:]...)
		files := map[string][]byte{}
		for i, name := range strings.Split(names, "\n") {
			if name == "" || len(files) > 10 || strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
				continue
			}
			files[name] = [][]byte{content, segment, segment[:len(segment)/2], nil}[i%4]
		}
		use(t, fuzzFS(t, files))
	})
}
