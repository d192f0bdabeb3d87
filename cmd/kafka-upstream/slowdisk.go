//go:build slowdisk && linux

package main

import (
	"time"

	"golang.org/x/sys/unix"

	"kafka-upstream/internal/spool"
)

// A program built with the tag "slowdisk" has a disk that takes a millisecond for each fsync, and
// keeps nothing: a benchmark measures the program on it, not the disk.
func init() { spoolFS = slowDisk{spool.OS} }

type slowDisk struct{ spool.FS }

// Create implements [spool.FS].
func (d slowDisk) Create(name string) (spool.File, error) {
	f, err := d.FS.Create(name)
	return slowFile{f}, err
}

type slowFile struct{ spool.File }

// Sync implements [spool.File]. It blocks the thread, as an fsync does, and does not end later than
// it is to, as time.Sleep does in a process that has nothing else to do.
func (slowFile) Sync() error {
	pause := unix.NsecToTimespec(int64(time.Millisecond))
	_ = unix.Nanosleep(&pause, nil)
	return nil
}
