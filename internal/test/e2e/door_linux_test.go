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
