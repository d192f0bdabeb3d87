package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The tests of this package run the program itself, as a process that is
// started as Kong starts it.

var (
	binary     string      // built once for all tests
	stopShared = func() {} // ends the brokers that tests share
)

func TestMain(m *testing.M) {
	if signal.Ignored(syscall.SIGHUP) { // as by nohup: the programs that are started would have it so, too
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	dir, err := os.MkdirTemp("", "kafka-upstream-test-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "kafka-upstream")
	args := []string{"build", "-tags", "faults", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	code := 1
	build := exec.Command("go", append(args, ".")...)
	if !raceEnabled { // which needs cgo; what is shipped is built without
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	stopShared()
	for _, leak := range leaks(printed.all()) {
		fmt.Fprintln(os.Stderr, leak)
		code = 1
	}
	http.DefaultClient.CloseIdleConnections()
	_ = os.RemoveAll(dir)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// server is a running plugin server.
type server struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdin  interface{ Close() error }
	socket string
	log    lines
	ended  chan struct{}
}

// lines collects what a process prints.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() == 0 {
		printed.add(l)
	}
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// shortDir is a temporary directory whose path leaves room for a socket's name.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ku-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// start runs the program with an empty environment and a pipe for stdin, and
// waits for its socket.
func start(t testing.TB, args ...string) *server {
	t.Helper()
	return startAt(t, filepath.Join(shortDir(t), "kafka-upstream.socket"), args...)
}

// startCommand is start by a command that takes the program's arguments behind its own.
func startCommand(t testing.TB, cmd *exec.Cmd, args ...string) *server {
	t.Helper()
	return startCommandAt(t, filepath.Join(shortDir(t), "kafka-upstream.socket"), cmd, args...)
}

// startAt is start with that path for the socket.
func startAt(t testing.TB, socket string, args ...string) *server {
	t.Helper()
	return startCommandAt(t, socket, exec.Command(binary), args...)
}

func startCommandAt(t testing.TB, socket string, cmd *exec.Cmd, args ...string) *server {
	t.Helper()
	s := newServer(t, socket, cmd, args...)
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdin = stdin
	s.begin()
	return s
}

// startAlone is start without a pipe for stdin, as a supervisor has it: there is
// no launcher.
func startAlone(t testing.TB, args ...string) *server {
	t.Helper()
	s := newServer(t, filepath.Join(shortDir(t), "kafka-upstream.socket"), exec.Command(binary), args...)
	s.begin()
	return s
}

func newServer(t testing.TB, socket string, cmd *exec.Cmd, args ...string) *server {
	s := &server{t: t, cmd: cmd, socket: socket, ended: make(chan struct{})}
	cmd.Args = append(cmd.Args, append([]string{"-kong-prefix", filepath.Dir(socket)}, args...)...)
	cmd.Env = []string{}
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	return s
}

// begin starts the program and waits for its socket.
func (s *server) begin() {
	t := s.t
	t.Helper()
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		s.wait()
		if strings.Contains(s.log.String(), "DATA RACE") {
			t.Error("the program has a data race")
		}
		if t.Failed() {
			t.Logf("the program printed:\n%s", s.log.String())
		}
	})
	eventually(t, "the socket is there", func() bool {
		select {
		case <-s.ended:
			t.Fatalf("the program has ended:\n%s", s.log.String())
		default:
		}
		_, err := os.Stat(s.socket)
		return err == nil
	})
}

// wait waits for the end of the process and returns its exit code.
func (s *server) wait() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
		s.t.Errorf("the program did not end within 30 s")
	}
	return s.cmd.ProcessState.ExitCode()
}

// eventually polls until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
