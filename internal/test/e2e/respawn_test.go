package e2e

import (
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// Kong starts a plugin server that was killed again. Each of its workers knows an instance
// that the new server does not.
func TestKilledServerIsStartedAgainAndRequestsGoOn(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	s := secured(t, kongYAML(t, rig.Settings(t, f.Addrs(), synced)))
	s.want(host, 200)
	old := s.PID()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "it is started again, and answers", func() bool {
		status, _ := s.send(host, "x")
		return status == 200 && s.PID() != 0 && s.PID() != old
	})
	for range 4 {
		s.want(host, 200)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	s.want(host, 200)
	if n := s.Stats().Respawns; n != 1 {
		t.Errorf("it was started again %d times", n)
	}
}
