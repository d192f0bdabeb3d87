//go:build !race

package e2e

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"kafka-upstream/internal/test/e2e/rig"
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

// Memory with the buffer full at its defaults, by the size of a record. It
// prints the table of docs/guarantees.md.
func TestMemoryOfAFullBuffer(t *testing.T) {
	for _, size := range []int{100, 1024, 4096, 16384} {
		s := rig.Start(t, "-drain-timeout", "10ms")
		w := s.Worker()
		p := rig.NewPlugin(rig.Settings(t, []string{rig.ClosedPort(t)}, nil))
		idle := residentMiB(t, s.Served())
		k := &rig.Kong{Replies: map[string][]byte{"kong.request.get_headers": rig.ContentType("text/plain")},
			Body: rig.Inline(strings.Repeat("x", size-len(`{"body":"","body_args":{}}`)))}
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
		resident := residentMiB(t, s.Served())
		held := float64(accepted*size) / (1 << 20)
		t.Logf("MEMORY | %d B | %d | %.0f MiB | %.0f MiB |", size, accepted, held, resident)
		if limit := idle + 2.5*held + 60; resident > limit {
			t.Errorf("records of %d bytes: %.0f MiB are resident, want at most %.0f", size, resident, limit)
		}
	}
}
