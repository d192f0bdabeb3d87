package bodyfile

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// PeerUID returns the user id that the process of a unix socket's peer had when it made the
// connection (SO_PEERCRED in unix(7)). conn is a [syscall.Conn]; of anything else the error is
// [errors.ErrUnsupported]. It costs a system call.
func PeerUID(conn any) (uint32, error) {
	f, ok := conn.(syscall.Conn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	closed := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if closed != nil {
		return 0, closed
	}
	if err != nil {
		return 0, os.NewSyscallError("getsockopt", err)
	}
	return peer.Uid, nil
}
