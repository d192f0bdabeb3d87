package kongpdk

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// maxPath is the longest path of a unix socket (sun_path without its NUL).
const maxPath = 107

// CheckPath returns an error if a socket can never be at path: it is too long, or
// something else exists there. It changes nothing. A missing directory is no error: it
// may be made later.
func CheckPath(path string) error {
	if len(path) > maxPath {
		return fmt.Errorf("the path of the socket, %s, has %d bytes: it cannot have more than %d", path, len(path), maxPath)
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("checking the socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket: remove it, or choose another path with -socket", path)
	}
	return nil
}

// Listen returns a listener on a new unix socket at path. The new socket replaces that of an
// earlier server, even if that server is still answering requests, as after a reload of Kong.
// mode has the socket's permission bits: a user who may write to it may connect. Closing the
// listener does not remove the path, because by then it may be another server's.
func Listen(path string, mode fs.FileMode) (net.Listener, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	// The socket must not accept connections before its mode is set, and the path must never
	// be missing: so the socket is made under another name and renamed.
	draft, l, err := listenDraft(path)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(draft, mode), os.Rename(draft, path)); err != nil {
		_ = l.Close()
		_ = os.Remove(draft)
		return nil, fmt.Errorf("preparing the socket: %w", err)
	}
	return l, nil
}

// listenDraft listens on a socket beside path, with a name that leaves the draft's own
// path within maxPath: ".PID" if that fits, or else a shorter one that is not taken.
func listenDraft(path string) (draft string, l *net.UnixListener, err error) {
	dir, base := filepath.Split(path) // dir is not cleaned, because it may contain links
	if strings.HasPrefix(dir, "@") {
		dir = "./" + dir // a leading @ would be an abstract name to Go, not a path
	}
	pid := os.Getpid()
	draft = dir + "." + strconv.Itoa(pid)
	if most := maxPath - len(dir); len(draft) > maxPath {
		err = syscall.EADDRINUSE
		for n := 0; n < 36 && errors.Is(err, syscall.EADDRINUSE); n++ {
			name := strconv.FormatInt(int64(pid)*36+int64(n), 36) // the last digit differs
			if name = name[max(0, len(name)-most):]; name == base {
				continue
			}
			draft = dir + name
			l, err = net.ListenUnix("unix", &net.UnixAddr{Name: draft, Net: "unix"})
		}
		return draft, l, err
	}
	if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("removing a stale socket: %w", err)
	}
	l, err = net.ListenUnix("unix", &net.UnixAddr{Name: draft, Net: "unix"})
	return draft, l, err
}
