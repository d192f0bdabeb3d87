//go:build unix

package request

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"golang.org/x/sys/unix"

	"kafka-upstream/internal/memory"
)

// aDoor is what an exchange with the own user's Kong offers.
type aDoor struct {
	uid    func() (uint32, error)
	memory *memory.Limit
}

func (aDoor) WillBlock()             {}
func (d aDoor) Reserve(n int64) bool { return d.memory.Take(n) }

func (d aDoor) PeerUID() (uint32, error) {
	if d.uid != nil {
		return d.uid()
	}
	return uint32(os.Geteuid()), nil
}

// readPath reads the body that is said to be in the file, and fails the test if that
// takes long.
func readPath(t *testing.T, path string, d aDoor) (*Request, error) {
	t.Helper()
	reply := bodyReply(t, &pb.RawBodyResult{Kind: &pb.RawBodyResult_BodyFilepath{BodyFilepath: path}})
	r := new(Request)
	done := make(chan error, 1)
	go func() { done <- NewPlan(Parts{Body: true}, 1<<20, "").readBody(r, reply, d) }()
	select {
	case err := <-done:
		return r, err
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
		"relative": "not absolute", "../../etc/passwd": "not absolute",
		filepath.Join(dir, "nothing"): "no such file", strings.Repeat("/x", 3000): "file name too long", "/\x00": "invalid argument",
	} {
		r, err := readPath(t, path, aDoor{})
		if bad, ok := errors.AsType[*BodyError](err); !ok || !strings.Contains(bad.Reason, want) || len(r.Body) > 0 {
			t.Errorf("%.60s: %q, %v, want %s", path, r.Body, err, want)
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
	if r, err := readPath(t, filepath.Join(link, filepath.Base(path)), aDoor{}); err != nil || string(r.Body) != "content" {
		t.Errorf("%q, %v", r.Body, err)
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
		r, err := readPath(t, path, aDoor{uid: c.uid})
		if c.want == "" && (err != nil || string(r.Body) != "secret") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || len(r.Body) > 0) {
			t.Errorf("%s: %q, %v", name, r.Body, err)
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
	if r, err := readPath(t, write(t, ""), aDoor{}); err != nil || r.Body == nil || len(r.Body) > 0 {
		t.Errorf("empty: %q, %v", r.Body, err)
	}
}

func TestBodyFileForWhichThereIsNoMemoryIsNotRead(t *testing.T) {
	path := write(t, strings.Repeat("x", 1000))
	limit := memory.NewLimit(999)
	if r, err := readPath(t, path, aDoor{memory: limit}); !errors.Is(err, memory.ErrFull) || cap(r.file) > 0 || limit.Used() != 0 {
		t.Errorf("%v, %d bytes were taken, %d of the limit", err, cap(r.file), limit.Used())
	}
	limit = memory.NewLimit(1000)
	if r, err := readPath(t, path, aDoor{memory: limit}); err != nil || len(r.Body) != 1000 || limit.Used() != 1000 {
		t.Errorf("%v, a body of %d bytes, %d of the limit", err, len(r.Body), limit.Used())
	}
}

func TestBodyFilesHoldNoDescriptor(t *testing.T) {
	before := lowestFile(t)
	good := write(t, "x")
	for range 10 {
		for _, path := range []string{good, "/dev/zero", t.TempDir(), "/proc/self/status", good + "x"} {
			_, _ = readPath(t, path, aDoor{})
		}
		_, _ = readPath(t, good, aDoor{memory: memory.NewLimit(0)})
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
