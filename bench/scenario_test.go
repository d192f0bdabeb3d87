//go:build linux

package main

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"
)

// soon is a setting with which records do not wait for others.
var soon = map[string]any{"producer_async_flush_timeout": 5}

func TestAllThatIsAnsweredArrivesAtTheBroker(t *testing.T) {
	var entrants []entrant
	for _, c := range programs(t) {
		entrants = append(entrants, entrant{c, scenario{connections: 16, count: 405, configs: 3, workers: 2, settings: soon}})
	}
	samples, err := sideBySide(t.Context(), entrants)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range samples {
		want := int64(405)
		if entrants[i].Silent {
			want = 0
		}
		if s.requests != 405 || s.measured != 405 || s.latencies.total != 405 || s.arrived.Records != want {
			t.Errorf("%s: %d requests, %d measured, %d latencies, %d records", entrants[i].Name, s.requests, s.measured, s.latencies.total, s.arrived.Records)
		}
		if s.cpu() <= 0 || s.rate() <= 0 || s.p50() <= 0 || s.p99() < s.p50() || s.kongCPU() <= 0 || s.resident <= 0 || s.peak < s.resident {
			t.Errorf("%s: a figure is missing", entrants[i].Name)
		}
	}
}

func TestWarmUpCountsForTheBrokerAndNotForTheFigures(t *testing.T) {
	x, err := open(t.Context(), program(t, ours), scenario{connections: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	o, err := x.load(t.Context(), job{Warmup: 30 * time.Millisecond, Measure: 60 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if o.Measured == 0 || o.Measured >= o.Requests || o.Elapsed < 60*time.Millisecond || o.Elapsed > time.Second {
		t.Errorf("%d of %d requests were measured, in %v", o.Measured, o.Requests, o.Elapsed)
	}
	if c, err := x.finish(); err != nil || c.Records != o.Requests {
		t.Errorf("%d records, %v", c.Records, err)
	}
}

func TestRecordThatIsLostIsNoticed(t *testing.T) {
	x, err := open(t.Context(), program(t, ours), scenario{connections: 4, lose: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	if _, err := x.load(t.Context(), job{Count: 100}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.finish(); err == nil || !strings.Contains(err.Error(), "100 requests were answered 200, and 99 records have arrived") {
		t.Errorf("got %v", err)
	}
}

func TestAnswersOtherThan200AreNoticed(t *testing.T) {
	_, err := measure(t.Context(), program(t, ours), scenario{connections: 4, count: 100, settings: map[string]any{
		"producer_request_limits_bytes_per_request": 1024}})
	if err == nil || !strings.Contains(err.Error(), "map[413:") {
		t.Errorf("got %v", err)
	}
}

func TestBufferOfABrokerThatIsAwayArrivesWhenItComes(t *testing.T) {
	s, err := measure(t.Context(), program(t, ours), scenario{connections: 8, away: true, fill: 200, count: 100, settings: soon})
	if err != nil {
		t.Fatal(err)
	}
	if s.measured != 100 || s.arrived.Records != 300 {
		t.Errorf("%d measured, %d records", s.measured, s.arrived.Records)
	}
}

func TestAllocationsAreRead(t *testing.T) {
	for _, c := range programs(t) {
		p, err := startPlugin(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := p.mallocs(); err != nil || n < 100 {
			t.Errorf("%s: %d, %v", c.Name, n, err)
		}
		p.kill()
	}
}

func TestStartAndDumpAreTimed(t *testing.T) {
	c := program(t, ours)
	if ms, err := startUp(t.Context(), c); err != nil || ms <= 0 {
		t.Errorf("start: %v, %v", ms, err)
	}
	if ms, err := dump(t.Context(), c); err != nil || ms <= 0 {
		t.Errorf("dump: %v, %v", ms, err)
	}
}

func TestProgramThatEndsIsQuoted(t *testing.T) {
	_, err := startPlugin(t.Context(), program(t, ours), "-nonsense")
	if err == nil || !strings.Contains(err.Error(), "flag provided but not defined") {
		t.Errorf("got %v", err)
	}
}

func TestGrowthIsTheRatioOfCosts(t *testing.T) {
	r := newReport()
	var some []dimension
	for _, d := range dimensions(&options{measure: 5 * time.Millisecond}) {
		if d.steps[0].fill > 0 { // filling the buffer takes its time
			continue
		}
		for i := range d.steps {
			s := maps.Clone(d.steps[i].settings)
			if s == nil {
				s = make(map[string]any)
			}
			maps.Copy(s, soon)
			d.steps[i].settings = s
		}
		some = append(some, d)
	}
	if err := grow(t.Context(), &options{rounds: 1}, program(t, ours), some, r); err != nil {
		t.Fatal(err)
	}
	s := r.sections["growth"]
	for _, want := range []string{"| configurations | 1, 10, 100 | ", "| Kong workers | 1, 8, 32 | ", "| headers, cost of each beyond ten | 100, 1000 | ", "| 0s, 200ms | "} {
		if !strings.Contains(s, want) {
			t.Errorf("%q is not in\n%s", want, s)
		}
	}
	if len(r.verdicts) != len(some) {
		t.Errorf("%v", r.verdicts)
	}
	d := dimension{per: []float64{90, 990}}
	if got := d.divide([][]float64{{10, 20}, {100, 200}, {1000, 20}}); got[0][0] != 1 || got[0][1] != 2 || got[1][0] != 1 || got[1][1] != 0 {
		t.Errorf("%v", got)
	}
}

func TestBodiesOfAllSizesArrive(t *testing.T) {
	r := newReport()
	if err := bodies(t.Context(), &options{rounds: 1, measure: 5 * time.Millisecond}, programs(t), r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| 100 B | inline | ", "| 1 MiB | inline | ", "| 16 KiB | file | ", "| 1 MiB | file | "} {
		if !strings.Contains(r.sections["bodies"], want) {
			t.Errorf("%q is not in\n%s", want, r.sections["bodies"])
		}
	}
}

func TestSystemCallsAreCounted(t *testing.T) {
	c, err := callsOf(t.Context(), program(t, ours))
	if _, ok := errors.AsType[errNoStrace](err); ok {
		t.Log(err) // which is what the benchmark says, too
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := c.of(writeCalls...); n < tracedRequests || n > 10*tracedRequests || c["close"] < tracedRequests*9/10 {
		t.Errorf("%v", c)
	}
}
