//go:build unix

package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func (osFS) MakeRoot(name string) error {
	if err := makeDurable(name); err != nil {
		return err
	}
	if err := unix.Access(name, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("this process may not write to it: %w; give it to the user that the plugin server runs as", err)
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return checkLocal(d)
}

// makeDurable makes a directory and its parents as [os.MkdirAll] does, and has them survive a
// power failure.
func makeDurable(name string) error {
	switch i, err := os.Stat(name); {
	case err == nil && i.IsDir():
		return nil
	case err == nil:
		return errors.New("it is no directory")
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	parent := filepath.Dir(name)
	if parent != name {
		if err := makeDurable(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(name, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return osFS{}.SyncDir(parent)
}

// Lock uses flock on the directory itself: the lock belongs to the open file, so it goes with
// the process however that ends, and closing another descriptor of the directory keeps it.
// Programs that this one starts do not inherit it. A directory that was removed, or removed
// and made again, between open and flock is not the one with that name any more.
func (osFS) Lock(name string) (io.Closer, error) {
	d, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (io.Closer, error) {
		d.Close()
		return nil, err
	}
	for {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fail(errLocked)
		}
		if err != nil {
			return fail(fmt.Errorf("flock: %w", err))
		}
		break
	}
	locked, err := d.Stat()
	if err != nil {
		return fail(err)
	}
	named, err := os.Stat(name)
	if err != nil {
		return fail(err)
	}
	if !os.SameFile(locked, named) {
		return fail(os.ErrNotExist)
	}
	return d, nil
}
