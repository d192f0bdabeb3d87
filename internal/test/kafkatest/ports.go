package kafkatest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Ports are taken below the range that systems take outgoing connections'
// ports from (Linux: 32768 up): a client that calls a stopped broker's port
// again and again could otherwise be given that very port, and the broker could
// not come back.
const (
	firstPort = 20000
	lastPort  = 32000
)

// portLease is a set of TCP ports of 127.0.0.1 that no other test of this
// package, in this process or another, is given while the lease is held; a lock
// file a port sees to that, and the system drops the locks of a process that
// dies. Other programs do not know of the leases: a broker may still find its
// port taken.
type portLease struct {
	ports []int
	locks []*os.File
}

func leasePorts(n int) (*portLease, error) {
	dir := filepath.Join(os.TempDir(), "kafkatest-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l := &portLease{}
	for tries := 0; len(l.ports) < n; tries++ {
		if tries == 1000 {
			l.release()
			return nil, fmt.Errorf("no %d free ports between %d and %d on 127.0.0.1", n, firstPort, lastPort)
		}
		port := firstPort + rand.IntN(lastPort-firstPort)
		lock, err := lockPort(dir, port)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			l.release()
			return nil, err
		}
		if !portFree(port) {
			lock.Close()
			continue
		}
		l.ports = append(l.ports, port)
		l.locks = append(l.locks, lock)
	}
	return l, nil
}

// ClosedPort returns an address of 127.0.0.1 where nothing listens. No other test is
// given its port until the end of t, so t may have something listen there later.
func ClosedPort(t testing.TB) string {
	t.Helper()
	l, err := leasePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.release)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(l.ports[0]))
}

// lockPort fails with EWOULDBLOCK where another test holds the port.
func lockPort(dir string, port int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func portFree(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// release may be called more than once.
func (l *portLease) release() {
	for _, f := range l.locks {
		f.Close()
	}
	l.locks = nil
}
