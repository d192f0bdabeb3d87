//go:build !race

package values

import "testing"

// Under the race detector pools drop what they are given.
func TestCopyAllocatesNothingWhereMemoryWasFreed(t *testing.T) {
	b := make([]byte, 1500)
	if n := testing.AllocsPerRun(1000, func() { Free(Copy(b)) }); n > 0.1 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCopyAndFree(b *testing.B) {
	value := make([]byte, 1500)
	b.ReportAllocs()
	for b.Loop() {
		Free(Copy(value))
	}
}
