package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
)

func durable(more map[string]any) map[string]any {
	all := map[string]any{"producer_async_durable": true, "forward_body": true}
	for k, v := range more {
		all[k] = v
	}
	return all
}

// durableLoad are clients, each of whose requests has a number of its own.
type durableLoad struct {
	t    *testing.T
	next atomic.Int64

	mu       sync.Mutex
	accepted map[int64]bool
	status   map[int]int // how often; 0: no answer
}

func newDurableLoad(t *testing.T) *durableLoad {
	return &durableLoad{t: t, accepted: map[int64]bool{}, status: map[int]int{}}
}

// send sends one request, and reports whether it was answered.
func (l *durableLoad) send(ctx context.Context, w *kongsim.Worker, p *kongsim.Plugin) bool {
	i := l.next.Add(1)
	exit, err := w.HandleEvent(ctx, p, &rig.Kong{Body: rig.Inline(fmt.Sprintf(`{"i":%d}`, i))})
	status := 0
	if err == nil {
		status = int(exit.Status)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status[status]++
	if status == 200 {
		l.accepted[i] = true
	}
	return status != 0
}

// run sends by that many clients until one gets no answer, or until ctx ends.
func (l *durableLoad) run(ctx context.Context, clients int, w *kongsim.Worker, p *kongsim.Plugin) *sync.WaitGroup {
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for ctx.Err() == nil && l.send(ctx, w, p) {
			}
		})
	}
	return &wg
}

func (l *durableLoad) answered(status int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status[status]
}

// check compares what is in the topic with what clients were told, and returns how many records
// are there more than once.
func (l *durableLoad) check(records []*kgo.Record) (doubled int) {
	l.t.Helper()
	seen := map[int64]int{}
	for _, r := range records {
		var m struct {
			Args struct {
				I int64 `json:"i"`
			} `json:"body_args"`
		}
		if err := json.Unmarshal(r.Value, &m); err != nil || m.Args.I == 0 {
			l.t.Fatalf("a record that nobody sent: %s", r.Value)
		}
		if seen[m.Args.I]++; seen[m.Args.I] == 2 {
			doubled++
		}
	}
	lost := 0
	for i := range l.accepted {
		if seen[i] == 0 {
			lost++
		}
	}
	l.t.Logf("%d requests, answers %v; %d records in the topic, %d lost, %d doubled", l.next.Load(), l.status, len(seen), lost, doubled)
	if lost > 0 {
		l.t.Errorf("%d records that were answered with 200 are lost", lost)
	}
	return doubled
}

// spooled returns how many records the last line of a server's log says to be in the spool.
func spooled(t *testing.T, s *rig.Server) string {
	t.Helper()
	i := strings.LastIndex(s.Log.String(), "spooled=")
	if i < 0 {
		t.Fatalf("there is no last line: %s", s.Log.String())
	}
	return strings.Fields(s.Log.String()[i+len("spooled="):])[0]
}

// kills returns how often tests end the process: KILLS, or n.
func kills(t *testing.T, n int) int {
	t.Helper()
	if v := os.Getenv("KILLS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatalf("KILLS: %v", err)
		}
	}
	return n
}

// A record that was answered with 200 is delivered, though the process is killed at any moment.
func TestDurableRecordsOutliveAKilledProcess(t *testing.T) {
	for name, more := range map[string]map[string]any{
		"at least once": {"producer_async_flush_timeout": 5},
	} {
		t.Run(name, func(t *testing.T) {
			s := seed(t)
			r := rand.New(rand.NewPCG(s, 0))
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(3, "t"))
			dir := rig.ShortDir(t)
			l := newDurableLoad(t)
			settings := rig.Settings(t, f.Addrs(), durable(more))
			for range kills(t, 12) {
				server := rig.StartAlone(t, "-spool", dir)
				w := server.Worker()
				p := rig.NewPlugin(settings)
				wg := l.run(t.Context(), 8, w, p)
				before := l.answered(200)
				rig.Eventually(t, "requests are answered", func() bool { return l.answered(200) > before })
				time.Sleep(time.Duration(r.IntN(100_000)) * time.Microsecond)
				server.Signal(syscall.SIGKILL)
				server.Wait()
				wg.Wait()
			}
			last := rig.StartAlone(t, "-spool", dir, "-drain-timeout", "20s")
			if !l.send(t.Context(), last.Worker(), rig.NewPlugin(settings)) {
				t.Error("the last request was not answered")
			}
			f.Records(t, "t", len(l.accepted))
			last.Signal(syscall.SIGTERM)
			if code := last.Wait(); code != 0 || spooled(t, last) != "0" {
				t.Errorf("exit code %d, and %s records are in the spool", code, spooled(t, last))
			}
			l.check(f.Records(t, "t", 0))
		})
	}
}
