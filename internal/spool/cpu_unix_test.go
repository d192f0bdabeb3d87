//go:build unix

package spool

import "golang.org/x/sys/unix"

// cpuTime returns the nanoseconds that the process has used.
func cpuTime() int64 {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r)
	return r.Utime.Nano() + r.Stime.Nano()
}
