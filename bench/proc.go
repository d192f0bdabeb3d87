//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// cpuTime returns the CPU time that a process has used, all of its threads
// together, to the nanosecond; that of this process for pid 0.
func cpuTime(pid int) (time.Duration, error) {
	// clock_getcpuclockid(3): the scheduler's clock of the process.
	const scheduler = 2
	clock := int32(^pid)<<3 | scheduler
	var ts syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return 0, fmt.Errorf("reading the CPU time of process %d: %w", pid, errno)
	}
	return time.Duration(ts.Nano()), nil
}

// usage is the CPU that a process has used up to a moment. The clock is exact;
// only the ticks know user from system.
type usage struct {
	cpu          time.Duration
	user, system int64
}

func usageOf(pid int) (u usage, err error) {
	if u.cpu, err = cpuTime(pid); err == nil {
		u.user, u.system, err = ticks(pid)
	}
	return u, err
}

// since returns what was used after an earlier moment.
func (u usage) since(began usage) (user, system time.Duration) {
	cpu, inUser, inSystem := u.cpu-began.cpu, u.user-began.user, u.system-began.system
	if inUser+inSystem > 0 {
		user = time.Duration(float64(cpu) * float64(inUser) / float64(inUser+inSystem))
	}
	return user, cpu - user
}

// ticks returns the user and the system time of a process, in the kernel's
// ticks: good for their ratio.
func ticks(pid int) (user, system int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // from the third on
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("/proc/%d/stat reads %q", pid, b)
	}
	user, err = strconv.ParseInt(fields[11], 10, 64)
	if err == nil {
		system, err = strconv.ParseInt(fields[12], 10, 64)
	}
	return user, system, err
}

// memory returns the resident memory of a process and the most that it was, in
// bytes.
func memory(pid int) (resident, peak int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			resident = kib << 10
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			peak = kib << 10
		}
	}
	return resident, peak, nil
}
