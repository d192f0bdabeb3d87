package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"kafka-upstream/internal/kongpdk"
)

// Kong restarts a plugin server that has ended, again and again, and does not log the reason.
// If -dump fails, which Kong runs first, Kong does not start or reload, and prints the reason.
// So -dump fails for everything that would end the server at every start.
//
// It does not fail for anything else. A missing directory may be made before the server
// starts: Kong makes its prefix, and "kong config parse" runs -dump before that. A port that is
// taken may be the predecessor's, until that has drained. The server runs without a log file
// that cannot be opened. And a socket outside Kong's prefix, or of another user, may belong to
// a server under a supervisor, which need not run as the user of Kong's workers; if Kong does
// start it, the log file has the reason.

// check returns why a server with these options can never serve, nil if it can.
func (o *options) check() error {
	if err := kongpdk.CheckPath(o.socket); err != nil {
		return err
	}
	dir := filepath.Dir(o.socket)
	if !o.dump || dir == filepath.Clean(o.prefix) && !o.isOthers() {
		if err := checkDirectory(dir); err != nil {
			return err
		}
	}
	if err := checkSpool(o.spool); err != nil {
		return err
	}
	for _, f := range []struct{ flag, address string }{{"metrics", o.metrics}, {"pprof", o.pprof}} {
		if err := checkAddress(f.flag, f.address); err != nil {
			return err
		}
	}
	return nil
}

// isOthers reports whether the socket exists and belongs to another user.
func (o *options) isOthers() bool {
	info, err := os.Lstat(o.socket)
	if err != nil {
		return false
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(owner.Uid) != os.Geteuid()
}

// checkDirectory returns an error if this user cannot make a socket in dir, unless dir does not
// exist.
func checkDirectory(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("checking the directory of the socket: %w", err)
	case !info.IsDir():
		return fmt.Errorf("%s, the directory of the socket, is not a directory: choose another one with -kong-prefix or -socket", dir)
	}
	err = unix.Access(dir, unix.W_OK|unix.X_OK)
	if err == nil || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return fmt.Errorf("the plugin server, as %s, cannot make its socket in %s (%w): give that user, as whom Kong's workers run, write permission, or choose another directory with -kong-prefix or -socket", currentUser(), dir, err)
}

// checkSpool returns an error if this user cannot keep records in dir, which may be "", unless
// dir does not exist.
func checkSpool(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case dir == "", errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("checking the directory of the spool: %w", err)
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory: give -spool one", dir)
	}
	err = unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK)
	if err == nil || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return fmt.Errorf("the plugin server, as %s, cannot write records to %s (%w): give that user, as whom Kong's workers run, read and write permission, or choose another directory with -spool", currentUser(), dir, err)
}

// currentUser returns the user that this process runs as.
func currentUser() string {
	id := os.Geteuid()
	if u, err := user.LookupId(strconv.Itoa(id)); err == nil {
		return "user " + u.Username
	}
	return fmt.Sprintf("user %d", id)
}

// checkAddress returns an error if nothing can ever listen on an address, which may be "". It
// does not resolve host names.
func checkAddress(flag, address string) error {
	if address == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("-%s cannot be served on %q: use host:port, such as 127.0.0.1:9542", flag, address)
	}
	return nil
}

// refuse reports why the server or the dump has failed, and returns the exit code.
func (o *options) refuse(code int, reason error, stdin *os.File, stdout, stderr io.Writer) int {
	fmt.Fprintf(stderr, "kafka-upstream: %v\n", reason)
	if !o.dump {
		o.logFailure(stdin, reason)
		return code
	}
	// Kong ignores stderr and the exit code, but quotes output that is JSON and not a table in
	// its own error: "not a plugin info table: …".
	e := json.NewEncoder(stdout)
	e.SetEscapeHTML(false)
	_ = e.Encode("kafka-upstream: " + reason.Error())
	return code
}

// wantsDump reports whether -dump is among arguments that cannot be parsed.
func wantsDump(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return a == "-dump" || a == "--dump" })
}

// dumpAsWorker prints the dump as the user of Kong's workers, one of which starts the server:
// the access of root would prove nothing. It reports false if this process is not root's, or
// if that user is not known or cannot be switched to.
func (o *options) dumpAsWorker(args []string, stdin *os.File, stdout, stderr io.Writer) (code int, ok bool) {
	if os.Geteuid() != 0 {
		return 0, false
	}
	name, credential := workerUser(o.prefix)
	exe, err := os.Executable()
	if credential == nil || credential.Uid == 0 || err != nil {
		return 0, false
	}
	cmd := exec.Command(exe, args...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	err = cmd.Start()
	if errors.Is(err, fs.ErrPermission) && unix.Access(exe, unix.X_OK) == nil && !errors.Is(err, syscall.EPERM) {
		return o.refuse(1, fmt.Errorf("user %s, as whom Kong's workers run, may not execute %s", name, exe), stdin, stdout, stderr), true
	}
	if err != nil {
		return 0, false // not even root may do this here
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), true
}

// userDirective is nginx's, which Kong writes from nginx_user.
var userDirective = regexp.MustCompile(`(?m)^\s*user\s+([^\s;]+)(?:\s+([^\s;]+))?\s*;`)

// workerUser returns the user that nginx's master will run Kong's workers as, according to the
// configuration that Kong has written into its prefix; nil if it is not there.
func workerUser(prefix string) (name string, c *syscall.Credential) {
	f, err := os.Open(filepath.Join(prefix, "nginx.conf"))
	if err != nil {
		return "", nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	m := userDirective.FindStringSubmatch(string(text))
	if err != nil || m == nil {
		return "", nil
	}
	u, err := user.Lookup(m[1])
	if err != nil {
		return "", nil
	}
	group := u.Gid
	if m[2] != "" {
		g, err := user.LookupGroup(m[2])
		if err != nil {
			return "", nil
		}
		group = g.Gid
	}
	all, err := u.GroupIds()
	if err != nil {
		return "", nil
	}
	c = new(syscall.Credential)
	for _, id := range []struct {
		text string
		to   *uint32
	}{{u.Uid, &c.Uid}, {group, &c.Gid}} {
		n, err := strconv.ParseUint(id.text, 10, 32)
		if err != nil {
			return "", nil
		}
		*id.to = uint32(n)
	}
	for _, g := range all {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(n))
		}
	}
	return u.Username, c
}
