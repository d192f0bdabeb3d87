package child

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Ports are taken below the range that systems take outgoing connections'
// ports from (Linux: 32768 up): a client that calls a stopped broker's port
// again and again could otherwise be given that very port, and the broker could
// not come back.
const (
	firstPort = 20000
	lastPort  = 32000
)

// Lease is a set of TCP ports of 127.0.0.1 that no other lease, in this process or another,
// holds until its release. Each port has a lock file, whose lock the system drops when its
// process dies. Other programs do not know of the leases, so a child may still find its port
// taken.
type Lease struct {
	Ports []int
	locks []*os.File
}

// LeasePorts leases n ports on which nothing listens.
func LeasePorts(n int) (*Lease, error) {
	dir := filepath.Join(os.TempDir(), "kafkatest-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l := &Lease{}
	for tries := 0; len(l.Ports) < n; tries++ {
		if tries == 1000 {
			l.Release()
			return nil, fmt.Errorf("no %d free ports between %d and %d on 127.0.0.1", n, firstPort, lastPort)
		}
		port := firstPort + rand.IntN(lastPort-firstPort)
		lock, err := lockPort(dir, port)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			l.Release()
			return nil, err
		}
		if !portFree(port) {
			lock.Close()
			continue
		}
		l.Ports = append(l.Ports, port)
		l.locks = append(l.locks, lock)
	}
	return l, nil
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

// Release may be called more than once.
func (l *Lease) Release() {
	for _, f := range l.locks {
		f.Close()
	}
	l.locks = nil
}
