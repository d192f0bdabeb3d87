package child

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

func TestPortsAreLeasedToOneOnly(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var mu sync.Mutex
	seen := make(map[int]bool)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			l, err := LeasePorts(10)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(l.Release)
			mu.Lock()
			defer mu.Unlock()
			for _, port := range l.Ports {
				if seen[port] {
					t.Errorf("port %d was leased twice", port)
				}
				seen[port] = true
			}
		})
	}
	wg.Wait()
	if len(seen) != 200 {
		t.Errorf("%d ports were leased, want 200", len(seen))
	}
}

func TestReleasedPortCanBeLeasedAgain(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockPort(dir, 20000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockPort(dir, 20000); err != syscall.EWOULDBLOCK {
		t.Fatalf("a port that is leased: got error %v, want EWOULDBLOCK", err)
	}
	l := &Lease{locks: []*os.File{lock}}
	l.Release()
	l.Release()
	lock, err = lockPort(dir, 20000)
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
}

func TestPortInUseIsNotFree(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if portFree(port) {
		t.Error("a port that is listened on is said to be free")
	}
	l.Close()
	if !portFree(port) {
		t.Error("a port that nobody listens on is said to be taken")
	}
}

func TestLeaseFailsWhereItsFilesCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", file)
	if _, err := LeasePorts(1); err == nil {
		t.Errorf("no error with TMPDIR=%s (user %s)", file, strconv.Itoa(os.Getuid()))
	}
}
