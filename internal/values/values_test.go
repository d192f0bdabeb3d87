package values

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

func TestCopyHoldsNoMoreMemoryThanGoWouldGiveIt(t *testing.T) {
	b := make([]byte, largest+2)
	for i := range b {
		b[i] = byte(i)
	}
	lengths := []int{largest - 1, largest, largest + 1}
	for n := 0; n < largest; n += 1 + n/2000*7 { // each small one, and some of the others
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		first := Copy(b[:n])
		room := cap(first)
		if !bytes.Equal(first, b[:n]) || room != cap(append([]byte(nil), b[:n]...)) {
			t.Fatalf("%d bytes became %d, with room for %d", n, len(first), room)
		}
		Free(first)
		if again := Copy(b[:n]); !bytes.Equal(again, b[:n]) || cap(again) != room {
			t.Fatalf("%d bytes became %d, with room for %d, and the first time for %d", n, len(again), cap(again), room)
		}
	}
}

func TestForeignMemoryIsNotTaken(t *testing.T) {
	Free(nil)
	Free(make([]byte, 1, 1001)) // no class: make rounds it to none that a slice could tell
	Free(make([]byte, largest+1))
	b := Copy(make([]byte, 1024))
	Free(b[10:]) // cut
	for range 100 {
		if got := Copy(make([]byte, 1014)); len(got) != 1014 || cap(got) != 1024 {
			t.Fatalf("%d bytes for 1014, with room for %d", len(got), cap(got))
		}
	}
}

// Nobody has memory that somebody else has.
func TestMemoryIsLentToOneAtATime(t *testing.T) {
	var wg sync.WaitGroup
	back := make(chan []byte, 64)
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 0))
			for i := range 3000 {
				b := Copy(bytes.Repeat([]byte{byte(i)}, r.IntN(2000)))
				runtime.Gosched()
				for _, c := range b {
					if c != byte(i) {
						t.Errorf("%d where %d was written", c, byte(i))
						return
					}
				}
				if r.IntN(2) == 0 {
					Free(b)
					continue
				}
				select { // freed by another goroutine, as records are
				case back <- b:
				case other := <-back:
					Free(other)
				}
			}
		})
	}
	wg.Wait()
}
