package main

import "testing"

func TestGarbageIsBoundedByWhatIsKept(t *testing.T) {
	for _, c := range []struct{ live, garbage uint64 }{ // MiB
		{0, 16}, {1, 16}, {3, 16}, {16, 16}, {24, 24}, {32, 32}, {60, 32}, {64, 32}, {256, 128},
	} {
		got := uint64(percent(c.live<<20)) * max(c.live, 1) / 100
		if got < c.garbage-1 || got > c.garbage {
			t.Errorf("with %d MiB live there may be %d MiB of garbage, want %d", c.live, got, c.garbage)
		}
	}
}
