//go:build !race

package metrics

import (
	"testing"
	"time"
)

func TestRequestDoesNotAllocate(t *testing.T) {
	m := New("1.2.3", none)
	var off *Metrics
	for name, f := range map[string]func(){
		"a request":             func() { m.Request(Sent, time.Millisecond) },
		"while metrics are off": func() { off.Request(Sent, 0) },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
