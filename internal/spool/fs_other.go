//go:build !unix

package spool

import (
	"errors"
	"io"
)

var errNoLocks = errors.New("the spool needs the file locks of Unix")

func (osFS) MakeRoot(string) error          { return errNoLocks }
func (osFS) Lock(string) (io.Closer, error) { return nil, errNoLocks }
func (f osFile) Allocate(int64) error       { return errors.ErrUnsupported }
func (f osFile) Sync() error                { return f.File.Sync() }
