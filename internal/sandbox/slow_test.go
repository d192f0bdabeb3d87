//go:build unix && !race

package sandbox

import (
	"syscall"
	"time"
)

// memoryFactor times Limits.Bytes is what a call may allocate in all.
const memoryFactor = 3

// cpuTime is what the process has used of processors so far. Other processes do not count,
// the garbage collector does.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
