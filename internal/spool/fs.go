package spool

import (
	"errors"
	"io"
	"os"
)

// FS is the file layer. [Options].FS replaces it in tests; names are paths.
type FS interface {
	// MakeRoot makes a directory and its parents, and checks that the spool can be there.
	MakeRoot(name string) error
	// Mkdir makes a directory. The error wraps [os.ErrExist] if there is one.
	Mkdir(name string) error
	// Lock locks an existing directory until the Closer is closed or the process ends. The
	// error wraps errLocked if another has it, and [os.ErrNotExist] if the name is not, or
	// no more, that of a directory.
	Lock(name string) (io.Closer, error)
	// Names returns what is in a directory, in any order.
	Names(name string) ([]string, error)
	// SyncDir makes what was created in and removed from a directory durable.
	SyncDir(name string) error
	// Create makes a file; it is an error if there is one.
	Create(name string) (File, error)
	// Open opens an existing file, for reading and writing.
	Open(name string) (File, error)
	// Remove removes a file or an empty directory.
	Remove(name string) error
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	// Allocate makes the file size bytes long, of zeros, with room for them on the disk. The
	// error wraps [errors.ErrUnsupported] where that cannot be had.
	Allocate(size int64) error
	Truncate(size int64) error
	// Sync makes the file's content and size durable.
	Sync() error
}

// reserver is a File that knows how far its content goes; behind that is room that was
// reserved. Some file systems have told it wrong, so nothing is cut because of it.
type reserver interface{ ContentEnd() (int64, error) }

// errLocked means that another holds a directory.
var errLocked = errors.New("another process has locked it")

// OS has the operating system's files. Tests wrap it to have a disk that fails.
var OS FS = osFS{}

// osFS is the operating system's files.
type osFS struct{}

func (osFS) Mkdir(name string) error  { return os.Mkdir(name, 0o700) }
func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) Names(name string) ([]string, error) {
	d, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (osFS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Open(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !i.Mode().IsRegular() {
		return 0, errors.New("it is no regular file")
	}
	return i.Size(), nil
}
