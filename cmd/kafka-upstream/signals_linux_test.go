package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sys/unix"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// signalWays are those in which a signal gets to the server.
var signalWays = []struct {
	name  string
	start func(t testing.TB, args ...string) *rig.Server
	pid   func(t *testing.T, s *rig.Server) int
}{
	{"alone", rig.StartAlone, func(_ *testing.T, s *rig.Server) int { return s.Cmd.Process.Pid }},
	{"launcher", rig.Start, func(_ *testing.T, s *rig.Server) int { return s.Cmd.Process.Pid }},
	{"server of a launcher", rig.Start, func(_ *testing.T, s *rig.Server) int { return s.Served() }},
}

// Every signal there is on Linux, but KILL and STOP, which nobody can catch, and
// those that a crash is told by.
func TestNoSignalLosesTheBuffer(t *testing.T) {
	drain := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGXCPU, syscall.SIGPWR}
	crash := []syscall.Signal{syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS}
	for _, way := range signalWays {
		// begin returns a server with records in its buffer.
		begin := func(t *testing.T) (s *rig.Server, accept func() bool, checkDelivered func()) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"))
			s = way.start(t)
			accepted := 0
			w := s.Worker()
			p := rig.NewPlugin(rig.Settings(t, f.Addrs(), map[string]any{"producer_async_flush_timeout": 3600000}))
			accept = func() bool {
				exit, err := w.HandleEvent(t.Context(), p, &rig.Kong{Body: rig.Inline("[]")})
				if err != nil || exit.Status != 200 {
					return false
				}
				accepted++
				return true
			}
			for range 5 {
				if !accept() {
					t.Fatal("a record was not accepted")
				}
			}
			return s, accept, func() {
				t.Helper()
				if code := s.Wait(); code != 0 {
					t.Fatalf("exit code %d", code)
				}
				if n := len(f.Records(t, "t", accepted)); n != accepted {
					t.Errorf("%d of %d records were delivered", n, accepted)
				}
			}
		}
		for _, sig := range drain {
			t.Run(way.name+"/drains at "+unix.SignalName(sig), func(t *testing.T) {
				s, _, checkDelivered := begin(t)
				_ = syscall.Kill(way.pid(t, s), sig)
				checkDelivered()
				if !strings.Contains(s.Log.String(), unix.SignalName(sig)) {
					t.Error("the log does not name the signal")
				}
			})
		}
		t.Run(way.name+"/lives on at all others", func(t *testing.T) {
			s, accept, checkDelivered := begin(t)
			pid := way.pid(t, s)
			for sig := syscall.Signal(1); sig <= 64; sig++ {
				if slices.Contains(drain, sig) || slices.Contains(crash, sig) || sig == syscall.SIGKILL || sig == syscall.SIGSTOP {
					continue
				}
				if err := syscall.Kill(pid, sig); err != nil {
					t.Fatalf("before signal %d: %v", sig, err)
				}
				if sig == syscall.SIGTSTP || sig == syscall.SIGTTIN || sig == syscall.SIGTTOU { // these stop it
					_ = syscall.Kill(pid, syscall.SIGCONT)
				}
				if !accept() {
					t.Fatalf("signal %d has ended it:\n%s", sig, s.Log.String())
				}
			}
			rig.Eventually(t, "USR1 and USR2 are told", func() bool {
				return strings.Contains(s.Log.String(), "SIGUSR1") && strings.Contains(s.Log.String(), "SIGUSR2 is ignored")
			})
			_ = syscall.Kill(pid, syscall.SIGTERM)
			checkDelivered()
		})
	}
}

// stuck starts a server with seven records that nobody takes.
func stuck(t *testing.T, start func(t testing.TB, args ...string) *rig.Server, drain string) *rig.Server {
	t.Helper()
	s := rig.Start(t, "-drain-timeout", drain)
	w := s.Worker()
	if n := rig.SendN(t, w, rig.NewPlugin(rig.Settings(t, []string{rig.ClosedPort(t)}, nil)), 7); n != 7 {
		t.Fatalf("%d of 7 were accepted", n)
	}
	return s
}

func TestSecondSignalEndsTheDrainAtOnceAndTellsWhatIsUndelivered(t *testing.T) {
	for _, way := range signalWays {
		for _, two := range [][2]syscall.Signal{{syscall.SIGTERM, syscall.SIGTERM}, {syscall.SIGINT, syscall.SIGINT}, {syscall.SIGTERM, syscall.SIGINT}} {
			t.Run(way.name+"/"+unix.SignalName(two[0])+" "+unix.SignalName(two[1]), func(t *testing.T) {
				s := stuck(t, way.start, "10m")
				pid := way.pid(t, s)
				for _, sig := range two {
					_ = syscall.Kill(pid, sig)
					rig.Eventually(t, "it is ending", func() bool { return strings.Contains(s.Log.String(), "msg=ending") })
				}
				if code := s.Wait(); code != 1 {
					t.Errorf("exit code %d", code)
				}
				for _, want := range []string{"topic=t records=7", "undelivered=7", "7 records were not delivered: a second signal, " + unix.SignalName(two[1])} {
					if !strings.Contains(s.Log.String(), want) {
						t.Errorf("the log lacks %q", want)
					}
				}
			})
		}
	}
}

func TestQuitAndHangupAgainAreNoHurry(t *testing.T) {
	for _, way := range signalWays {
		t.Run(way.name, func(t *testing.T) {
			s := stuck(t, way.start, "2s")
			pid := way.pid(t, s)
			for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP} {
				_ = syscall.Kill(pid, sig)
				rig.Eventually(t, "it is ending", func() bool { return strings.Contains(s.Log.String(), "msg=ending") })
			}
			s.Wait()
			if !strings.Contains(s.Log.String(), "not delivered within the drain timeout of 2s") {
				t.Error("the drain was cut")
			}
		})
	}
}

// systemd signals all processes of a service, and then Kong's worker its launcher,
// which it kills: that is one end, and the server has all its time.
func TestOneEndMayReachTheServerByTwoWaysAndTheLauncherTwice(t *testing.T) {
	s := stuck(t, rig.Start, "2s")
	server := s.Served()
	_ = syscall.Kill(server, syscall.SIGTERM)
	s.Signal(syscall.SIGTERM)
	rig.Eventually(t, "it is ending", func() bool { return strings.Contains(s.Log.String(), "msg=ending") })
	s.Signal(syscall.SIGTERM)
	_ = s.Cmd.Process.Kill()
	s.Wait()
	if !strings.Contains(s.Log.String(), "not delivered within the drain timeout of 2s") {
		t.Error("the drain was cut")
	}
}

func TestNohupIsHeeded(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	socket := rig.ShortDir(t) + "/s"
	cmd := exec.Command("sh", "-c", `trap "" HUP; exec "$0" "$@"`, rig.Binary, "-socket", socket)
	var log rig.Lines
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "it serves", func() bool { return strings.Contains(log.String(), "msg=serving") })
	w := rig.NewWorker(t, socket)
	_ = cmd.Process.Signal(syscall.SIGHUP)
	if n := rig.SendN(t, w, rig.NewPlugin(rig.Settings(t, f.Addrs(), nil)), 10); n != 10 {
		t.Errorf("%d of 10 were accepted", n)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || strings.Contains(log.String(), "SIGHUP") {
		t.Errorf("%v\n%s", err, log.String())
	}
}

// Whoever reads what is printed may go: a line that nobody takes, and the signal
// that comes of it, end nothing.
func TestReaderOfTheLogMayGo(t *testing.T) {
	for _, launcher := range []bool{false, true} {
		f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"))
		s := rig.New(t, rig.ShortDir(t)+"/kafka-upstream.socket", exec.Command(rig.Binary))
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		s.Cmd.Stdout, s.Cmd.Stderr = write, write
		if launcher {
			if s.Stdin, err = s.Cmd.StdinPipe(); err != nil {
				t.Fatal(err)
			}
		}
		s.Begin()
		_ = write.Close()
		_ = read.Close()
		w := s.Worker()
		p := rig.NewPlugin(rig.Settings(t, f.Addrs(), map[string]any{"producer_async_flush_timeout": 3600000}))
		for i := range 10 {
			for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE} { // two lines, and what comes of them
				s.Signal(sig)
			}
			if n := rig.SendN(t, w, p, 1); n != 1 {
				t.Fatalf("record %d was not accepted", i)
			}
		}
		s.Signal(syscall.SIGTERM)
		if code := s.Wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if n := len(f.Records(t, "t", 10)); n != 10 {
			t.Errorf("%d of 10 records were delivered", n)
		}
	}
}
