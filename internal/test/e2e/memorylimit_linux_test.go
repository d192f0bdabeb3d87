//go:build !race

package e2e

import (
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"kafka-upstream/internal/test/e2e/rig"
)

// Ten topics whose brokers are away, large bodies, and no more than 1 GiB of address
// space, of which Go takes two thirds at its start: what does not fit is answered 503, and
// the process lives. The race detector alone takes more than that.
func TestProcessLivesWhileTenTopicsHaveNoBrokers(t *testing.T) {
	const topics, each, size = 10, 600, 700_000
	address := rig.ClosedPort(t)
	s := rig.StartCommand(t, exec.Command("sh", "-c", `ulimit -v 1048576; exec "$0" "$@"`, rig.Binary),
		"-metrics", address, "-drain-timeout", "100ms")
	var sent, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range topics {
		p := rig.NewPlugin(rig.Settings(t, []string{rig.ClosedPort(t)}, map[string]any{"topic": "t" + strconv.Itoa(i)}))
		wg.Go(func() {
			w := s.Worker()
			k := &rig.Kong{Replies: map[string][]byte{"kong.request.get_headers": rig.ContentType("text/plain")}, Body: rig.Inline(strings.Repeat("x", size))}
			for range each {
				exit, err := w.HandleEvent(t.Context(), p, k)
				switch {
				case err != nil:
					t.Error(err)
					return
				case exit.Status == 200:
					sent.Add(1)
				case exit.Status == 503:
					refused.Add(1)
				default:
					t.Errorf("answered %d %s", exit.Status, exit.Body)
				}
			}
		})
	}
	wg.Wait()
	_, exposition := get(t, "http://"+address+"/metrics")
	limit, used := sample(exposition, "kafka_upstream_memory_limit_bytes"), sample(exposition, "kafka_upstream_memory_used_bytes")
	t.Logf("%d were accepted, %d were refused; %.0f of %.0f MiB are used", sent.Load(), refused.Load(), used/(1<<20), limit/(1<<20))
	if sent.Load() == 0 || refused.Load() == 0 || used > limit || limit > 1<<29 {
		t.Error("the limit is not what bounds it")
	}
	rig.Eventually(t, "the refused requests are counted", func() bool {
		_, exposition := get(t, "http://"+address+"/metrics")
		return int64(sample(exposition, `kafka_upstream_requests_total{door="plugin_protocol",reason="memory_full",status="503"}`)) == refused.Load()
	})
}
