// Package values lends memory for the values of records, and takes it back when
// their fates are known, for others.
//
// Values wait, many at a time and some for long, so each lies in memory of just its
// size, or what Go makes of that: memory comes in Go's own size classes, and is kept
// by class. What nobody uses the garbage collector takes.
package values

import (
	"slices"
	"sync"
	"unsafe"
)

// largest is the largest class that is kept. Beyond it Go gives whole pages, and a
// value costs so much by itself that its memory hardly counts.
const largest = 32 << 10

// grain divides all sizes of classes.
const grain = 8

var (
	classes [largest/grain + 1]uint8 // by size in grains, rounded up
	sizes   []int                    // of the classes
	free    []sync.Pool              // by class, of pointers to memory of that size
)

func init() {
	for n := 1; n <= largest; {
		size := cap(slices.Grow([]byte(nil), n)) // Go says how it rounds
		for ; n <= size && n <= largest; n++ {
			classes[(n+grain-1)/grain] = uint8(len(sizes))
		}
		sizes = append(sizes, size)
	}
	free = make([]sync.Pool, len(sizes))
}

// Copy returns a copy of b, in as little memory as Go would give it. It may be called
// by any number of goroutines at once.
func Copy(b []byte) []byte {
	if len(b) == 0 || len(b) > largest {
		return append([]byte(nil), b...)
	}
	class := classes[(len(b)+grain-1)/grain]
	if p, ok := free[class].Get().(*byte); ok {
		return append(unsafe.Slice(p, sizes[class])[:0], b...)
	}
	return append([]byte(nil), b...) // which has the capacity of its class
}

// Free takes the memory of b back, which is a [Copy]. Nobody may use it any more. It may
// be called by any number of goroutines at once.
func Free(b []byte) {
	size := cap(b)
	if size == 0 || size > largest {
		return
	}
	class := classes[(size+grain-1)/grain]
	if sizes[class] != size {
		return // no copy, or cut
	}
	b = b[:size]
	if spoil {
		for i := range b {
			b[i] = 0xdb // what still reads it must not find what it looks for
		}
	}
	free[class].Put(unsafe.SliceData(b))
}
