package spool

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func (f osFile) Allocate(size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return errors.ErrUnsupported
		}
		return err
	}
}

// ContentEnd asks for the last data before a hole: reserved room that was not written is one.
func (f osFile) ContentEnd() (int64, error) {
	var end int64
	for {
		data, err := unix.Seek(int(f.Fd()), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return end, nil
		}
		if err != nil {
			return 0, err
		}
		if end, err = unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE); err != nil {
			return 0, err
		}
	}
}

func (f osFile) Sync() error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// remote are file systems whose locks and fsyncs may depend on another machine.
var remote = map[int64]string{
	unix.NFS_SUPER_MAGIC:  "NFS",
	unix.SMB_SUPER_MAGIC:  "SMB",
	unix.SMB2_SUPER_MAGIC: "SMB",
	unix.CIFS_SUPER_MAGIC: "CIFS",
	unix.CODA_SUPER_MAGIC: "Coda",
	unix.AFS_SUPER_MAGIC:  "AFS",
	unix.CEPH_SUPER_MAGIC: "Ceph",
	unix.V9FS_MAGIC:       "9P",
}

// checkLocal returns an error for a directory that is not on a local disk.
func checkLocal(dir *os.File) error {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &s); err != nil {
		return err
	}
	if name, ok := remote[int64(uint32(s.Type))]; ok {
		return fmt.Errorf("it is on a network file system (%s), where locks and fsync may not hold; use a local disk", name)
	}
	return nil
}
