// Package bodyfile reads the bodies of requests that nginx has put into files: those above
// client_body_buffer_size.
package bodyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/request"
)

// Reading a file blocks a thread of the process if the file system hangs, such as a network
// file system whose server is down, or one that the peer itself serves. So only filesAtOnce
// files are read at once, and a request waits for its turn for at most fileTimeout.
const (
	filesAtOnce = 16
	fileTimeout = 10 * time.Second
)

var fileTurns = make(chan struct{}, filesAtOnce)

// Lender is what a door lends for reading a body.
type Lender interface {
	// PeerUID returns the id of the user that the connection's peer, a worker of Kong, runs
	// as. The error is [errors.ErrUnsupported] on systems that do not provide it.
	PeerUID() (uint32, error)
	// Reserve takes memory for the body, and reports false if there is too little.
	Reserve(bytes int64) bool
}

// Read reads a request's body from the file into b, or into memory that it reserves. It may
// wait for a disk. The error is a [*request.BodyError], [request.ErrTooLarge] for a body above
// limit bytes, or [memory.ErrFull].
//
// Kong's worker has made the file for this request, with its own user as the owner and mode
// 0600, and removes it when the request is answered.
//
// The path comes from the peer, and anyone who may write to the socket may send any path. So
// the file is only read if it is a regular file, not a symbolic link, and belongs to the user
// that the peer of the connection runs as: the peer could read that file itself. This holds
// for root too: it can name root's own files, and no other user's. On systems that do not
// provide the peer's user, the file must belong to the server's own user, which is Kong's if
// Kong starts the server. Directories in the path may be links, because Kong's prefix often
// lies behind one. The length of the file must be its size: files in /proc have the size 0, and
// content.
func Read(b []byte, path string, limit int, x Lender) ([]byte, error) {
	turn := time.NewTimer(fileTimeout)
	defer turn.Stop()
	select {
	case fileTurns <- struct{}{}:
	case <-turn.C:
		return b[:0], &request.BodyError{Reason: fmt.Sprintf("could not read the request body from %.200q: %d other files were being read for %v: check the file system of Kong's prefix", path, filesAtOnce, fileTimeout)}
	}
	defer func() { <-fileTurns }()

	owner, err := x.PeerUID()
	if errors.Is(err, errors.ErrUnsupported) {
		owner, err = ownUID(), nil
	}
	if err != nil {
		return b[:0], fileError(path, err)
	}
	f, size, err := openFile(path, owner)
	if err != nil {
		return b[:0], fileError(path, err)
	}
	defer f.close()
	if size > int64(limit) {
		return b[:0], request.ErrTooLarge
	}
	if !x.Reserve(size) {
		return b[:0], memory.ErrFull
	}
	if int64(cap(b)) <= size {
		b = make([]byte, size+1)
	}
	if err := f.readAll(b[:size+1]); err != nil {
		return b[:0], fileError(path, err)
	}
	return b[:size], nil
}

// Why a file is not read.
var (
	errNoFile   = errors.New("it is no regular file")
	errOwner    = errors.New("it belongs to another user than the Kong worker that named it")
	errShort    = errors.New("it is shorter than its size")
	errLonger   = errors.New("it is longer than its size")
	errNoSize   = errors.New("its file system does not know its size")
	errRelative = errors.New("its path is not absolute")
)

func fileError(path string, err error) error {
	cure := "the file must be on a file system that the plugin server shares with Kong"
	switch {
	case errors.Is(err, fs.ErrPermission):
		cure = "Kong's worker user owns the file, so run the plugin server as that user"
	case errors.Is(err, errNoFile), errors.Is(err, errOwner), errors.Is(err, errLonger), errors.Is(err, errNoSize), errors.Is(err, errRelative):
		cure = "Kong never names such a file, so check who else may write to the socket"
	}
	return &request.BodyError{Reason: fmt.Sprintf(
		"could not read the request body from %.200q: %v; %s, or set nginx_http_client_body_buffer_size in kong.conf above the largest body so that none goes to a file",
		path, err, cure)}
}
