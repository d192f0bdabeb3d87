package e2e

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kongsim"
)

// faultCase is a fault by name, through the program: what is done to the
// brokers while clients send, and what it may cost.
type faultCase struct {
	name  string
	where string         // kfake, or the version of Kafka
	addrs []string       // of the brokers
	more  map[string]any // settings

	// do does the fault, and returns when it is over.
	do func(t *testing.T, sim *kongsim.Sim)
	// records returns what is in the topic, at least n records.
	records func(t *testing.T, n int) []*kgo.Record

	program string   // to run instead of rig.Binary
	args    []string // more of its flags
	atStart bool     // the brokers are away before the first request
	exact   bool     // no record may be doubled
	loses   bool     // records may be lost, if they are counted
	refuses bool     // requests may be answered with something else than 200
	large   int      // if not 0, each such request is larger than brokers allow
	told    string   // what Kong's error log has to say
}

// run sends requests before, during and after the fault, and compares what is in
// the topic with what clients were told. It prints a row of the table of faults in
// docs/guarantees.md.
func (c faultCase) run(t *testing.T) {
	t.Helper()
	log := new(rig.Lines)
	more := map[string]any{"timeout": 2000}
	maps.Copy(more, c.more)
	sim, err := kongsim.Start(t.Context(), kongsim.Options{
		Config: []byte(kongYAML(t, rig.Settings(t, c.addrs, more))), Binary: cmp.Or(c.program, rig.Binary),
		Args: append([]string{"-kong-prefix", rig.ShortDir(t), "-drain-timeout", "30s"}, c.args...), Grace: 40 * time.Second, Stderr: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	a := newAnswers()
	a.large = c.large
	stop := make(chan struct{})
	var clients sync.WaitGroup
	const n = 8
	for client := range n {
		clients.Go(func() {
			pace := time.NewTicker(4 * time.Millisecond)
			defer pace.Stop()
			for i := client; ; i += n {
				select {
				case <-stop:
					return
				case <-pace.C:
					a.send(sim.URL(), i)
				}
			}
		})
	}
	if !c.atStart {
		c.records(t, 20) // it is under way
	}
	c.do(t, sim)

	// It has recovered when a new request is in the topic.
	over := time.Now()
	const marker = 1<<30 + 1
	for a.send(sim.URL(), marker) != 200 {
		if time.Since(over) > time.Minute {
			t.Fatalf("no request is accepted a minute after the fault\n%s", log)
		}
		time.Sleep(10 * time.Millisecond)
	}
	want := []byte(fmt.Sprintf(`{"i":%d}`, marker))
	for n := 0; ; {
		records := c.records(t, n)
		if slices.ContainsFunc(records, func(r *kgo.Record) bool { return strings.Contains(string(r.Value), string(want)) }) {
			break
		}
		n = len(records)
		if time.Since(over) > time.Minute {
			t.Fatalf("no new record is in the topic a minute after the fault\n%s", log)
		}
		time.Sleep(10 * time.Millisecond)
	}
	recovered := time.Since(over)

	close(stop)
	clients.Wait()
	errorLog := strings.Join(sim.ErrorLog(), "\n")
	if err := sim.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	sum := checkInvariant(t, c.records(t, 0), a, log.String())
	if sum.missing > 0 && !c.loses {
		t.Errorf("%d records are lost", sum.missing)
	}
	if sum.doubled > 0 && c.exact {
		t.Errorf("%d records are doubled", sum.doubled)
	}
	if a.status[200] != a.requests() && !c.refuses {
		t.Errorf("answers are %v, want 200 alone", a.status)
	}
	if !strings.Contains(errorLog, c.told) {
		t.Errorf("Kong's error log lacks %q:\n%s", c.told, errorLog)
	}
	t.Logf("FAULT | %s | %s | %s | %d | %d | %.1f s |", c.name, c.where, a, sum.missing, sum.doubled, recovered.Seconds())
	if t.Failed() {
		t.Logf("the program printed:\n%s", log)
	}
}

// answers counts what clients were told.
type answers struct {
	mu       sync.Mutex
	status   map[int]int
	accepted map[int]bool // the requests that were answered 200
	unsure   map[int]bool // those that may be in the topic though they were not
	large    int          // if not 0, each such request has 10 kB
}

func newAnswers() *answers {
	return &answers{status: make(map[int]int), accepted: make(map[int]bool), unsure: make(map[int]bool)}
}

// String says which answers there were.
func (a *answers) String() string {
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(a.status)) {
		parts = append(parts, fmt.Sprintf("%d × %d", a.status[status], status))
	}
	return strings.Join(parts, ", ")
}

func (a *answers) requests() (n int) {
	for _, count := range a.status {
		n += count
	}
	return n
}

// send sends request i and notes its answer.
func (a *answers) send(base string, i int) (status int) {
	more := ""
	if a.large > 0 && i%a.large == 0 {
		more = strings.Repeat(" ", 10000)
	}
	req, err := http.NewRequest("POST", base, strings.NewReader(fmt.Sprintf(`{"i":%d%s}`, i, more)))
	if err == nil {
		req.Host = "kafka-upstream.dev"
		req.Header.Set("Content-Type", "application/json")
		var resp *http.Response
		if resp, err = http.DefaultClient.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			status = resp.StatusCode
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status[status]++
	switch status {
	case 200:
		a.accepted[i] = true
	case 502:
		a.unsure[i] = true
	}
	return status
}
