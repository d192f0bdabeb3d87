package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
)

// Kong kills the process that it has started, at once, and is gone itself: nobody
// reads what is printed any more.
func TestServerDrainsThoughKongKillsWhatItStartedAndIsGone(t *testing.T) {
	for name, kill := range map[string]func(*os.Process){
		"SIGTERM, then SIGKILL": func(p *os.Process) { _ = p.Signal(syscall.SIGTERM); _ = p.Kill() },
		"SIGKILL":               func(p *os.Process) { _ = p.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"))
			dir := shortDir(t)
			cmd := exec.Command(binary, "-kong-prefix", dir)
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
			socket := dir + "/kafka-upstream.socket"
			eventually(t, "the socket is there", func() bool {
				_, err := os.Stat(socket)
				return err == nil
			})
			w := kongsim.NewWorker(socket, kongsim.WorkerOptions{})
			defer w.Close()
			if n := events(t, w, pluginOf(settings(t, f.Addrs(), map[string]any{"producer_async_flush_timeout": 3600000})), 100); n != 100 {
				t.Fatalf("%d of 100 were accepted", n)
			}
			_ = out.Close()
			kill(cmd.Process)
			_ = stdin.Close()
			_ = cmd.Wait()
			if n := len(f.Records(t, "t", 100)); n != 100 {
				t.Errorf("%d records", n)
			}
		})
	}
}

func TestLauncherEndsAsItsServerDoes(t *testing.T) {
	_, stderr, code := runPiped(t, "-kong-prefix", "/nowhere")
	if code != 1 || !strings.Contains(stderr, "/nowhere/kafka-upstream.socket") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	s := start(t)
	_ = syscall.Kill(served(t, s), syscall.SIGKILL)
	if code := s.wait(); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d of a launcher whose server was killed: Kong would not start it again", code)
	}
}

// runPiped is runOnce with a pipe for stdin, as Kong has it.
func runPiped(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = []string{}
	var out, errs lines
	cmd.Stdout, cmd.Stderr = &out, &errs
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	_ = cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// A signal may come when the server has all but ended: its last line and its exit
// code are safe.
func TestServerThatIsToldToEndAgainAndAgainEndsInOrder(t *testing.T) {
	for range 20 {
		socket := shortDir(t) + "/s"
		cmd := exec.Command(binary, "-socket", socket)
		cmd.Env = []string{launched + "=1"}
		var log lines
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		eventually(t, "it serves", func() bool { return strings.Contains(log.String(), "msg=serving") })
		for over, deadline := false, time.Now().Add(20*time.Second); !over; {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if time.Now().After(deadline) {
				_ = cmd.Process.Kill()
			}
			select {
			case err := <-ended:
				if err != nil || !strings.Contains(log.String(), "msg=ended") {
					t.Fatalf("%v\n%s", err, log.String())
				}
				over = true
			default:
			}
		}
	}
}
