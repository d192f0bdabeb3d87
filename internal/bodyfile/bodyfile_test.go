//go:build unix

package bodyfile

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/request"
)

// aLender is what an exchange with the own user's Kong offers.
type aLender struct {
	uid    func() (uint32, error)
	memory *memory.Limit
}

func (l aLender) Reserve(n int64) bool { return l.memory.Take(n) }

func (l aLender) PeerUID() (uint32, error) {
	if l.uid != nil {
		return l.uid()
	}
	return uint32(os.Geteuid()), nil
}

// readPath reads the body that is said to be in the file, and fails the test if that
// takes long.
func readPath(t *testing.T, path string, l aLender) ([]byte, error) {
	t.Helper()
	type result struct {
		body []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		b, err := Read(nil, path, 1<<20, l)
		done <- result{b, err}
	}()
	select {
	case r := <-done:
		return r.body, r.err
	case <-time.After(20 * time.Second):
		t.Fatalf("%s holds its request", path)
		return nil, nil
	}
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "0000000001")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOnlyRegularFilesAreBodies(t *testing.T) {
	dir := t.TempDir()
	fifo, link, socket := filepath.Join(dir, "fifo"), filepath.Join(dir, "link"), filepath.Join(dir, "socket")
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.Symlink(write(t, "secret"), link)); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]string{
		fifo: "no regular file", link: "no regular file", socket: "no regular file", dir: "no regular file",
		"/dev/zero": "no regular file", "/dev/null": "no regular file", "/dev/tty": "no regular file", "/": "no regular file",
		"": "not absolute", "relative": "not absolute", "../../etc/passwd": "not absolute",
		filepath.Join(dir, "nothing"): "no such file", strings.Repeat("/x", 3000): "file name too long", "/\x00": "invalid argument",
	} {
		r, err := readPath(t, path, aLender{})
		if bad, ok := errors.AsType[*request.BodyError](err); !ok || !strings.Contains(bad.Reason, want) || len(r) > 0 {
			t.Errorf("%.60s: %q, %v, want %s", path, r, err, want)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%.60s: the reason has %d bytes", path, len(err.Error()))
		}
	}
}

// A directory on the way may be a link: Kong's prefix often lies behind one.
func TestBodyFileBehindALinkedDirectoryIsRead(t *testing.T) {
	path := write(t, "content")
	link := filepath.Join(t.TempDir(), "prefix")
	if err := os.Symlink(filepath.Dir(path), link); err != nil {
		t.Fatal(err)
	}
	if r, err := readPath(t, filepath.Join(link, filepath.Base(path)), aLender{}); err != nil || string(r) != "content" {
		t.Errorf("%q, %v", r, err)
	}
}

// The peer has no more read for it than it could read by itself.
func TestBodyFileOfAnotherUserThanThePeerIsNotRead(t *testing.T) {
	path, own := write(t, "secret"), uint32(os.Geteuid())
	for name, c := range map[string]struct {
		uid  func() (uint32, error)
		want string
	}{
		"own":      {func() (uint32, error) { return own, nil }, ""},
		"another":  {func() (uint32, error) { return own + 1, nil }, "belongs to another user"},
		"not told": {func() (uint32, error) { return 0, errors.ErrUnsupported }, ""}, // and so the server's own
		"failing":  {func() (uint32, error) { return own, unix.EBADF }, "bad file descriptor"},
	} {
		r, err := readPath(t, path, aLender{uid: c.uid})
		if c.want == "" && (err != nil || string(r) != "secret") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || len(r) > 0) {
			t.Errorf("%s: %q, %v", name, r, err)
		}
	}
}

func TestBodyFileThatIsNotAsLongAsItSaysIsRefused(t *testing.T) {
	path := write(t, "four")
	f, size, err := openFile(path, uint32(os.Geteuid()))
	if err != nil || size != 4 {
		t.Fatal(size, err)
	}
	defer f.close()
	for change, want := range map[string]error{"four": nil, "thr": errShort, "": errShort, "fiver": errLonger, strings.Repeat("x", 9999): errLonger} {
		if err := os.WriteFile(path, []byte(change), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Seek(int(f), 0, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.readAll(make([]byte, size+1)); err != want {
			t.Errorf("%d bytes: %v, want %v", len(change), err, want)
		}
	}
	if r, err := readPath(t, write(t, ""), aLender{}); err != nil || r == nil || len(r) > 0 {
		t.Errorf("empty: %q, %v", r, err)
	}
}

func TestBodyFileForWhichThereIsNoMemoryIsNotRead(t *testing.T) {
	path := write(t, strings.Repeat("x", 1000))
	limit := memory.NewLimit(999)
	if r, err := readPath(t, path, aLender{memory: limit}); !errors.Is(err, memory.ErrFull) || cap(r) > 0 || limit.Used() != 0 {
		t.Errorf("%v, %d bytes were taken, %d of the limit", err, cap(r), limit.Used())
	}
	limit = memory.NewLimit(1000)
	if r, err := readPath(t, path, aLender{memory: limit}); err != nil || len(r) != 1000 || limit.Used() != 1000 {
		t.Errorf("%v, a body of %d bytes, %d of the limit", err, len(r), limit.Used())
	}
}

func TestBodyFilesHoldNoDescriptor(t *testing.T) {
	before := lowestFile(t)
	good := write(t, "x")
	for range 10 {
		for _, path := range []string{good, "/dev/zero", t.TempDir(), "/proc/self/status", good + "x"} {
			_, _ = readPath(t, path, aLender{})
		}
		_, _ = readPath(t, good, aLender{memory: memory.NewLimit(0)})
	}
	if after := lowestFile(t); after != before {
		t.Errorf("the next descriptor was %d and is %d", before, after)
	}
}

func lowestFile(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	return fd
}

func TestBodyFileOfAnotherUserSaysWhatToDo(t *testing.T) {
	err := fileError("/tmp/x", &os.PathError{Op: "open", Path: "/tmp/x", Err: os.ErrPermission})
	for _, want := range []string{"/tmp/x", "run the plugin server as that user", "set nginx_http_client_body_buffer_size"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}
