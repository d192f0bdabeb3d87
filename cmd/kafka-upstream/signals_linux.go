//go:build !(mips || mipsle || mips64 || mips64le)

package main

import (
	"os"
	"syscall"
	"unsafe"
)

// limits are signals that say that not much time is left: of the CPU, before the
// kernel kills, and of the power, or so LXC tells a container to halt.
var limits = []os.Signal{syscall.SIGXCPU, syscall.SIGPWR}

// sigaction is the kernel's: here the handler comes first on every architecture,
// and all that follows may be zero where it is to ignore.
type sigaction struct {
	handler uintptr
	_       [56]byte
}

const ignored = 1 // SIG_IGN

// ignoreRest has the kernel ignore the signals that still end the process, since
// Go's runtime leaves them alone: STKFLT, and those that C libraries use for their
// threads, 32 to 34. The latter include SIGRTMIN of some. What has a handler by
// now keeps it.
func ignoreRest() {
	for _, s := range []syscall.Signal{syscall.SIGSTKFLT, 32, 33, 34} {
		set := sigaction{handler: ignored}
		var old sigaction
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), 0, uintptr(unsafe.Pointer(&old)), 8, 0, 0)
		if errno == 0 && (old.handler == 0 || s == syscall.SIGSTKFLT) {
			_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&set)), 0, 8, 0, 0)
		}
	}
}
