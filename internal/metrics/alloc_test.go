//go:build !race

package metrics

import (
	"testing"
	"time"
)

func TestHotPathDoesNotAllocate(t *testing.T) {
	m := New("1.2.3")
	p := m.Producer("orders", 1, Limits{Records: 10, Bytes: 1000})
	var offProducer *Producer
	for name, f := range map[string]func(){
		"a record's arrival and fate":     func() { p.Accepted(100); p.Delivered(1, 100) },
		"a record refused":                func() { p.Refused(BufferFull) },
		"a batch, its attempt, its end":   func() { p.Batch(1, 100); p.Attempt(false, time.Millisecond, nil); p.Produced(time.Millisecond) },
		"all of it while metrics are off": func() { offProducer.Accepted(1); offProducer.Delivered(1, 1) },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
