package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
	"kafka-upstream/schema"
)

// runOnce runs the program to its end.
func runOnce(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = []string{}
	var out, errs lines
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestDumpPrintsJSONOnlyAndTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	stdout, stderr, code := runOnce(t, "-dump", "-kong-prefix", dir)
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	var dump struct {
		Protocol, SocketPath string
		Plugins              []struct {
			Name     string
			Priority int
			Phases   []string
			Schema   json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(stdout), &dump); err != nil {
		t.Fatal(err)
	}
	if dump.Protocol != "ProtoBuf:1" || dump.SocketPath != filepath.Join(dir, "kafka-upstream.socket") || len(dump.Plugins) != 1 {
		t.Errorf("dump is %s", stdout)
	}
	p := dump.Plugins[0]
	if p.Name != "kafka-upstream" || p.Priority != 751 || len(p.Phases) != 1 || p.Phases[0] != "access" {
		t.Errorf("plugin is %+v", p)
	}
	var got, want any
	if json.Unmarshal(p.Schema, &got) != nil || json.Unmarshal(schema.JSON(), &want) != nil {
		t.Error("the schema is not JSON")
	}
	if g, _ := json.Marshal(got); string(g) == "" || len(g) < 5000 {
		t.Errorf("the schema is %s", g)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("%v was made", entries)
	}
}

func TestFlagsThatAreWrongAreExplained(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-nonsense"}, 2, "flag provided but not defined"},
		{[]string{"serve"}, 2, `unexpected argument "serve"`},
		{[]string{"-socket-mode", "rw"}, 2, "octal"},
		{[]string{"-drain-timeout", "-1s"}, 2, "cannot be negative"},
		{[]string{"-orphan-timeout", "-1s"}, 2, "cannot be negative"},
		{[]string{"-memory-limit", "1GB"}, 2, "512MiB"},
		{[]string{"-log-level", "loud"}, 2, "log-level"},
		{[]string{"-log-format", "xml"}, 2, "use text or json"},
		{[]string{"-kong-prefix", "/nowhere"}, 1, "/nowhere/kafka-upstream.socket"},
		{[]string{"-socket", "/etc/passwd"}, 1, "is no socket"},
		{[]string{"-ca-file", "/nowhere/ca.pem", "-socket", filepath.Join(t.TempDir(), "s")}, 1, "/nowhere/ca.pem"},
		{[]string{"-help"}, 0, "-kong-prefix"},
	} {
		_, stderr, code := runOnce(t, c.args...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit code %d, stderr %s", c.args, code, stderr)
		}
	}
	if stdout, _, code := runOnce(t, "-version"); code != 0 || !strings.HasPrefix(stdout, "kafka-upstream ") {
		t.Errorf("-version: exit code %d, %s", code, stdout)
	}
}

func TestSocketHasTheModeOfTheFlag(t *testing.T) {
	for arg, want := range map[string]fs.FileMode{"": 0o660, "0606": 0o606} {
		var args []string
		if arg != "" {
			args = []string{"-socket-mode", arg}
		}
		s := start(t, args...)
		info, err := os.Stat(s.socket)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("-socket-mode %s: %v, %v", arg, info.Mode(), err)
		}
	}
}

// events sends n requests and returns how many were answered 200.
func events(t *testing.T, w *kongsim.Worker, p *kongsim.Plugin, n int) (sent int) {
	t.Helper()
	for i := range n {
		exit, err := w.HandleEvent(t.Context(), p, &kong{body: inline(`[` + strconv.Itoa(i) + `]`)})
		if err != nil {
			t.Fatal(err)
		}
		if exit.Status == 200 {
			sent++
		}
	}
	return sent
}

func TestEndDeliversTheBufferAndExitsWithZero(t *testing.T) {
	for name, end := range map[string]func(*server){
		"SIGTERM":      func(s *server) { _ = s.cmd.Process.Signal(syscall.SIGTERM) },
		"SIGINT":       func(s *server) { _ = s.cmd.Process.Signal(syscall.SIGINT) },
		"end of stdin": func(s *server) { _ = s.stdin.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"))
			s := start(t)
			w := kongsim.NewWorker(s.socket, kongsim.WorkerOptions{})
			defer w.Close()
			p := pluginOf(settings(t, f.Addrs(), map[string]any{"producer_async_flush_timeout": 3600000}))
			if n := events(t, w, p, 100); n != 100 {
				t.Fatalf("%d of 100 were accepted", n)
			}
			end(s)
			if code := s.wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if n := len(f.Records(t, "t", 100)); n != 100 {
				t.Errorf("%d records", n)
			}
			if _, err := os.Stat(s.socket); err != nil {
				t.Errorf("the socket was removed, which may be the successor's: %v", err)
			}
		})
	}
}

func TestEndTellsWhatItLeavesAndExitsWithOne(t *testing.T) {
	s := start(t, "-drain-timeout", "200ms")
	w := kongsim.NewWorker(s.socket, kongsim.WorkerOptions{})
	defer w.Close()
	if n := events(t, w, pluginOf(settings(t, []string{closedPort(t)}, nil)), 7); n != 7 {
		t.Fatalf("%d of 7 were accepted", n)
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	if code := s.wait(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{`topic=t records=7`, `accepted=7 delivered=0 failed=0 left=7`, "7 records were not delivered"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

func TestRequestsUnderWayAtTheEndAreAnswered(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	for name, c := range map[string]struct {
		drain  string
		late   time.Duration
		status int
	}{
		"soon":            {"20s", 0, 200},
		"after half time": {"2s", 1200 * time.Millisecond, 503},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, "-drain-timeout", c.drain)
			w := kongsim.NewWorker(s.socket, kongsim.WorkerOptions{})
			defer w.Close()
			k := &kong{before: func(method string) {
				if method == "kong.request.get_raw_body" {
					_ = s.cmd.Process.Signal(syscall.SIGTERM)
					eventually(t, "it is ending", func() bool { return strings.Contains(s.log.String(), "msg=ending") })
					<-time.After(c.late) // Kong is slow
				}
			}}
			exit, err := w.HandleEvent(t.Context(), pluginOf(settings(t, f.Addrs(), nil)), k)
			if err != nil || exit.Status != c.status {
				t.Errorf("answer is %+v, %v", exit, err)
			}
			w.Close()
			if code := s.wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestSuccessorTakesOverTheSocketWhileItsPredecessorDrains(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	old := start(t)
	w := kongsim.NewWorker(old.socket, kongsim.WorkerOptions{})
	defer w.Close()
	p := pluginOf(settings(t, f.Addrs(), map[string]any{"producer_async_flush_timeout": 3600000}))
	events(t, w, p, 10)
	before, err := os.Stat(old.socket)
	if err != nil {
		t.Fatal(err)
	}
	next := startAt(t, old.socket)
	eventually(t, "the successor has the socket", func() bool {
		after, err := os.Stat(old.socket)
		return err == nil && !os.SameFile(before, after)
	})
	_ = old.cmd.Process.Signal(syscall.SIGTERM)
	events(t, w, p, 10)
	if code := old.wait(); code != 0 {
		t.Errorf("the predecessor's exit code is %d", code)
	}
	events(t, w, p, 10)
	_ = next.cmd.Process.Signal(syscall.SIGTERM)
	if code := next.wait(); code != 0 {
		t.Errorf("the successor's exit code is %d", code)
	}
	if n := len(f.Records(t, "t", 30)); n != 30 {
		t.Errorf("%d records of 30", n)
	}
}

func TestDevNullForStdinIsNoEndOfKong(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(binary, "-socket", socket)
	cmd.Env = []string{}
	var log lines
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil { // with nil for stdin, which is the null device
		t.Fatal(err)
	}
	eventually(t, "it serves", func() bool { return strings.Contains(log.String(), "serving") })
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || !strings.Contains(log.String(), "terminated") {
		t.Errorf("it ended by itself: %v\n%s", err, log.String())
	}
}

// Kong starts an instance for each route and worker, and anew after any change.
func TestInstancesThatAreStartedMakeFewLines(t *testing.T) {
	away := []string{closedPort(t)}
	s := start(t, "-drain-timeout", "500ms")
	w := kongsim.NewWorker(s.socket, kongsim.WorkerOptions{})
	defer w.Close()
	const instances = 500
	begin := time.Now()
	for i := range instances {
		config := settings(t, away, map[string]any{"producer_async": false, "producer_request_retries_max_attempts": 1, "topic": fmt.Sprint("t-", i)})
		if exit, err := w.HandleEvent(t.Context(), pluginOf(config), new(kong)); err != nil || exit.Status != 502 {
			t.Fatalf("%+v, %v", exit, err)
		}
	}
	seconds := int(time.Since(begin)/time.Second) + 3
	suppressed := regexp.MustCompile(`msg="starting an instance" .*?suppressed=(\d+)`)
	eventually(t, "every instance is in a line or counted by one", func() bool {
		log := s.log.String()
		n := strings.Count(log, `msg="starting an instance"`)
		if n > 10*seconds {
			t.Fatalf("%d lines in %d s", n, seconds)
		}
		for _, m := range suppressed.FindAllStringSubmatch(log, -1) {
			more, _ := strconv.Atoi(m[1])
			n += more
		}
		return n == instances
	})
}
