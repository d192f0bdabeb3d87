//go:build !race

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"kafka-upstream/internal/test/e2e/rig"
)

// Large requests at once are answered or refused, and what they take is bounded.
func TestLargeRequestsAreBoundedByTheMemoryLimit(t *testing.T) {
	for name, args := range ways {
		t.Run(name, func(t *testing.T) {
			const limit = 128 // MiB
			s := rig.Start(t, append(args, "-memory-limit", fmt.Sprintf("%dMiB", limit), "-drain-timeout", "10ms")...)
			w := s.Worker()
			p := rig.NewPlugin(rig.Settings(t, []string{rig.ClosedPort(t)}, map[string]any{
				"producer_request_limits_bytes_per_request": 100 << 20, "producer_async_buffering_limits_messages_in_memory": 1}))
			text := map[string][]byte{"kong.request.get_headers": rig.ContentType("text/plain")}
			body := strings.Repeat("x", 30<<20)
			path := filepath.Join(rig.ShortDir(t), "body")
			if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
			if exit, err := w.HandleEvent(t.Context(), p, &rig.Kong{Replies: text, Body: rig.Inline(body)}); err != nil || exit.Status != 200 {
				t.Fatalf("alone: %+v, %v", exit, err)
			}
			var wg sync.WaitGroup
			var mu sync.Mutex
			answers := map[int]int{}
			for i := range 12 {
				wg.Go(func() {
					k := &rig.Kong{Replies: text, Body: rig.Inline(body)}
					if i%3 == 0 {
						k.Body = rig.InFile(path)
					}
					exit, err := w.HandleEvent(t.Context(), p, k)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					answers[exit.Status]++
				})
			}
			wg.Wait()
			if n := answers[200] + answers[503]; n != 12 || w.Stats().Retries > 0 {
				t.Errorf("answers by status: %v, and %d retries", answers, w.Stats().Retries)
			}
			peak := peakMiB(t, s.Served())
			t.Logf("answers by status: %v; at most %.0f MiB were resident", answers, peak)
			if peak > float64(2*limit+50) {
				t.Errorf("%.0f MiB were resident, at a limit of %d MiB", peak, limit)
			}
		})
	}
}

// One request is not copied more often than it has to be.
func TestOneRequestTakesLittleMoreThanItsBodyAndItsMessage(t *testing.T) {
	s := rig.Start(t, "-drain-timeout", "10ms")
	w := s.Worker()
	p := rig.NewPlugin(rig.Settings(t, []string{rig.ClosedPort(t)}, map[string]any{"producer_request_limits_bytes_per_request": 100 << 20}))
	k := &rig.Kong{Replies: map[string][]byte{"kong.request.get_headers": rig.ContentType("text/plain")},
		Body: rig.Inline(strings.Repeat("x", 90<<20))}
	if exit, err := w.HandleEvent(t.Context(), p, k); err != nil || exit.Status != 200 {
		t.Fatalf("%+v, %v", exit, err)
	}
	if peak := peakMiB(t, s.Served()); peak > 300 {
		t.Errorf("a body of 90 MiB took %.0f MiB", peak)
	}
}

// peakMiB returns the most resident memory that a process has had.
func peakMiB(t *testing.T, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var kb float64
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kb); err == nil {
			return kb / 1024
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
