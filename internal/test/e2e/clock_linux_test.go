package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kafka-upstream/internal/test/e2e/rig"
)

// A wall clock of its own for one program and what it starts, which a test can make
// jump as settimeofday(2) does for a whole machine; the monotonic clock goes on.
//
//   - Go reads clocks by the vDSO, without the kernel. A copy of the program has the
//     vDSO's function under a name that no kernel has, and falls back to the system call.
//   - This call, for the wall clock alone, is taken by a seccomp filter to a listener
//     in the test's process, which answers it (seccomp_unotify(2), Linux 5.9).
//   - A filter is installed by a process for itself. So what is started is a script that
//     starts this test's own rig.Binary with clockSocket set, which installs the filter, hands
//     the listener over, and becomes the program: see init.
type wallClock struct {
	script  string // to be started as the program
	offset  atomic.Int64
	read    atomic.Int64 // how many times the program was told the time
	serving sync.WaitGroup
	listens *net.UnixListener
}

const (
	clockSocket  = "TEST_CLOCK_SOCKET"  // where the listener is handed over
	clockProgram = "TEST_CLOCK_PROGRAM" // what to become then
)

// newWallClock makes a clock that is right, and a program with it.
func newWallClock(t *testing.T) *wallClock {
	t.Helper()
	action := uint32(unix.SECCOMP_RET_USER_NOTIF)
	if _, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action))); err != 0 {
		t.Fatalf("this system lets no test answer for the kernel, as a clock that jumps needs it (Linux 5.9): seccomp: %v", err)
	}
	dir := rig.ShortDir(t)
	b, err := os.ReadFile(rig.Binary)
	if err != nil {
		t.Fatal(err)
	}
	hidden := 0
	for _, name := range []string{"__vdso_clock_gettime", "__kernel_clock_gettime"} { // as the architecture has it
		hidden += bytes.Count(b, []byte(name))
		b = bytes.ReplaceAll(b, []byte(name), []byte("X"+name[1:]))
	}
	if hidden == 0 {
		t.Fatal("the program does not name the vDSO's clock_gettime: how does it read the clock?")
	}
	program := filepath.Join(dir, "program")
	writeProgram(t, program, b)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &wallClock{script: filepath.Join(dir, "kafka-upstream")}
	socket := filepath.Join(dir, "clock")
	if c.listens, err = net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"}); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\n%s='%s' %s='%s' exec '%s' \"$@\"\n", clockSocket, socket, clockProgram, program, self)
	writeProgram(t, c.script, []byte(script))
	c.serving.Go(func() { c.accept(t) })
	t.Cleanup(func() {
		_ = c.listens.Close()
		if !t.Failed() { // else what was started may not have ended
			c.serving.Wait()
		}
	})
	return c
}

// writeProgram writes a program while no other one is started, which would have the
// file open for writing for a moment: it could not be run then.
func writeProgram(t *testing.T, path string, b []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, b, 0o700); err != nil {
		t.Fatal(err)
	}
}

// jump moves the clock by d.
func (c *wallClock) jump(d time.Duration) { c.offset.Add(int64(d)) }

// set moves the clock to that far from the right time.
func (c *wallClock) set(d time.Duration) { c.offset.Store(int64(d)) }

// accept takes the listener of each program that is started.
func (c *wallClock) accept(t *testing.T) {
	for {
		conn, err := c.listens.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.Errorf("taking the clock of a program: %v", err)
			return
		}
		oob := make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), oob)
		_ = conn.Close()
		var fds []int
		if err == nil {
			var messages []unix.SocketControlMessage
			if messages, err = unix.ParseSocketControlMessage(oob[:n]); err == nil && len(messages) == 1 {
				fds, err = unix.ParseUnixRights(&messages[0])
			}
		}
		if err != nil || len(fds) != 1 {
			t.Errorf("taking the clock of a program: %d files, %v", len(fds), err)
			continue
		}
		c.serving.Go(func() { c.serve(t, fds[0]) })
	}
}

// The ioctls of a listener, and what they take: linux/seccomp.h.
const (
	notifRecv = 0xc0502100 // SECCOMP_IOCTL_NOTIF_RECV
	notifSend = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
	goOn      = 1          // SECCOMP_USER_NOTIF_FLAG_CONTINUE
)

type seccompData struct {
	nr                 int32
	arch               uint32
	instructionPointer uint64
	args               [6]uint64
}

type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	data  seccompData
}

type notificationAnswer struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

// serve tells the time until the last process under the filter has ended.
func (c *wallClock) serve(t *testing.T, fd int) {
	defer unix.Close(fd)
	for {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(polled, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			t.Errorf("waiting for who reads the clock: %v", err)
			return
		}
		if polled[0].Revents&unix.POLLIN == 0 {
			return // POLLHUP
		}
		var n notification
		if _, _, err := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), notifRecv, uintptr(unsafe.Pointer(&n))); err != 0 {
			if err == unix.EINTR || err == unix.ENOENT { // whoever asked is gone, or asks again after a signal
				continue
			}
			t.Errorf("hearing who reads the clock: %v", err)
			return
		}
		answer := notificationAnswer{id: n.id}
		now := time.Now().Add(time.Duration(c.offset.Load()))
		timespec := [2]int64{now.Unix(), int64(now.Nanosecond())}
		local := []unix.Iovec{{Base: (*byte)(unsafe.Pointer(&timespec)), Len: uint64(unsafe.Sizeof(timespec))}}
		remote := []unix.RemoteIovec{{Base: uintptr(n.data.args[1]), Len: int(unsafe.Sizeof(timespec))}}
		if _, err := unix.ProcessVMWritev(int(n.pid), local, remote, 0); err != nil {
			answer.flags = goOn // we may not, or it is gone: it gets the right time
		} else {
			c.read.Add(1)
		}
		// It fails when whoever asked is gone.
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), notifSend, uintptr(unsafe.Pointer(&answer)))
	}
}

// A process that was started to be a program with a wallClock becomes it before
// anything else.
func init() {
	socket, program := os.Getenv(clockSocket), os.Getenv(clockProgram)
	if socket == "" {
		return
	}
	if err := becomeClocked(socket, program); err != nil {
		fmt.Fprintf(os.Stderr, "starting %s with a clock of its own: %v\n", program, err)
		os.Exit(1)
	}
}

func becomeClocked(socket, program string) error {
	runtime.LockOSThread() // the filter is this thread's, and the program's then
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	// clock_gettime(2) of the wall clock to the listener, everything else as ever.
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		give  = unix.BPF_RET | unix.BPF_K
	)
	arg := uint32(unsafe.Offsetof(seccompData{}.args)) // the low half on machines where Go runs Linux and people run Kong
	filter := []unix.SockFilter{
		{Code: load, K: 0},
		{Code: equal, K: unix.SYS_CLOCK_GETTIME, Jf: 3},
		{Code: load, K: arg},
		{Code: equal, K: unix.CLOCK_REALTIME, Jf: 1},
		{Code: give, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: give, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
		uintptr(unsafe.Pointer(&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if _, _, err := conn.WriteMsgUnix([]byte{0}, unix.UnixRights(int(fd)), nil); err != nil {
		return err
	}
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, clockSocket+"=") && !strings.HasPrefix(v, clockProgram+"=") {
			env = append(env, v)
		}
	}
	return syscall.Exec(program, append([]string{program}, os.Args[1:]...), env)
}
