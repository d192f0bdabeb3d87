//go:build unix && !race

package producer

import (
	"runtime"
	"testing"
	"time"
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
