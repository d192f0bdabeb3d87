package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/schema"
)

func TestDumpPrintsJSONOnlyAndTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	stdout, stderr, code := rig.Run(t, false, "-dump", "-kong-prefix", dir)
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
		{[]string{"-companion", ""}, 2, "the directory for -companion is empty"},
		{[]string{"-companion", "lua", "-dump"}, 2, "-companion takes one directory, after all flags"},
		{[]string{"-socket-mode", "rw"}, 2, "octal"},
		{[]string{"-drain-timeout", "-1s"}, 2, "cannot be negative"},
		{[]string{"-orphan-timeout", "-1s"}, 2, "cannot be negative"},
		{[]string{"-memory-limit", "1GB"}, 2, "512MiB"},
		{[]string{"-log-level", "loud"}, 2, "log-level"},
		{[]string{"-log-format", "xml"}, 2, "use text or json"},
		{[]string{"-kong-prefix", "/nowhere"}, 1, "/nowhere/kafka-upstream.socket"},
		{[]string{"-socket", "/etc/passwd"}, 1, "is not a socket"},
		{[]string{"-ca-file", "/nowhere/ca.pem", "-socket", filepath.Join(t.TempDir(), "s")}, 1, "/nowhere/ca.pem"},
		{[]string{"-help"}, 0, "-kong-prefix"},
	} {
		_, stderr, code := rig.Run(t, false, c.args...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit code %d, stderr %s", c.args, code, stderr)
		}
	}
	if stdout, _, code := rig.Run(t, false, "-version"); code != 0 || !strings.HasPrefix(stdout, "kafka-upstream ") {
		t.Errorf("-version: exit code %d, %s", code, stdout)
	}
}

func TestMetricsAddressThatCannotBeUsedIsExplained(t *testing.T) {
	_, stderr, code := rig.Run(t, false, "-metrics", "nonsense", "-kong-prefix", rig.ShortDir(t))
	if code != 1 || !strings.Contains(stderr, "host:port") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestSocketHasTheModeOfTheFlag(t *testing.T) {
	for arg, want := range map[string]fs.FileMode{"": 0o660, "0606": 0o606} {
		var args []string
		if arg != "" {
			args = []string{"-socket-mode", arg}
		}
		s := rig.Start(t, args...)
		info, err := os.Stat(s.Socket)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("-socket-mode %s: %v, %v", arg, info.Mode(), err)
		}
	}
}

func TestEndDeliversTheBufferAndExitsWithZero(t *testing.T) {
	for name, end := range map[string]func(*rig.Server){
		"SIGTERM":      func(s *rig.Server) { s.Signal(syscall.SIGTERM) },
		"SIGINT":       func(s *rig.Server) { s.Signal(syscall.SIGINT) },
		"end of stdin": func(s *rig.Server) { _ = s.Stdin.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"))
			s := rig.Start(t)
			w := s.Worker()
			p := rig.NewPlugin(rig.Settings(t, f.Addrs(), map[string]any{"producer_async_flush_timeout": 3600000}))
			if n := rig.SendN(t, w, p, 100); n != 100 {
				t.Fatalf("%d of 100 were accepted", n)
			}
			end(s)
			if code := s.Wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if n := len(f.Records(t, "t", 100)); n != 100 {
				t.Errorf("%d records", n)
			}
			if _, err := os.Stat(s.Socket); err != nil {
				t.Errorf("the socket was removed, which may be the successor's: %v", err)
			}
		})
	}
}

func TestEndTellsWhatItLeavesAndExitsWithOne(t *testing.T) {
	s := rig.Start(t, "-drain-timeout", "200ms")
	w := s.Worker()
	if n := rig.SendN(t, w, rig.NewPlugin(rig.Settings(t, []string{rig.ClosedPort(t)}, nil)), 7); n != 7 {
		t.Fatalf("%d of 7 were accepted", n)
	}
	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{`topic=t records=7`, `accepted=7 delivered=0 failed=0 undelivered=7`, "7 records were not delivered"} {
		if !strings.Contains(s.Log.String(), want) {
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
			s := rig.Start(t, "-drain-timeout", c.drain)
			w := s.Worker()
			k := &rig.Kong{Before: func(method string) {
				if method == "kong.request.get_raw_body" {
					s.Signal(syscall.SIGTERM)
					rig.Eventually(t, "it is ending", func() bool { return strings.Contains(s.Log.String(), "msg=ending") })
					<-time.After(c.late) // Kong is slow
				}
			}}
			exit, err := w.HandleEvent(t.Context(), rig.NewPlugin(rig.Settings(t, f.Addrs(), nil)), k)
			if err != nil || exit.Status != c.status {
				t.Errorf("answer is %+v, %v", exit, err)
			}
			w.Close()
			if code := s.Wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestSuccessorTakesOverTheSocketWhileItsPredecessorDrains(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	old := rig.Start(t)
	w := old.Worker()
	p := rig.NewPlugin(rig.Settings(t, f.Addrs(), map[string]any{"producer_async_flush_timeout": 3600000}))
	rig.SendN(t, w, p, 10)
	before, err := os.Stat(old.Socket)
	if err != nil {
		t.Fatal(err)
	}
	next := rig.StartAt(t, old.Socket)
	rig.Eventually(t, "the successor has the socket", func() bool {
		after, err := os.Stat(old.Socket)
		return err == nil && !os.SameFile(before, after)
	})
	old.Signal(syscall.SIGTERM)
	rig.SendN(t, w, p, 10)
	if code := old.Wait(); code != 0 {
		t.Errorf("the predecessor's exit code is %d", code)
	}
	rig.SendN(t, w, p, 10)
	next.Signal(syscall.SIGTERM)
	if code := next.Wait(); code != 0 {
		t.Errorf("the successor's exit code is %d", code)
	}
	if n := len(f.Records(t, "t", 30)); n != 30 {
		t.Errorf("%d records of 30", n)
	}
}

func TestDevNullForStdinIsNoEndOfKong(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(rig.Binary, "-socket", socket)
	cmd.Env = rig.Env()
	var log rig.Lines
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil { // with nil for stdin, which is the null device
		t.Fatal(err)
	}
	rig.Eventually(t, "it serves", func() bool { return strings.Contains(log.String(), "serving") })
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || !strings.Contains(log.String(), "terminated") {
		t.Errorf("it ended by itself: %v\n%s", err, log.String())
	}
}
