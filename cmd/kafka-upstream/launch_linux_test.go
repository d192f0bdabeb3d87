package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
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
			dir := rig.ShortDir(t)
			cmd := exec.Command(rig.Binary, "-kong-prefix", dir)
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
			socket := dir + "/kafka-upstream.socket"
			rig.Eventually(t, "the socket is there", func() bool {
				_, err := os.Stat(socket)
				return err == nil
			})
			w := rig.NewWorker(t, socket)
			if n := rig.SendN(t, w, rig.NewPlugin(rig.Settings(t, f.Addrs(), map[string]any{"producer_async_flush_timeout": 3600000})), 100); n != 100 {
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
	_, stderr, code := rig.Run(t, true, "-kong-prefix", "/nowhere")
	if code != 1 || !strings.Contains(stderr, "/nowhere/kafka-upstream.socket") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	s := rig.Start(t)
	_ = syscall.Kill(s.Served(), syscall.SIGKILL)
	if code := s.Wait(); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d of a launcher whose server was killed: Kong would not start it again", code)
	}
}

// A signal may come when the server has all but ended: its last line and its exit
// code are safe.
func TestServerThatIsToldToEndAgainAndAgainEndsInOrder(t *testing.T) {
	for range 20 {
		socket := rig.ShortDir(t) + "/s"
		cmd := exec.Command(rig.Binary, "-socket", socket)
		cmd.Env = rig.Env("KAFKA_UPSTREAM_LAUNCHED=1")
		var log rig.Lines
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		rig.Eventually(t, "it serves", func() bool { return strings.Contains(log.String(), "msg=serving") })
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
