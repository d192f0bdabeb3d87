package memory

import (
	"sync"
	"testing"
)

func TestLimitIsNeverExceededByManyTakers(t *testing.T) {
	l := NewLimit(1000)
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := int64(0)
	for range 64 {
		wg.Go(func() {
			for range 100 {
				if l.Take(7) {
					mu.Lock()
					if taken += 7; taken > l.Size() {
						t.Errorf("%d of %d bytes are taken", taken, l.Size())
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if l.Used() != taken || taken < 1000-7 {
		t.Errorf("%d bytes are taken, Used says %d", taken, l.Used())
	}
	l.Return(taken)
	if l.Used() != 0 || !l.Take(1000) || l.Take(1) {
		t.Errorf("%d bytes are used", l.Used())
	}
}

func TestNoLimitHasMemoryForAll(t *testing.T) {
	var l *Limit
	if !l.Take(1<<60) || l.Used() != 0 || l.Size() != 0 {
		t.Error("a nil limit limits")
	}
	l.Return(1 << 60)
}
