package producer

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func TestAmountHoldsTheLargestLimits(t *testing.T) {
	const records, bytes = 10_000_000, 1<<40 - 1
	a := amountOf(records, bytes)
	if a.records() != records || a.bytes() != bytes {
		t.Errorf("%d records, %d bytes", a.records(), a.bytes())
	}
	r := newRoom(records, 1<<40)
	r.taken.Store(uint64(amountOf(records-1, bytes-1)))
	if r.take(2) || !r.take(1) || r.take(0) || r.used() != a {
		t.Errorf("%d records, %d bytes are taken", r.used().records(), r.used().bytes())
	}
	r.giveBack(a)
	if r.used() != 0 {
		t.Errorf("%d records, %d bytes are taken", r.used().records(), r.used().bytes())
	}
}

func TestRoomIsNeverPassedAndRefusesNobodyWhoFits(t *testing.T) {
	for _, c := range []struct {
		name    string
		records int
		bytes   int64
	}{{"records", 50, 1 << 30}, {"bytes", 1000, 500}, {"both", 30, 150}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRoom(c.records, c.bytes)
			var inside atomic.Int64 // who has room, and has not given it back
			var refused atomic.Int64
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 20_000 {
						n := int64(rand.IntN(10))
						if !r.take(n) {
							refused.Add(1)
							continue
						}
						if inside.Add(1) > int64(c.records) {
							t.Error("more are inside than may be")
						}
						if used := r.used(); used.records() > int64(c.records) || used.bytes() > c.bytes {
							t.Errorf("%d records, %d bytes", used.records(), used.bytes())
						}
						inside.Add(-1)
						r.giveBack(amountOf(1, n))
					}
				})
			}
			wg.Wait()
			// 8 senders with up to 9 bytes each fit, always.
			if refused.Load() != 0 || r.used() != 0 {
				t.Errorf("%d were refused; %d records are left", refused.Load(), r.used().records())
			}
		})
	}
}

func TestRoomIsGivenToAsManyAsFit(t *testing.T) {
	r := newRoom(1000, 3000)
	var given atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if r.take(7) {
					given.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if given.Load() != 3000/7 || !r.take(3000%7) || r.take(1) {
		t.Errorf("%d have room", given.Load())
	}
}
