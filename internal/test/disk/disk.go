// Package disk is a disk for the spool that waits, is full or is broken when a test says so.
package disk

import (
	"sync"

	"kafka-upstream/internal/spool"
)

// Disk has the operating system's files. Its methods may be called from many goroutines at once.
type Disk struct {
	spool.FS

	mu    sync.Mutex
	sync  func() error
	write error
}

// New returns a disk that works.
func New() *Disk { return &Disk{FS: spool.OS} }

// OnSync has each fsync of a file call f first, and fail with its error. nil: it works.
func (d *Disk) OnSync(f func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync = f
}

// FailWrites has each write, and each new file, fail with that error; nil: they work.
func (d *Disk) FailWrites(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.write = err
}

func (d *Disk) writeError() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.write
}

// Create implements [spool.FS].
func (d *Disk) Create(name string) (spool.File, error) {
	if err := d.writeError(); err != nil {
		return nil, err
	}
	return d.file(d.FS.Create(name))
}

// Open implements [spool.FS].
func (d *Disk) Open(name string) (spool.File, error) { return d.file(d.FS.Open(name)) }

func (d *Disk) file(f spool.File, err error) (spool.File, error) {
	if err != nil {
		return nil, err
	}
	return file{f, d}, nil
}

type file struct {
	spool.File
	d *Disk
}

// WriteAt implements [spool.File].
func (f file) WriteAt(b []byte, at int64) (int, error) {
	if err := f.d.writeError(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, at)
}

// Sync implements [spool.File].
func (f file) Sync() error {
	f.d.mu.Lock()
	before := f.d.sync
	f.d.mu.Unlock()
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	return f.File.Sync()
}
