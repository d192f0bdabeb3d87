//go:build unix && !race

package lua

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cpuTime is what the process has used of processors so far. Other processes do not count,
// the garbage collector does.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Whatever a function does is charged by what it costs: its instructions are spent before
// it has used a processor for long, and the clock is not what ends it.
func TestHostileFunctionsEndWithin50msOfAProcessor(t *testing.T) {
	const limit = 50 * time.Millisecond
	for _, body := range hostileFunctions() {
		f := compile(t, "return function(m) "+body+" end")
		best := time.Hour
		for range 5 { // what else runs slows the processor down
			d := exampleDraft()
			start := cpuTime()
			err := f.Transform(d)
			took := cpuTime() - start
			if err == nil || d.Work > limits.Instructions {
				t.Fatalf("%s: %.100s, %v after %d instructions", body, d.Message, err, d.Work)
			}
			if strings.Contains(err.Error(), "longer than it may") {
				continue // or somebody else had the processor
			}
			if best = min(best, took); best < limit {
				break
			}
		}
		if best > limit {
			t.Errorf("%s took %v", body, best)
		}
	}
}

// What each hostile function takes of a processor until its limit ends it, the dearest first:
// those whose work is charged too little.
func BenchmarkHostileFunctions(b *testing.B) {
	type cost struct {
		cpu  time.Duration
		work int
		body string
	}
	var costs []cost
	for b.Loop() {
		costs = costs[:0]
		for _, body := range hostileFunctions() {
			f := compile(b, "return function(m) "+body+" end")
			c := cost{cpu: time.Hour, body: strings.TrimPrefix(body, hostileSets)}
			for range 3 {
				d := exampleDraft()
				start := cpuTime()
				_ = f.Transform(d)
				c.cpu, c.work = min(c.cpu, cpuTime()-start), d.Work
			}
			costs = append(costs, c)
		}
	}
	slices.SortFunc(costs, func(x, y cost) int { return int(y.cpu - x.cpu) })
	b.ReportMetric(costs[0].cpu.Seconds()*1000, "ms-dearest")
	b.ReportMetric(costs[len(costs)/2].cpu.Seconds()*1000, "ms-median")
	var list strings.Builder
	for _, c := range costs[:8] {
		fmt.Fprintf(&list, "\n%6.1f ms, %4.0f ns an instruction: %s", c.cpu.Seconds()*1000, float64(c.cpu)/float64(max(c.work, 1)), c.body)
	}
	b.Log(list.String())
}
