package kongpdk

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerUID returns the user id that the peer's process had when it made the connection
// (SO_PEERCRED in unix(7)).
func peerUID(s stream) (uint32, error) {
	f, ok := s.(syscall.Conn)
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
