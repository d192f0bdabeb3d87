package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
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

// answeredSent returns the requests that were answered with 200.
func (l *durableLoad) answeredSent() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.accepted))
}

// lost returns how many of those records are missing, and how many of all are there more than once.
func (l *durableLoad) lost(accepted []int64, records []*kgo.Record) (lost, doubled int) {
	l.t.Helper()
	seen := map[int64]int{}
	for _, r := range records {
		var m struct {
			Args struct {
				I *int64 `json:"i"`
			} `json:"body_args"`
		}
		if err := json.Unmarshal(r.Value, &m); err != nil || m.Args.I == nil {
			l.t.Fatalf("a record that nobody sent: %s", r.Value)
		}
		if seen[*m.Args.I]++; seen[*m.Args.I] == 2 {
			doubled++
		}
	}
	for _, i := range accepted {
		if seen[i] == 0 {
			lost++
		}
	}
	return lost, doubled
}

// arrived waits until all records are in the topic that were answered with 200 by now.
func (l *durableLoad) arrived(f *kafkatest.Fake) {
	l.t.Helper()
	accepted := l.answeredSent()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if lost, _ := l.lost(accepted, f.Records(l.t, "t", 0)); lost == 0 {
			return
		} else if time.Now().After(deadline) {
			l.t.Fatalf("after a minute %d records are missing that were answered with 200", lost)
		}
	}
}

// check compares what is in the topic with what clients were told, and returns how many records
// are there more than once.
func (l *durableLoad) check(f *kafkatest.Fake) (lost, doubled int) {
	l.t.Helper()
	lost, doubled = l.lost(l.answeredSent(), f.Records(l.t, "t", 0))
	l.t.Logf("answers %v, %d lost, %d doubled", l.status, lost, doubled)
	if lost > 0 {
		l.t.Errorf("%d records that were answered with 200 are lost", lost)
	}
	return lost, doubled
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
		"acks 1":  {"producer_async_flush_timeout": 5},
		"acks -1": {"producer_async_flush_timeout": 5, "producer_request_acks": -1}, // each batch is written once
	} {
		t.Run(name, func(t *testing.T) {
			s := seed(t)
			r := rand.New(rand.NewPCG(s, 0))
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(3, "t"))
			dir := rig.ShortDir(t)
			l := newDurableLoad(t)
			settings := rig.Settings(t, f.Addrs(), durable(more))
			for n := range kills(t, 12) {
				// What each process has left takes 64 MiB until the next one has had the time to
				// read it, which every tenth has.
				server := rig.StartAlone(t, "-spool", dir, "-spool-limit", "4GiB")
				w := server.Worker()
				p := rig.NewPlugin(settings)
				wg := l.run(t.Context(), 8, w, p)
				before := l.answered(200)
				rig.Eventually(t, "requests are answered", func() bool { return l.answered(200) > before })
				if n%10 == 9 {
					l.arrived(f)
				}
				time.Sleep(time.Duration(r.IntN(100_000)) * time.Microsecond)
				server.Signal(syscall.SIGKILL)
				server.Wait()
				wg.Wait()
			}
			began := time.Now()
			last := rig.StartAlone(t, "-spool", dir, "-drain-timeout", "20s")
			if !l.send(t.Context(), last.Worker(), rig.NewPlugin(settings)) {
				t.Error("the last request was not answered")
			}
			l.arrived(f)
			recovered := time.Since(began)
			last.Signal(syscall.SIGTERM)
			if code := last.Wait(); code != 0 || spooled(t, last) != "0" {
				t.Errorf("exit code %d, and %s records are in the spool", code, spooled(t, last))
			}
			lost, doubled := l.check(f)
			if doubled > 0 && name == "acks -1" {
				t.Errorf("%d records are doubled", doubled)
			}
			t.Logf("FAULT | durable: the server killed (SIGKILL) %d times | kfake | %v | %d × 200, %d without an answer | %d | %d | %.1f s |",
				kills(t, 12), name == "acks -1", l.status[200], l.status[0], lost, doubled, recovered.Seconds())
		})
	}
}

// Whatever happens to the brokers, to Kong and to the process, what was answered with 200 is in
// the topic in the end.
func TestDurableRecordsOutliveFaults(t *testing.T) {
	s := seed(t)
	r := rand.New(rand.NewPCG(s, 0))
	b := startBrokers(t, r)
	more := durable(map[string]any{"timeout": 1000, "producer_async_buffering_limits_messages_in_memory": 500})
	config := func() []byte { return []byte(kongYAML(t, rig.Settings(t, b.addrs, more))) }
	log, dir := new(rig.Lines), rig.ShortDir(t)
	sim, err := kongsim.Start(t.Context(), kongsim.Options{
		Config: config(), Binary: rig.Binary, Args: []string{"-kong-prefix", rig.ShortDir(t), "-spool", dir}, Workers: 3, Stderr: log, Seed: s,
	})
	if err != nil {
		t.Fatal(err)
	}
	a := newAnswers()
	stop := make(chan struct{})
	var sending sync.WaitGroup
	for client := range clients {
		sending.Go(func() {
			for i := client; ; i += clients {
				select {
				case <-stop:
					return
				default:
					a.send(sim.URL(), i)
				}
			}
		})
	}
	for end := time.Now().Add(soak(t, 4*time.Second)); time.Now().Before(end); {
		time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		what := ""
		switch r.IntN(8) {
		case 0:
			what = "kong reload"
			if err := sim.Reload(); err != nil {
				t.Errorf("reload: %v", err)
			}
		case 1:
			what = "configuration changed"
			more["keepalive"] = 60000 + r.IntN(3) // another producer
			if err := sim.SetConfig(config()); err != nil {
				t.Errorf("change: %v", err)
			}
		case 2, 3:
			what = "server killed"
			if pid := child(sim.PID()); pid != 0 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		default:
			what = b.fault()
		}
		t.Log(what)
	}
	close(stop)
	sending.Wait()
	_ = sim.Close() // one of its processes may have been killed
	t.Logf("the program printed:\n%s", log)
	// What no process has delivered, the next one does.
	last := rig.StartAlone(t, "-spool", dir, "-drain-timeout", "20s")
	l := newDurableLoad(t)
	l.next.Store(1 << 40)
	l.send(t.Context(), last.Worker(), rig.NewPlugin(rig.Settings(t, b.addrs, more)))
	for i := range a.accepted {
		l.accepted[int64(i)] = true
	}
	l.arrived(b.Fake)
	last.Signal(syscall.SIGTERM)
	if code := last.Wait(); code != 0 || spooled(t, last) != "0" {
		t.Errorf("exit code %d, and %s records are in the spool", code, spooled(t, last))
	}
	l.check(b.Fake)
}

// child returns the process that a launcher has started, 0 if there is none.
func child(launcher int) int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", launcher))
	for _, list := range lists {
		if b, err := os.ReadFile(list); err == nil {
			if f := strings.Fields(string(b)); len(f) == 1 {
				pid, _ := strconv.Atoi(f[0])
				return pid
			}
		}
	}
	return 0
}

// While the brokers are away, the spool takes more than the buffer does, until it is full.
func TestSpoolThatIsFullRejectsUntilTheBrokersAreBack(t *testing.T) {
	address := rig.ClosedPort(t)
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	metrics := rig.ClosedPort(t)
	s := rig.Start(t, "-spool", rig.ShortDir(t), "-spool-limit", "1MiB", "-metrics", metrics)
	w := s.Worker()
	p := rig.NewPlugin(rig.Settings(t, []string{address}, durable(map[string]any{"producer_async_buffering_limits_messages_in_memory": 10})))
	body := `{"i":1,"filler":"` + strings.Repeat("x", 8000) + `"}`
	accepted := 0
	k := &rig.Kong{Body: rig.Inline(body)}
	for ; ; accepted++ {
		exit, err := w.HandleEvent(t.Context(), p, k)
		if err != nil {
			t.Fatal(err)
		}
		if exit.Status == 503 {
			if exit.Header("Retry-After") != "1" {
				t.Errorf("the headers are %v", exit.Headers)
			}
			break
		}
	}
	if accepted < 20 {
		t.Errorf("%d were accepted", accepted)
	}
	if line := k.Log(); !strings.Contains(line, "rejected since") || !strings.Contains(line, "spool is full") {
		t.Errorf("Kong's error log has %q", line)
	}
	if status, body := get(t, "http://"+metrics+"/readyz"); status != 503 || !strings.Contains(body, "the spool is full") {
		t.Errorf("readyz: %d %s", status, body)
	}
	_, exposition := get(t, "http://"+metrics+"/metrics")
	for name, want := range map[string]float64{
		`kafka_upstream_spool_state{state="full"}`:                                               1,
		`kafka_upstream_spool_records`:                                                           float64(accepted),
		`kafka_upstream_spool_unclaimed_records`:                                                 0,
		`kafka_upstream_spool_limit_bytes`:                                                       1 << 20,
		`kafka_upstream_rejected_records_total{reason="spool_full",topic="t"}`:                   1,
		`kafka_upstream_spooled_records_total{topic="t"}`:                                        float64(accepted),
		`kafka_upstream_requests_total{door="plugin_protocol",reason="spool_full",status="503"}`: 1,
		`kafka_upstream_buffered_records{topic="t"}`:                                             10,
	} {
		if got := sample(exposition, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.Ports(n), kfake.SeedTopics(1, "t"))
	f.Records(t, "t", accepted)
	rig.Eventually(t, "records are accepted", func() bool { return rig.SendN(t, w, p, 1) == 1 })
	rig.Eventually(t, "the server is ready", func() bool { status, _ := get(t, "http://"+metrics+"/readyz"); return status == 200 })
}

// A process that ends while the brokers are away leaves its records for the next one, and has not
// failed.
func TestDurableRecordsStayAtAShutdown(t *testing.T) {
	dir := rig.ShortDir(t)
	s := rig.StartAlone(t, "-spool", dir, "-drain-timeout", "100ms")
	if n := rig.SendN(t, s.Worker(), rig.NewPlugin(rig.Settings(t, []string{rig.ClosedPort(t)}, durable(nil))), 5); n != 5 {
		t.Errorf("%d were accepted", n)
	}
	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != 0 || spooled(t, s) != "5" || !strings.Contains(s.Log.String(), " undelivered=0 ") || !strings.Contains(s.Log.String(), " accepted=5 delivered=0 failed=0 ") || !strings.Contains(s.Log.String(), " returned=5 ") {
		t.Errorf("exit code %d, and %s records are in the spool", code, spooled(t, s))
	}
	metrics := rig.ClosedPort(t)
	_ = rig.StartAlone(t, "-spool", dir, "-metrics", metrics) // nobody asks for those brokers
	rig.Eventually(t, "they are unclaimed", func() bool {
		_, exposition := get(t, "http://"+metrics+"/metrics")
		return sample(exposition, "kafka_upstream_spool_unclaimed_records") == 5 && sample(exposition, "kafka_upstream_spool_adopted_records_total") == 5
	})
}
