package kongsim

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// syncBuffer is a buffer that many goroutines may use.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// processOptions are those of a gateway that starts this test's binary.
func processOptions(t testing.TB, args ...string) Options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// t.TempDir() may be too long for a socket.
	dir, err := os.MkdirTemp("", "k")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return Options{Binary: exe, Args: append([]string{asPlugin, "-kong-prefix", dir}, args...), Config: []byte(recordedConfig)}
}

func mustStart(t testing.TB, o Options) *Sim {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestTheServerIsStartedAsKongStartsIt(t *testing.T) {
	t.Setenv("GOCOVERDIR", "") // which is passed on, and so is
	t.Setenv("GORACE", "")
	var out syncBuffer
	o := processOptions(t)
	o.Stderr = &out
	s := mustStart(t, o)
	_, body := do(t, s, "GET", "/say", testHost, nil)
	if want := fmt.Sprintf("pid=%d env=PWD=", s.PID()); !strings.HasPrefix(body, want) || strings.Contains(body, ",") {
		t.Errorf("the plugin says %q, want %q and nothing else in its environment", body, want)
	}
	waitUntil(t, "its output arrives", func() bool { return strings.Contains(out.String(), "one line\n") })
	if log := strings.Join(s.ErrorLog(), "\n"); !strings.Contains(log, fmt.Sprintf("[info] [kafka-upstream:%d] one line", s.PID())) {
		t.Errorf("log: %s", log)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "no end of line") {
		t.Errorf("its last words are lost: %q", out.String())
	}
	if s.PID() != 0 {
		t.Error("it still runs")
	}
}

func TestArgumentsMayNameTheAdminAPI(t *testing.T) {
	s := mustStart(t, processOptions(t, "-admin-url", "{admin-url}"))
	if _, body := do(t, s, "GET", "/args", testHost, nil); !strings.HasSuffix(body, " -admin-url "+s.AdminURL()) {
		t.Errorf("arguments %q", body)
	}
}

func TestAServerThatEndsIsStartedAgainAtMostOnceASecond(t *testing.T) {
	s := mustStart(t, processOptions(t))
	first := s.PID()
	began := time.Now()
	conn := make(chan struct{})
	go func() { // dies in the event: Kong sees "closed", and retries until the new one is there
		defer close(conn)
		do(t, s, "GET", "/die", testHost, nil)
	}()
	waitUntil(t, "another process runs", func() bool { pid := s.PID(); return pid != 0 && pid != first })
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	<-conn
	waitUntil(t, "it answers again", func() bool {
		res, _ := do(t, s, "GET", "/", testHost, nil)
		return res.StatusCode == 200
	})
	if n := s.Stats().Respawns; n < 1 || n > 3 {
		t.Errorf("%d respawns", n)
	}
}

func TestReloadBindsTheSamePathAndEndsTheOldServerAfterwards(t *testing.T) {
	s := mustStart(t, processOptions(t))
	pid := func() string {
		res, body := do(t, s, "GET", "/", testHost, nil)
		if res.StatusCode != 200 {
			t.Fatal(res.Status, body)
		}
		return regexp.MustCompile(`pid=\d+`).FindString(body)
	}
	old, oldPID := pid(), s.PID()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var requests, failed int
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			requests++
			if res, _ := do(t, s, "GET", "/", testHost, nil); res.StatusCode != 200 {
				failed++
			}
		}
	})
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if pid() == old {
		t.Error("the old server still answers")
	}
	waitUntil(t, "the old server has ended", func() bool { return syscall.Kill(oldPID, 0) != nil })
	close(stop)
	wg.Wait()
	if failed > 0 {
		t.Errorf("%d of %d requests failed in the reload", failed, requests)
	}
	if n := s.Stats().Respawns; n != 0 {
		t.Errorf("%d respawns", n)
	}
}

// Kong kills its plugin server a moment after SIGTERM. A child that it leaves
// behind may take its time.
func TestCloseWaitsForWhatTheServerLeavesBehind(t *testing.T) {
	for grace, late := range map[time.Duration]bool{100 * time.Millisecond: true, 10 * time.Second: false} {
		o := processOptions(t, "-then", "leave-a-child")
		o.Grace = grace
		s := mustStart(t, o)
		if err := s.Close(); late != (err != nil) || late && !strings.Contains(err.Error(), "left behind") {
			t.Errorf("with %v: got %v", grace, err)
		}
		s.Close()
	}
}

func TestAServerThatCannotStartIsOneSentence(t *testing.T) {
	die := processOptions(t, "-then", "die")
	junk := processOptions(t, "-then", "junk-dump")
	missing := Options{Binary: "/no/such/binary"}
	bad := processOptions(t)
	bad.Config = []byte("routes: [")
	for want, o := range map[string]Options{
		"cannot do this":               die,
		"not the JSON that Kong reads": junk,
		"no such file":                 missing,
		"is no YAML":                   bad,
		"neither a plugin server's":    {},
	} {
		s, err := Start(t.Context(), o)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAPluginMadeWithGoPDKRuns(t *testing.T) {
	o := processOptions(t)
	o.Args[0] = asGoPDK
	o.Config = nil
	s := mustStart(t, o)
	config := strings.ReplaceAll(recordedConfig, "- name: kafka-upstream\n    config", "- name: "+s.name+"\n    config")
	if err := s.SetConfig([]byte(config)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		raw := "POST /a?b HTTP/1.1\r\nHost: kafka-upstream.dev\r\nX-A: v\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody"
		got := send(t, s, []byte(raw))
		if !strings.HasPrefix(got, "HTTP/1.1 202 ") || !strings.HasSuffix(got, "t POST /a?b v body") || !strings.Contains(got, "\r\nX-Plugin: go-pdk\r\n") {
			t.Errorf("got %q", got)
		}
	}
	if log := strings.Join(s.ErrorLog(), "\n"); !strings.Contains(log, "[notice] seen POST") {
		t.Errorf("log: %s", log)
	}
	s.Close() // go-pdk's server has no handler of SIGTERM: it dies of it
}
