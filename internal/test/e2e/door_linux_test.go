package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sys/unix"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// slower divides the sizes of bodies where the race detector makes them take long.
var slower = map[bool]int{false: 1, true: 8}[rig.Race]

// What is no file of Kong's is not opened, and holds neither the request nor a thread
// nor the shutdown.
func TestBodiesThatAreNoFilesOfKongsAreRefusedAtOnce(t *testing.T) {
	dir := rig.ShortDir(t)
	fifo, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", link); err != nil {
		t.Fatal(err)
	}
	for name, args := range ways {
		t.Run(name, func(t *testing.T) {
			s := rig.Start(t, args...)
			w := s.Worker()
			p := rig.NewPlugin(rig.Settings(t, []string{rig.ClosedPort(t)}, nil))
			for _, path := range []string{fifo, link, dir, s.Socket, "/dev/zero", "/dev/null", "/proc/version", "/proc/self/environ", "/proc/kmsg", "relative"} {
				k := &rig.Kong{Body: rig.InFile(path)}
				exit, err := w.HandleEvent(t.Context(), p, k)
				if err != nil || exit.Status != 500 || !strings.Contains(string(exit.Body), "could not read request body") {
					t.Errorf("%s: %+v, %v", path, exit, err)
				}
				if !strings.Contains(k.Log(), fmt.Sprintf("%q", path)) {
					t.Errorf("%s: Kong's log has %q", path, k.Log())
				}
			}
			var wg sync.WaitGroup
			for range 200 {
				wg.Go(func() {
					if exit, err := w.HandleEvent(t.Context(), p, &rig.Kong{Body: rig.InFile(fifo)}); err != nil || exit.Status != 500 {
						t.Errorf("%+v, %v", exit, err)
					}
				})
			}
			wg.Wait()
			if threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.Served())); err != nil || len(threads) > 100 {
				t.Errorf("%d threads, %v", len(threads), err)
			}
			s.Signal(syscall.SIGTERM)
			if code := s.Wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// The bodies of another user's files are not read, though the server may read them.
func TestBodyFileOfAnotherUserIsRefused(t *testing.T) {
	other := ""
	for _, path := range []string{"/etc/passwd", "/var/mail", "/var/cache/man"} {
		if info, err := os.Stat(path); err == nil && info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
			other = path
		}
	}
	if os.Geteuid() == 0 { // who may make one
		other = filepath.Join(rig.ShortDir(t), "body")
		if err := os.WriteFile(other, []byte("secret"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(other, 4711, 4711); err != nil {
			t.Fatal(err)
		}
	}
	s := rig.Start(t)
	w := s.Worker()
	k := &rig.Kong{Body: rig.InFile(other)}
	exit, err := w.HandleEvent(t.Context(), rig.NewPlugin(rig.Settings(t, []string{rig.ClosedPort(t)}, nil)), k)
	if err != nil || exit.Status != 500 || !strings.Contains(k.Log(), "another user") {
		t.Errorf("%s: %+v, %v, Kong's log has %q", other, exit, err, k.Log())
	}
}

// Large requests at once are answered or refused, and what they take is bounded.
func TestLargeRequestsAreBoundedByTheMemoryLimit(t *testing.T) {
	for name, args := range ways {
		t.Run(name, func(t *testing.T) {
			limit := 128 / slower // MiB
			s := rig.Start(t, append(args, "-memory-limit", fmt.Sprintf("%dMiB", limit), "-drain-timeout", "10ms")...)
			w := s.Worker()
			p := rig.NewPlugin(rig.Settings(t, []string{rig.ClosedPort(t)}, map[string]any{
				"producer_request_limits_bytes_per_request": 100 << 20, "producer_async_buffering_limits_messages_in_memory": 1}))
			text := map[string][]byte{"kong.request.get_headers": rig.ContentType("text/plain")}
			body := strings.Repeat("x", 30<<20/slower)
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
			if peak > float64(2*limit+50) && !rig.Race {
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
		Body: rig.Inline(strings.Repeat("x", 90<<20/slower))}
	if exit, err := w.HandleEvent(t.Context(), p, k); err != nil || exit.Status != 200 {
		t.Fatalf("%+v, %v", exit, err)
	}
	if peak := peakMiB(t, s.Served()); peak > 300 && !rig.Race {
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

// A peer that has sent a part of a frame, or that answers nothing, does not keep the
// server from its end.
func TestServerEndsSoonThoughPeersStall(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	for name, args := range ways {
		t.Run(name, func(t *testing.T) {
			s := rig.Start(t, append(args, "-drain-timeout", "30s")...)
			w := s.Worker()
			p := rig.NewPlugin(rig.Settings(t, f.Addrs(), nil))
			rig.SendN(t, w, p, 1)
			for _, b := range [][]byte{{1}, {0, 0, 16, 0}, append([]byte{0, 0, 16, 0}, make([]byte, 1<<19)...)} {
				c, err := net.Dial("unix", s.Socket)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := c.Write(b); err != nil {
					t.Fatal(err)
				}
			}
			asked, free := make(chan struct{}), make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				k := &rig.Kong{Before: func(method string) {
					if method == "kong.request.get_raw_body" {
						close(asked)
						<-free
					}
				}}
				_, _ = w.HandleEvent(t.Context(), p, k)
			})
			<-asked
			began := time.Now()
			s.Signal(syscall.SIGTERM)
			code := s.Wait()
			close(free)
			wg.Wait()
			if took := time.Since(began); code != 0 || took > 15*time.Second {
				t.Errorf("exit code %d after %v", code, took)
			}
		})
	}
}

// A Kong that takes this server for another plugin's tells its client, and its log.
func TestStartUnderAnotherPluginsNameIsRefused(t *testing.T) {
	s := rig.Start(t)
	w := s.Worker()
	p := rig.NewPlugin(rig.Settings(t, []string{rig.ClosedPort(t)}, nil))
	p.Name = "kafka-log"
	k := new(rig.Kong)
	exit, err := w.HandleEvent(t.Context(), p, k)
	if err != nil || exit.Status != 500 || w.Stats().Retries > 0 {
		t.Fatalf("%+v, %v, %d retries", exit, err, w.Stats().Retries)
	}
	for _, want := range []string{`"kafka-log"`, `"kafka-upstream"`} {
		if !strings.Contains(k.Log(), want) {
			t.Errorf("Kong's log lacks %s: %s", want, k.Log())
		}
		rig.Eventually(t, "the log has "+want, func() bool { return strings.Contains(s.Log.String(), strings.ReplaceAll(want, `"`, `\"`)) })
	}
}
