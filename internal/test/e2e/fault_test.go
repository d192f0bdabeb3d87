package e2e

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
)

// fault is a fault by name: what is done to the brokers, to Kong or to the clock while
// clients send, and what it may cost.
type fault struct {
	name     string
	more     map[string]any // settings
	opts     kfake.Opt      // of the cluster in the test's process
	topic    string         // of a genuine cluster
	replicas int            // its topic's, 3 if zero
	clock    bool           // the program has a wall clock of its own
	tls      bool           // the brokers speak TLS

	before func(x *stage) // called before there is a request
	do     func(x *stage) // does the fault, and returns when it is over

	atStart bool   // the brokers are away before the first request
	exact   bool   // no record may be doubled, idempotent or not
	doubles bool   // records may be, unless the producer is idempotent
	moves   bool   // keys may change their partition, or have two producers at a time
	loses   bool   // records may be lost, if they are counted
	refuses bool   // requests may be answered with something else than 200
	large   int    // if not 0, each such request is larger than brokers allow
	told    string // what Kong's error log has to say
}

// marker is the number of the first of as many requests as there are clients, which show
// that the fault is over.
const marker = 1 << 30

// stage is what a fault is done to.
type stage struct {
	*testing.T
	sim   *kongsim.Sim
	b     *brokers           // a cluster in this process,
	kafka *kafkatest.Cluster // or a genuine one
	load  *mixed
	exact bool           // the producer is idempotent
	more  map[string]any // settings
	clock wallTime
	addrs []string // of the brokers, as they are configured
	args  []string // more flags of the program
}

// wallTime is a wall clock that the program goes by.
type wallTime interface {
	jump(d time.Duration)
	set(d time.Duration) // to that far from the right time
}

// Only Linux lets a test answer for the kernel: there these are set.
var (
	newClock         func(t *testing.T) (clock wallTime, program string)
	faultsOfTheClock []fault
)

// config is Kong's declarative configuration.
func (x *stage) config() []byte { return x.load.config(x.T, x.addrs, x.more) }

// records returns what is in the topics, at least n records.
func (x *stage) records(n int) []*kgo.Record {
	if x.kafka != nil {
		return x.kafka.RecordsOf(x.T, x.load.topics(), n)
	}
	return x.b.RecordsOf(x.T, x.load.topics(), n)
}

// beside has a test of faults run beside others, for it mostly waits. With -parallel 1, which is
// how the table of faults is made, the tests keep their order, and have the processors alone.
func beside(t *testing.T) {
	if flag.Lookup("test.parallel").Value.String() != "1" {
		t.Parallel()
	}
}

// guarantees has each fault done to idempotent producers and to others, for docs/guarantees.md.
var guarantees = os.Getenv("GUARANTEES") != ""

// fake does the fault to a cluster in the test's process.
func (f fault) fake(t *testing.T) {
	t.Run("acks 1", func(t *testing.T) { f.runFake(t, false) })
	if f.doubles || guarantees {
		t.Run("idempotent", func(t *testing.T) { f.runFake(t, true) })
	}
}

func (f fault) runFake(t *testing.T, idempotent bool) {
	x := &stage{T: t, load: newMixed("t"), exact: idempotent, more: map[string]any{}}
	if idempotent {
		x.more["producer_request_acks"] = -1
	}
	opts := []kfake.Opt{kfake.SeedTopics(2, x.load.keyed...)}
	if f.opts != nil {
		opts = append(opts, f.opts)
	}
	if f.tls {
		x.b, x.args = startTLSBrokers(t, opts...)
	} else {
		x.b = startBrokers(t, rand.New(rand.NewPCG(seed(t), 0)), opts...)
	}
	x.addrs = x.b.addrs
	f.run(x)
}

// run sends requests before, during and after the fault, and compares what is in
// the topic with what clients were told. It prints a row of the table of faults in
// docs/guarantees.md.
func (f fault) run(x *stage) {
	t, program, where := x.T, rig.Binary, "kfake"
	if x.kafka != nil {
		where = "Kafka " + x.kafka.Version
	}
	if f.clock {
		x.clock, program = newClock(t)
	}
	if f.before != nil {
		f.before(x)
	}
	log := new(rig.Lines)
	x.more["timeout"] = 2000
	maps.Copy(x.more, f.more)
	sim, err := kongsim.Start(t.Context(), kongsim.Options{
		Config: x.config(), Binary: program,
		Args: append([]string{"-kong-prefix", rig.ShortDir(t), "-drain-timeout", "30s"}, x.args...), Grace: 40 * time.Second, Stderr: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	x.sim = sim
	a := newAnswers()
	a.large, a.load = f.large, x.load
	stop := make(chan struct{})
	var sending sync.WaitGroup
	for client := range clients {
		sending.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for i := client; ; i += clients {
				select {
				case <-stop:
					return
				case <-pace.C:
					a.send(sim.URL(), i)
				}
			}
		})
	}
	if !f.atStart {
		x.records(20) // it is under way
	}
	f.do(x)

	// It has recovered when a new request of each route is in its topic.
	over := time.Now()
	for i := range clients {
		for a.send(sim.URL(), marker+i) != 200 {
			if time.Since(over) > time.Minute {
				t.Fatalf("no request is accepted a minute after the fault\n%s", log)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	for n := 0; ; {
		records := x.records(n)
		if countMarkers(records) == clients {
			break
		}
		n = len(records)
		if time.Since(over) > time.Minute {
			t.Fatalf("a new record is not in its topic a minute after the fault\n%s", log)
		}
		time.Sleep(10 * time.Millisecond)
	}
	recovered := time.Since(over)

	close(stop)
	sending.Wait()
	errorLog := strings.Join(sim.ErrorLog(), "\n")
	if err := sim.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	records := x.records(0)
	sum := checkInvariant(t, records, a, log.String())
	if !f.moves {
		x.load.checkKeys(t, records)
	}
	if sum.missing > 0 && !f.loses {
		t.Errorf("%d records are lost", sum.missing)
	}
	if sum.doubled > 0 && (f.exact || x.exact) {
		t.Errorf("%d records are doubled", sum.doubled)
	}
	if a.status[200] != a.requests() && !f.refuses {
		t.Errorf("answers are %v, want 200 alone", a.status)
	}
	if !strings.Contains(errorLog, f.told) {
		t.Errorf("Kong's error log lacks %q:\n%s", f.told, errorLog)
	}
	if spread := timeSpread(records); f.clock && spread < 20*time.Minute {
		t.Errorf("timestamps are within %v: the program has not seen its clock jump", spread)
	}
	t.Logf("FAULT | %s | %s | %v | %s | %d | %d | %.1f s |", f.name, where, x.exact, a, sum.missing, sum.doubled, recovered.Seconds())
	if t.Failed() {
		t.Logf("the program printed:\n%s", log)
	}
}

// countMarkers returns how many markers are among the records.
func countMarkers(records []*kgo.Record) int {
	found := make(map[string]bool)
	for _, r := range records {
		for i := range clients {
			if s := fmt.Sprintf(`"i":%d}`, marker+i); strings.Contains(string(r.Value), s) {
				found[s] = true
			}
		}
	}
	return len(found)
}

// timeSpread is the time from the oldest timestamp to the youngest.
func timeSpread(records []*kgo.Record) time.Duration {
	var oldest, youngest time.Time
	for i, r := range records {
		if i == 0 || r.Timestamp.Before(oldest) {
			oldest = r.Timestamp
		}
		if i == 0 || r.Timestamp.After(youngest) {
			youngest = r.Timestamp
		}
	}
	return youngest.Sub(oldest)
}

// answers counts what clients were told.
type answers struct {
	mu       sync.Mutex
	status   map[int]int
	accepted map[int]bool // the requests that were answered 200
	unsure   map[int]bool // those that may be in the topic though they were not
	large    int          // if not 0, each such request has 10 kB
	load     *mixed       // where requests go; nil: all to one route
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
	if a.load != nil {
		base += a.load.target(i)
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
