//go:build unix

package bodyfile

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func ownUID() uint32 { return uint32(os.Geteuid()) }

// file is an open file, read by direct system calls: os.Open would also try to add it to Go's
// poller, which cannot watch regular files.
type file int

// openFile opens the owner's regular file for reading and returns its size in bytes.
//
// Opening a device can have side effects, so the path is checked first. The open file is
// checked again, because the path may have been replaced meanwhile; O_NONBLOCK and
// O_NOFOLLOW make sure that the open has not blocked or followed a link.
func openFile(path string, owner uint32) (file, int64, error) {
	if !strings.HasPrefix(path, "/") {
		return -1, 0, errRelative
	}
	var info unix.Stat_t
	if err := retry(func() error { return unix.Lstat(path, &info) }); err != nil {
		return -1, 0, err
	}
	if err := check(&info, owner); err != nil {
		return -1, 0, err
	}
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		return err
	})
	if err != nil {
		return -1, 0, err
	}
	f := file(fd)
	if err = retry(func() error { return unix.Fstat(fd, &info) }); err == nil {
		err = check(&info, owner)
	}
	if err == nil && info.Size == 0 && sizeUnknown(fd) {
		err = errNoSize
	}
	if err != nil {
		f.close()
		return -1, 0, err
	}
	return f, info.Size, nil
}

func check(info *unix.Stat_t, owner uint32) error {
	switch {
	case info.Mode&unix.S_IFMT != unix.S_IFREG:
		return errNoFile
	case info.Uid != owner:
		return errOwner
	}
	return nil
}

// readAll reads a file of len(b)-1 bytes. It is an error if the file is shorter or longer than
// that.
func (f file) readAll(b []byte) error {
	for got := 0; ; {
		n, err := unix.Read(int(f), b[got:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		switch got += n; {
		case got == len(b):
			return errLonger
		case got == len(b)-1:
			return nil
		case n == 0:
			return errShort
		}
	}
}

func (f file) close() { _ = unix.Close(int(f)) }

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
