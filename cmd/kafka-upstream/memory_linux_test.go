package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"kafka-upstream/internal/test/kongsim"
)

// residentMiB returns the resident memory of a process.
func residentMiB(t *testing.T, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var kb float64
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kb); err == nil {
			return kb / 1024
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// served returns the process that serves, which is the child of the one that
// was started.
func served(t *testing.T, s *server) int {
	t.Helper()
	pid := s.cmd.Process.Pid
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		if b, err := os.ReadFile(list); err == nil {
			var child int
			if n, _ := fmt.Sscan(string(b), &child); n == 1 {
				return child
			}
		}
	}
	t.Fatal("the launcher has no child")
	return 0
}

// plainText is what Kong says of the headers of a request whose body is text.
var plainText = []byte("\x0a\x1c\x0a\x0ccontent-type\x12\x0c\x1a\x0atext/plain")

// Memory with the buffer full at its defaults, by the size of a record. It
// prints the table of docs/guarantees.md.
func TestMemoryOfAFullBuffer(t *testing.T) {
	for _, size := range []int{100, 1024, 4096, 16384} {
		s := start(t, "-drain-timeout", "10ms")
		w := kongsim.NewWorker(s.socket, kongsim.WorkerOptions{})
		p := pluginOf(settings(t, []string{closedPort(t)}, nil))
		idle := residentMiB(t, served(t, s))
		k := &kong{replies: map[string][]byte{"kong.request.get_headers": plainText},
			body: inline(strings.Repeat("x", size-len(`{"body":"","body_args":{}}`)))}
		var wg sync.WaitGroup
		var mu sync.Mutex
		accepted, full := 0, false
		for range 16 {
			wg.Go(func() {
				for {
					exit, err := w.HandleEvent(t.Context(), p, k)
					mu.Lock()
					if err != nil || exit.Status != 200 {
						full = true
					} else {
						accepted++
					}
					stop := full
					mu.Unlock()
					if stop {
						return
					}
				}
			})
		}
		wg.Wait()
		w.Close()
		resident := residentMiB(t, served(t, s))
		held := float64(accepted*size) / (1 << 20)
		t.Logf("MEMORY | %d B | %d | %.0f MiB | %.0f MiB |", size, accepted, held, resident)
		if limit := idle + 2.5*held + 60; resident > limit && !raceEnabled {
			t.Errorf("records of %d bytes: %.0f MiB are resident, want at most %.0f", size, resident, limit)
		}
	}
}
