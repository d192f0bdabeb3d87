package rig

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kafka-upstream/internal/test/kongsim"
)

// Server is a running plugin server.
type Server struct {
	Cmd    *exec.Cmd
	Stdin  io.Closer // nil if it has none
	Socket string
	Log    Lines // what it prints

	t     testing.TB
	ended chan struct{}
}

// Lines collects what a process prints. It may be used concurrently.
type Lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() == 0 {
		printed.add(l)
	}
	return l.b.Write(p)
}

func (l *Lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// ShortDir is a temporary directory whose path leaves room for a socket's name.
func ShortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ku-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func newSocket(t testing.TB) string { return filepath.Join(ShortDir(t), "kafka-upstream.socket") }

// Start runs the program as Kong does, with an empty environment and a pipe for stdin,
// and waits for its socket.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartAt(t, newSocket(t), args...)
}

// StartCommand is Start by a command that takes the program's arguments behind its own.
func StartCommand(t testing.TB, cmd *exec.Cmd, args ...string) *Server {
	t.Helper()
	return startPiped(t, newSocket(t), cmd, args...)
}

// StartAt is Start with that path for the socket.
func StartAt(t testing.TB, socket string, args ...string) *Server {
	t.Helper()
	return startPiped(t, socket, exec.Command(Binary), args...)
}

// StartAlone is Start without a pipe for stdin, as a supervisor has it: there is no
// launcher.
func StartAlone(t testing.TB, args ...string) *Server {
	t.Helper()
	s := New(t, newSocket(t), exec.Command(Binary), args...)
	s.Begin()
	return s
}

func startPiped(t testing.TB, socket string, cmd *exec.Cmd, args ...string) *Server {
	t.Helper()
	s := New(t, socket, cmd, args...)
	stdin, err := s.Cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.Stdin = stdin
	s.Begin()
	return s
}

// New returns a server that [Server.Begin] starts.
func New(t testing.TB, socket string, cmd *exec.Cmd, args ...string) *Server {
	s := &Server{t: t, Cmd: cmd, Socket: socket, ended: make(chan struct{})}
	cmd.Args = append(cmd.Args, append([]string{"-kong-prefix", filepath.Dir(socket)}, args...)...)
	cmd.Env = Env()
	s.Cmd.Stdout, s.Cmd.Stderr = &s.Log, &s.Log
	return s
}

// Begin starts the program and waits for its socket. The test ends it.
func (s *Server) Begin() {
	t := s.t
	t.Helper()
	if err := s.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.Cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.Signal(syscall.SIGTERM)
		s.Wait()
		CheckLog(t, &s.Log)
	})
	Eventually(t, "the socket is there", func() bool {
		select {
		case <-s.ended:
			t.Fatalf("the program has ended:\n%s", s.Log.String())
		default:
		}
		_, err := os.Stat(s.Socket)
		return err == nil
	})
}

// CheckLog fails the test if the program has printed that it has a data race, and prints
// its log if the test has failed.
func CheckLog(t testing.TB, log fmt.Stringer) {
	t.Helper()
	if strings.Contains(log.String(), "DATA RACE") {
		t.Error("the program has a data race")
	}
	if t.Failed() {
		t.Logf("the program printed:\n%s", log)
	}
}

// Signal sends a signal to the process that was started.
func (s *Server) Signal(sig os.Signal) { _ = s.Cmd.Process.Signal(sig) }

// Wait waits for the end of the process and returns its exit code.
func (s *Server) Wait() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		_ = s.Cmd.Process.Kill()
		<-s.ended
		s.t.Errorf("the program did not end within 30 s")
	}
	return s.Cmd.ProcessState.ExitCode()
}

// Worker returns a worker of Kong that is connected to the server until the test ends.
func (s *Server) Worker() *kongsim.Worker { return NewWorker(s.t, s.Socket) }

// NewWorker returns a worker of Kong that uses the socket until the test ends.
func NewWorker(t testing.TB, socket string) *kongsim.Worker {
	w := kongsim.NewWorker(socket, kongsim.WorkerOptions{})
	t.Cleanup(w.Close)
	return w
}

// Served returns the process that serves: the child of the launcher that was started.
func (s *Server) Served() int {
	s.t.Helper()
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.Cmd.Process.Pid))
	for _, list := range lists {
		if b, err := os.ReadFile(list); err == nil {
			var child int
			if n, _ := fmt.Sscan(string(b), &child); n == 1 {
				return child
			}
		}
	}
	s.t.Fatal("the launcher has no child")
	return 0
}

// Run runs the program to its end, with a pipe for stdin if piped, as Kong has it.
func Run(t *testing.T, piped bool, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, Binary, args...)
	cmd.Env = Env()
	var out, errs Lines
	cmd.Stdout, cmd.Stderr = &out, &errs
	if piped {
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer stdin.Close()
	}
	_ = cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Eventually polls until cond holds, for 20 s at most.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
