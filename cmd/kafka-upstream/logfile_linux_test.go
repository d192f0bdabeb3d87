package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// contents is what a file holds, "" while it is not there.
func contents(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// At a stop of Kong nobody reads what is printed any more, and what the brokers do
// not take is told all the same.
func TestUndeliveredRecordsAreToldThoughKongIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		logs bool // there is such a directory in the prefix
		flag string
		want string
	}{
		"beside Kong's logs":    {logs: true, want: "logs/kafka-upstream.log"},
		"beside the socket":     {want: "kafka-upstream.log"},
		"where the flag has it": {logs: true, flag: "my.log", want: "my.log"},
	} {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"))
			dir := rig.ShortDir(t)
			if c.logs {
				if err := os.Mkdir(dir+"/logs", 0o700); err != nil {
					t.Fatal(err)
				}
			}
			args := []string{"-kong-prefix", dir, "-drain-timeout", "1s"}
			if c.flag != "" {
				args = append(args, "-log-file", filepath.Join(dir, c.flag))
			}
			cmd := exec.Command(rig.Binary, args...)
			cmd.Env = rig.Env()
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stdout, cmd.Stderr = write, write
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			_ = write.Close()
			rig.Eventually(t, "the socket is there", func() bool {
				_, err := os.Stat(dir + "/kafka-upstream.socket")
				return err == nil
			})
			w := rig.NewWorker(t, dir+"/kafka-upstream.socket")
			for topic, n := range map[string]int{"missing": 251, "absent": 3, "t": 5} {
				p := rig.NewPlugin(rig.Settings(t, f.Addrs(), map[string]any{"topic": topic, "producer_async_flush_timeout": 100}))
				if got := rig.SendN(t, w, p, n); got != n {
					t.Fatalf("%d of %d records to %s were accepted", got, n, topic)
				}
			}
			_ = out.Close()
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Process.Kill()
			_ = stdin.Close()
			_ = cmd.Wait()
			path := filepath.Join(dir, c.want)
			rig.Eventually(t, "the server has ended", func() bool {
				return strings.Contains(contents(path), "msg=ended") && strings.Contains(contents(path), endedWithError)
			})
			got := contents(path)
			for _, want := range []string{
				"msg=serving pid=", "msg=ending pid=",
				"topic=missing records=251 delivered=0 error=", "topic=absent records=3 delivered=0 error=", "Unknown Topic Or Partition",
				"accepted=259 delivered=5 failed=0 undelivered=254", "254 records were not delivered within the drain timeout of 1s",
			} {
				if !strings.Contains(got, want) {
					t.Errorf("the log file lacks %q", want)
				}
			}
			if t.Failed() {
				t.Log(got)
			}
		})
	}
}

func TestLogFileThatCannotBeOpenedIsNoReasonNotToServe(t *testing.T) {
	dir := rig.ShortDir(t)
	if err := os.Symlink("/dev/null", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(dir+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	for _, path := range []string{dir, dir + "/none/log", dir + "/link", dir + "/pipe"} {
		s := rig.Start(t, "-log-file", path)
		w := s.Worker()
		if n := rig.SendN(t, w, rig.NewPlugin(rig.Settings(t, f.Addrs(), nil)), 1); n != 1 {
			t.Errorf("%s: it does not serve", path)
		}
		if n := strings.Count(s.Log.String(), "there is no log file"); n != 1 || !strings.Contains(s.Log.String(), path) {
			t.Errorf("%s: %d lines say so:\n%s", path, n, s.Log.String())
		}
	}
}

func TestLogFileMayBeTurnedOff(t *testing.T) {
	s := rig.Start(t, "-log-file", "off")
	s.Signal(syscall.SIGTERM)
	s.Wait()
	if all, _ := filepath.Glob(filepath.Dir(s.Socket) + "/*.log"); len(all) != 0 || strings.Contains(s.Log.String(), "no log file") {
		t.Errorf("there is %v\n%s", all, s.Log.String())
	}
}

func TestLogFileIsOpenedAnewOnUSR1(t *testing.T) {
	s := rig.Start(t)
	path := filepath.Join(filepath.Dir(s.Socket), "kafka-upstream.log")
	rig.Eventually(t, "it is there", func() bool { return strings.Contains(contents(path), "msg=serving") })
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	s.Signal(syscall.SIGUSR1)
	rig.Eventually(t, "there is a new one", func() bool { _, err := os.Stat(path); return err == nil })
	rig.Eventually(t, "it says so", func() bool { return strings.Contains(s.Log.String(), "SIGUSR1: the log file was reopened") })
	s.Signal(syscall.SIGTERM)
	s.Wait()
	if !strings.Contains(contents(path), "msg=ended") {
		t.Errorf("the new one has %q", contents(path))
	}
}

// A crash is a fault of ours, and its stack goes where an operator finds it.
func TestLogFileHasTheStackOfACrash(t *testing.T) {
	s := rig.Start(t)
	path := filepath.Join(filepath.Dir(s.Socket), "kafka-upstream.log")
	rig.Eventually(t, "it is there", func() bool { return strings.Contains(contents(path), "msg=serving") })
	if err := os.Rename(path, path+".old"); err != nil { // also where it was rotated
		t.Fatal(err)
	}
	s.Signal(syscall.SIGUSR1)
	rig.Eventually(t, "there is a new one", func() bool { return strings.Contains(s.Log.String(), "was reopened") })
	_ = syscall.Kill(s.Served(), syscall.SIGABRT)
	s.Wait()
	if got := contents(path); !strings.Contains(got, "SIGABRT") || !strings.Contains(got, "goroutine ") {
		t.Errorf("the log file has %q", got)
	}
}

// Kong starts a server that has ended again, and at its default log level never
// says why it has.
func TestLogFileSaysWhyTheServerCannotStart(t *testing.T) {
	for name, c := range map[string]struct {
		args func(dir string) []string
		want string
	}{
		"flag":              {func(string) []string { return []string{"-nonsense"} }, "flag provided but not defined"},
		"value":             {func(string) []string { return []string{"-drain-timeout", "-1s"} }, "cannot be negative"},
		"format":            {func(string) []string { return []string{"-log-format", "xml"} }, "use text or json"},
		"argument":          {func(string) []string { return []string{"serve"} }, "unexpected argument"},
		"long path":         {func(dir string) []string { return []string{"-socket", dir + "/" + strings.Repeat("x", 100)} }, "cannot have more than 107"},
		"directory":         {func(dir string) []string { return []string{"-socket", dir} }, "is not a socket"},
		"file as directory": {func(dir string) []string { return []string{"-socket", rig.Binary + "/s"} }, "not a directory"},
		"nowhere":           {func(dir string) []string { return []string{"-socket", dir + "/none/s"} }, "/none/s"},
		"CA file":           {func(dir string) []string { return []string{"-ca-file", dir + "/none.pem"} }, "none.pem"},
		"metrics":           {func(string) []string { return []string{"-metrics", "9542"} }, "-metrics cannot be served"},
		"pprof":             {func(string) []string { return []string{"-pprof", "localhost"} }, "-pprof cannot be served"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := rig.ShortDir(t)
			args := append([]string{"-kong-prefix", dir}, c.args(dir)...)
			_, stderr, code := rig.Run(t, true, args...)
			got := contents(dir + "/kafka-upstream.log")
			if code == 0 || !strings.Contains(stderr, c.want) || !strings.Contains(got, endedWithError) || !strings.Contains(got, c.want) {
				t.Errorf("exit code %d\nstderr %s\nlog file %s", code, stderr, got)
			}
		})
	}
}
