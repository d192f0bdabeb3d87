//go:build unix && !race

package producer

import (
	"runtime"
	"slices"
	"testing"
	"time"

	rec "kafka-upstream/internal/record"
)

// TestRecordCostsFewAllocations counts those of the whole process, from Send to
// the acknowledgement. Two of them are kafka-go's, for each record; the others
// are shared by a batch. Under the race detector pools drop what they are given.
func TestRecordCostsFewAllocations(t *testing.T) {
	a := startAcknowledger(t)
	p := newTestProducer(t, []string{a.address}, func(o *Options) { o.Linger = time.Second })
	r := Record{Topic: "t", Value: make([]byte, 1024)}
	const batch = 200 // leaves as soon as it is full
	round := func() {
		for range batch {
			if err := p.Send(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		for p.totals().Buffered > 0 {
			runtime.Gosched()
		}
	}
	round()
	settled(t, p)
	if n := testing.AllocsPerRun(20, round) / batch; n > 2.75 {
		t.Errorf("a record costs %.2f allocations", n)
	} else {
		t.Logf("a record costs %.2f allocations", n)
	}
}

// TestRecordCostsNoAllocationUntilItIsSent counts those of Send and SendAll alone: records
// without headers need none but for the backlog, which grows by doubling.
func TestRecordCostsNoAllocationUntilItIsSent(t *testing.T) {
	const runs = 10_000
	for _, row := range []struct {
		name string
		send func(*Producer) error
		most float64
	}{
		{"plain", func(p *Producer) error { return p.Send(t.Context(), Record{Topic: "t", Value: value}) }, 0},
		{"key", func(p *Producer) error { return p.Send(t.Context(), Record{Topic: "t", Key: value, Value: value}) }, 0},
		{"three headers", func(p *Producer) error {
			return p.Send(t.Context(), Record{Topic: "t", Value: value, Headers: threeHeaders})
		}, 2},
		{"ten records", func(p *Producer) error { return p.SendAll(t.Context(), tenRecords, nil) }, 1},
	} {
		p := newTestProducer(t, []string{closedPort(t)}, func(o *Options) { o.BufferRecords = 100 * runs })
		if err := row.send(p); err != nil { // starts the dispatcher
			t.Fatal(err)
		}
		p.cluster.Close(nil) // no attempt, which would allocate too
		eventually(t, "the attempts have ended", func() bool { return p.totals().Buffered == 0 })
		if n := testing.AllocsPerRun(runs, func() {
			if err := row.send(p); err != nil {
				t.Fatal(err)
			}
		}); n > row.most {
			t.Errorf("%s: %v allocations", row.name, n)
		}
	}
}

var (
	value        = make([]byte, 100)
	threeHeaders = []rec.Header{{Key: "a", Value: value}, {Key: "b", Value: value}, {Key: "c", Value: value}}
	tenRecords   = slices.Repeat([]Record{{Topic: "t", Value: value}}, 10)
)
