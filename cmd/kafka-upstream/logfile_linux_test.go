package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
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
			dir := shortDir(t)
			if c.logs {
				if err := os.Mkdir(dir+"/logs", 0o700); err != nil {
					t.Fatal(err)
				}
			}
			args := []string{"-kong-prefix", dir, "-drain-timeout", "1s"}
			if c.flag != "" {
				args = append(args, "-log-file", filepath.Join(dir, c.flag))
			}
			cmd := exec.Command(binary, args...)
			cmd.Env = []string{}
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
			eventually(t, "the socket is there", func() bool {
				_, err := os.Stat(dir + "/kafka-upstream.socket")
				return err == nil
			})
			w := kongsim.NewWorker(dir+"/kafka-upstream.socket", kongsim.WorkerOptions{})
			defer w.Close()
			for topic, n := range map[string]int{"missing": 251, "absent": 3, "t": 5} {
				p := pluginOf(settings(t, f.Addrs(), map[string]any{"topic": topic, "producer_async_flush_timeout": 100}))
				if got := events(t, w, p, n); got != n {
					t.Fatalf("%d of %d records to %s were accepted", got, n, topic)
				}
			}
			_ = out.Close()
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Process.Kill()
			_ = stdin.Close()
			_ = cmd.Wait()
			path := filepath.Join(dir, c.want)
			eventually(t, "the server has ended", func() bool {
				return strings.Contains(contents(path), "msg=ended") && strings.Contains(contents(path), couldNot)
			})
			got := contents(path)
			for _, want := range []string{
				"msg=serving pid=", "msg=ending pid=",
				"topic=missing records=251 delivered=0 error=", "topic=absent records=3 delivered=0 error=", "Unknown Topic Or Partition",
				"accepted=259 delivered=5 failed=0 left=254", "254 records were not delivered within the drain timeout of 1s",
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
	dir := shortDir(t)
	if err := os.Symlink("/dev/null", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(dir+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	for _, path := range []string{dir, dir + "/none/log", dir + "/link", dir + "/pipe"} {
		s := start(t, "-log-file", path)
		w := kongsim.NewWorker(s.socket, kongsim.WorkerOptions{})
		defer w.Close()
		if n := events(t, w, pluginOf(settings(t, f.Addrs(), nil)), 1); n != 1 {
			t.Errorf("%s: it does not serve", path)
		}
		if n := strings.Count(s.log.String(), "there is no log file"); n != 1 || !strings.Contains(s.log.String(), path) {
			t.Errorf("%s: %d lines say so:\n%s", path, n, s.log.String())
		}
	}
}

func TestLogFileMayBeTurnedOff(t *testing.T) {
	s := start(t, "-log-file", "off")
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	s.wait()
	if all, _ := filepath.Glob(filepath.Dir(s.socket) + "/*.log"); len(all) != 0 || strings.Contains(s.log.String(), "no log file") {
		t.Errorf("there is %v\n%s", all, s.log.String())
	}
}

func TestLogFileIsOpenedAnewOnUSR1(t *testing.T) {
	s := start(t)
	path := filepath.Join(filepath.Dir(s.socket), "kafka-upstream.log")
	eventually(t, "it is there", func() bool { return strings.Contains(contents(path), "msg=serving") })
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Process.Signal(syscall.SIGUSR1)
	eventually(t, "there is a new one", func() bool { _, err := os.Stat(path); return err == nil })
	eventually(t, "it says so", func() bool { return strings.Contains(s.log.String(), "SIGUSR1: the log file was reopened") })
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	s.wait()
	if !strings.Contains(contents(path), "msg=ended") {
		t.Errorf("the new one has %q", contents(path))
	}
}

// A crash is a fault of ours, and its stack goes where an operator finds it.
func TestLogFileHasTheStackOfACrash(t *testing.T) {
	s := start(t)
	path := filepath.Join(filepath.Dir(s.socket), "kafka-upstream.log")
	eventually(t, "it is there", func() bool { return strings.Contains(contents(path), "msg=serving") })
	if err := os.Rename(path, path+".old"); err != nil { // also where it was rotated
		t.Fatal(err)
	}
	_ = s.cmd.Process.Signal(syscall.SIGUSR1)
	eventually(t, "there is a new one", func() bool { return strings.Contains(s.log.String(), "was reopened") })
	_ = syscall.Kill(served(t, s), syscall.SIGABRT)
	s.wait()
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
		"directory":         {func(dir string) []string { return []string{"-socket", dir} }, "is no socket"},
		"file as directory": {func(dir string) []string { return []string{"-socket", binary + "/s"} }, "not a directory"},
		"nowhere":           {func(dir string) []string { return []string{"-socket", dir + "/none/s"} }, "/none/s"},
		"CA file":           {func(dir string) []string { return []string{"-ca-file", dir + "/none.pem"} }, "none.pem"},
		"metrics":           {func(string) []string { return []string{"-metrics", "9542"} }, "-metrics cannot be served"},
		"pprof":             {func(string) []string { return []string{"-pprof", "localhost"} }, "-pprof cannot be served"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := shortDir(t)
			args := append([]string{"-kong-prefix", dir}, c.args(dir)...)
			_, stderr, code := runPiped(t, args...)
			got := contents(dir + "/kafka-upstream.log")
			if code == 0 || !strings.Contains(stderr, c.want) || !strings.Contains(got, couldNot) || !strings.Contains(got, c.want) {
				t.Errorf("exit code %d\nstderr %s\nlog file %s", code, stderr, got)
			}
		})
	}
}
