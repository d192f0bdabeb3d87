package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"kafka-upstream/internal/test/e2e/rig"
)

// Kong starts an instance for each route and worker, and anew after any change.
func TestInstancesThatAreStartedMakeFewLines(t *testing.T) {
	away := []string{rig.ClosedPort(t)}
	s := rig.Start(t, "-drain-timeout", "500ms")
	w := s.Worker()
	const instances = 500
	begin := time.Now()
	for i := range instances {
		config := rig.Settings(t, away, map[string]any{"producer_async": false, "producer_request_retries_max_attempts": 1, "topic": fmt.Sprint("t-", i)})
		if exit, err := w.HandleEvent(t.Context(), rig.NewPlugin(config), new(rig.Kong)); err != nil || exit.Status != 502 {
			t.Fatalf("%+v, %v", exit, err)
		}
	}
	seconds := int(time.Since(begin)/time.Second) + 3
	suppressed := regexp.MustCompile(`msg="starting an instance" .*?suppressed=(\d+)`)
	rig.Eventually(t, "every instance is in a line or counted by one", func() bool {
		log := s.Log.String()
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
