//go:build !unix || race

package sandbox

import "time"

// memoryFactor times Limits.Bytes is what a call may allocate in all: the race detector needs
// memory as well.
const memoryFactor = 8

// cpuTime is not measured: the race detector's own work would count.
func cpuTime() time.Duration { return 0 }
