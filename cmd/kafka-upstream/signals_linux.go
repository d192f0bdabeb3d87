//go:build !(mips || mipsle || mips64 || mips64le)

package main

import (
	"os"
	"syscall"
	"unsafe"
)

// limits are signals that warn of an end: XCPU of the CPU time limit, at which the kernel will
// kill the process, and PWR of a power failure. LXC sends PWR to halt a container.
var limits = []os.Signal{syscall.SIGXCPU, syscall.SIGPWR}

// sigaction is the kernel's struct: on these architectures the handler comes first, and
// all other fields may be zero for SIG_IGN.
type sigaction struct {
	handler uintptr
	_       [56]byte
}

const ignored = 1 // SIG_IGN

// ignoreOthers has the kernel ignore the signals that would still end the process because Go's
// runtime does not handle them: STKFLT, and 32 to 34, which C libraries use for their threads
// (in some, one of them is SIGRTMIN). It leaves other handlers in place.
func ignoreOthers() {
	for _, s := range []syscall.Signal{syscall.SIGSTKFLT, 32, 33, 34} {
		set := sigaction{handler: ignored}
		var old sigaction
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), 0, uintptr(unsafe.Pointer(&old)), 8, 0, 0)
		if errno == 0 && (old.handler == 0 || s == syscall.SIGSTKFLT) {
			_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&set)), 0, 8, 0, 0)
		}
	}
}
