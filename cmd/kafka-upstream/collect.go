package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// headroom is how much garbage there may be, in bytes, before it is collected.
//
// What this process keeps is small as long as brokers take what it has, some
// 3 MiB; by itself Go would collect whenever as much garbage again has come, which
// is every few thousand requests and a tenth of all CPU.
const headroom = 16 << 20

// paceCollector has garbage collected each time there is headroom's worth of it, or
// half as much as what is kept, if that is more: with a full buffer memory must
// not grow as freely as with an empty one. GOGC and GOMEMLIMIT are left in charge
// where they are set.
func paceCollector() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	current := 0
	var pace func()
	pace = func() {
		metrics.Read(sample)
		if want := percent(sample[0].Value.Uint64()); want*10 < current*9 || want*10 > current*11 {
			debug.SetGCPercent(want) // stops all goroutines for a moment
			current = want
		}
		next := new(cycle)
		runtime.SetFinalizer(next, func(*cycle) { pace() }) // at the end of the next collection
	}
	pace()
}

// cycle is garbage: the collection that finds it ends a cycle.
type cycle struct{ _ [16]byte }

// percent returns what GOGC has to be with that much live memory.
func percent(live uint64) int {
	return int(max(50, headroom*100/max(live, 1<<20)))
}
