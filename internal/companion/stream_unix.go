//go:build unix

package companion

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stream is a connection that is read and written by system calls that block the thread. There
// is one for each worker of Kong, and an answer is waited for: Go's poller would have the data
// of each request wake a thread that wakes another.
type stream int

// newStream returns the stream of a connection, which it closes.
func newStream(nc net.Conn) (stream, error) {
	defer nc.Close()
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	closed := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) })
	if closed != nil {
		err = closed
	}
	return stream(fd), os.NewSyscallError("dup", err)
}

// wait waits for an event, and returns [os.ErrDeadlineExceeded] after that time.
func (s stream) wait(event int16, limit time.Duration) error {
	fds := [1]unix.PollFd{{Fd: int32(s), Events: event}}
	switch n, err := unix.Poll(fds[:], int(limit.Milliseconds())); {
	case err == unix.EINTR:
		return nil
	case err != nil:
		return os.NewSyscallError("poll", err)
	case n == 0:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// read reads what there is, and waits for it until the limit. The error is
// [os.ErrDeadlineExceeded] then, and [io.EOF] at the end.
func (s stream) read(b []byte, limit time.Duration) (int, error) {
	for {
		if err := s.wait(unix.POLLIN, limit); err != nil {
			return 0, err
		}
		switch n, err := unix.Read(int(s), b); {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case err != unix.EAGAIN && err != unix.EINTR:
			return 0, os.NewSyscallError("read", err)
		}
	}
}

// write writes all of b. It waits for the peer to read until the limit.
func (s stream) write(b []byte, limit time.Duration) error {
	for len(b) > 0 {
		n, err := unix.Write(int(s), b)
		switch {
		case n > 0:
			b = b[n:]
		case err == unix.EAGAIN:
			if err := s.wait(unix.POLLOUT, limit); err != nil {
				return err
			}
		case err != unix.EINTR:
			return os.NewSyscallError("write", err)
		}
	}
	return nil
}

// hangUp ends the connection, also for those who wait for it. It may be called again.
func (s stream) hangUp() { _ = unix.Shutdown(int(s), unix.SHUT_RDWR) }

// close frees the descriptor. Nobody may use the stream any more.
func (s stream) close() { _ = unix.Close(int(s)) }
