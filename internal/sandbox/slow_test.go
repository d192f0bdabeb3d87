//go:build unix && !race

package sandbox

import (
	"errors"
	"fmt"
	"runtime"
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

func TestHostileChunksEndWithin50msOfAProcessor(t *testing.T) {
	const limit = 50 * time.Millisecond
	for _, h := range hostile {
		p, err := Compile("hostile", h.source)
		if err != nil {
			t.Fatal(err)
		}
		var took time.Duration
		var made int64
		for range 5 { // what else runs slows the processor down
			var before, after runtime.MemStats
			s := New(hostileLimits)
			runtime.ReadMemStats(&before)
			begin := cpuTime()
			_, err = s.Run(p)
			took = cpuTime() - begin
			runtime.ReadMemStats(&after)
			made = int64(after.TotalAlloc - before.TotalAlloc)
			if took < limit {
				break
			}
		}
		t.Logf("%s: %v, %d KiB: %.100v", h.name, took.Round(10*time.Microsecond), made>>10, err)
		if took > limit {
			t.Errorf("%s took %v", h.name, took)
		}
		// All that was ever made, so that also what the collector takes back counts.
		if made > 3*hostileLimits.Bytes {
			t.Errorf("%s made %d MiB", h.name, made>>20)
		}
	}
}

func TestSourcesAreBounded(t *testing.T) {
	var constants strings.Builder
	for i := range 7000 {
		fmt.Fprintf(&constants, "x=%d ", i)
	}
	for _, source := range []string{
		constants.String(),
		strings.Repeat("x = 1\n", maxSource/6+1),
		"return " + strings.Repeat("{", 5000) + strings.Repeat("}", 5000),
		"return " + strings.Repeat("-", 1) + strings.Repeat(" -", 20000) + "1",
		"return 1" + strings.Repeat("+1", 20000),
		"return a" + strings.Repeat(".a", 20000),
		"return a" + strings.Repeat("()", 20000),
		"return " + strings.Repeat("(", 20000) + strings.Repeat(")", 20000),
		strings.Repeat("if x then ", 5000) + strings.Repeat("end ", 5000),
		"if x then " + strings.Repeat("elseif x then ", 5000) + "end",
		"return " + strings.Repeat("function() return ", 1000) + strings.Repeat("end ", 1000),
		strings.Repeat("local x ", 300),
		"local a = " + strings.Repeat("'a' .. ", 10000) + "'b'",
		"local f = f(" + strings.Repeat("1,", 1000) + "1)",
	} {
		begin := cpuTime()
		_, err := Compile("test", source)
		var e *SyntaxError
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%.40s: %v", source, err)
		}
		took := cpuTime() - begin
		if took > time.Second {
			t.Errorf("%.40s: %v", source, took)
		}
		t.Logf("%.30q: %v, %v", source, err, took.Round(time.Millisecond))
	}
}
