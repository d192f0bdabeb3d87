package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Garbage is collected when there is as much of it as what is kept, as Go does by
// itself, but not before there is leastGarbage: what this process keeps is some
// 3 MiB as long as brokers take what it has, and to collect every few thousand
// requests would be a tenth of all CPU. And with much in the buffer memory must not
// grow as freely: above mostGarbage it is half of what is kept. In bytes.
const (
	leastGarbage = 16 << 20
	mostGarbage  = 32 << 20
)

// paceCollector has garbage collected at that pace. GOGC and GOMEMLIMIT are left in
// charge where they are set.
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
	live = max(live, 1<<20)
	garbage := max(leastGarbage, min(live, mostGarbage), live/2)
	return int(garbage * 100 / live)
}
