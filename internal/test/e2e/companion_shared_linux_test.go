//go:build nginx

package e2e

import (
	"io"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongnginx"
)

// Requests of one worker share the memory for their answers.
func TestCompanionAnswerHasNothingOfAnEarlierOne(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	configs := syncConfig(t, f)
	configs["full"] = rig.Settings(t, []string{rig.ClosedPort(t)}, map[string]any{"producer_async_buffering_limits_messages_in_memory": 1})
	_, n := startCompanion(t, kongnginx.Options{Configs: configs}, "-drain-timeout", "500ms")
	for _, row := range []struct {
		name, retry string
		status      int
	}{{"full", "", 200}, {"full", "1", 503}, {"sync", "", 200}} {
		resp, err := n.Client(t, row.name, 1).Post("http://kong/", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if retry := resp.Header.Get("Retry-After"); resp.StatusCode != row.status || retry != row.retry {
			t.Errorf("%s: %d with Retry-After %q", row.name, resp.StatusCode, retry)
		}
	}
}
