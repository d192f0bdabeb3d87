package spool

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// benchDir is on a disk: set SPOOL_BENCH_DIR where the directory for temporary files is not.
func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp(os.Getenv("SPOOL_BENCH_DIR"), "spool")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// noSync leaves fsync out, so that what is measured is the package and the writes.
type noSync struct{ osFS }

func (n noSync) Create(name string) (File, error) {
	f, err := n.osFS.Create(name)
	return noSyncFile{f}, err
}

type noSyncFile struct{ File }

func (noSyncFile) Sync() error { return nil }

// BenchmarkAppend appends records of 1 KiB, as many at once as in flight, takes them and is
// done with them. "cpu-ns/record" is the time of all CPUs in user and system mode.
func BenchmarkAppend(b *testing.B) {
	for _, fs := range []struct {
		name string
		fs   FS
	}{{"disk", osFS{}}, {"nosync", noSync{}}} {
		for _, inFlight := range []int{1, 32, 128} {
			b.Run(fmt.Sprint(fs.name, "/", inFlight), func(b *testing.B) {
				s := open(b, Options{Dir: benchDir(b), FS: fs.fs})
				q := s.Queue("destination", "topic")
				value := make([]byte, 1024)
				var wg sync.WaitGroup
				committed := func(_ []Position, err error) {
					if err != nil {
						b.Error(err)
					}
					wg.Done()
				}
				entries := []Entry{{q, Record{Key: value[:10], Value: value, Timestamp: 1}}}
				b.SetBytes(1024)
				b.ReportAllocs()
				b.ResetTimer()
				began := cpuTime()
				var held []Position
				for n := 0; n < b.N; {
					k := min(inFlight, b.N-n)
					wg.Add(k)
					for range k {
						if err := s.Append(entries, committed); err != nil {
							b.Fatal(err)
						}
					}
					wg.Wait()
					n += k
					stored, err := q.Next(k, 1<<30)
					if err != nil || len(stored) != k {
						b.Fatal(len(stored), err)
					}
					for _, r := range stored {
						held = append(held, r.Position)
					}
					if len(held) >= 1000 {
						q.Done(held)
						held = held[:0]
					}
				}
				b.StopTimer()
				b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/record")
				b.ReportMetric(float64(s.Stats().Groups)/float64(b.N), "groups/record")
			})
		}
	}
}

// BenchmarkReplay reads what a process that has ended has left, from the page cache: the
// adoption, and then Next.
func BenchmarkReplay(b *testing.B) {
	dir := benchDir(b)
	s := open(b, Options{Dir: dir, FS: noSync{}})
	q := s.Queue("destination", "topic")
	value := make([]byte, 1024)
	const records = 100_000
	for n := 0; n < records; n += 100 {
		entries := make([]Entry, 100)
		for i := range entries {
			entries[i] = Entry{q, Record{Value: value}}
		}
		var wg sync.WaitGroup
		wg.Add(1)
		if err := s.Append(entries, func([]Position, error) { wg.Done() }); err != nil {
			b.Fatal(err)
		}
		wg.Wait()
	}
	s.Close()
	b.SetBytes(records * 1024)
	b.ResetTimer()
	var adopting, reading time.Duration
	for b.Loop() {
		began := time.Now()
		s := open(b, Options{Dir: dir, FS: noSync{}})
		adopting += time.Since(began)
		began = time.Now()
		q := s.Queue("destination", "topic")
		n := 0
		for {
			r, err := q.Next(1000, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			if len(r) == 0 {
				break
			}
			n += len(r)
		}
		reading += time.Since(began)
		if n != records {
			b.Fatal(n)
		}
		s.Close()
		runtime.GC()
	}
	b.ReportMetric(float64(b.N)*records/1024/adopting.Seconds(), "adopted-MiB/s")
	b.ReportMetric(float64(b.N)*records/1024/reading.Seconds(), "read-MiB/s")
}
