//go:build !race

package lua

import "testing"

// Kong's example: a consumer is added and a header redacted. Not under the race detector,
// which has sync.Pool drop what it is given.
func TestConsumerAndRedactTakesAtMost60Allocations(t *testing.T) {
	f := compile(t, budgetExample)
	d := draft(t, exampleRequest())
	message := append([]byte(nil), d.Message...)
	n := testing.AllocsPerRun(1000, func() {
		d.Message, d.Log = append(d.Message[:0], message...), nil
		if err := f.Transform(d); err != nil {
			t.Fatal(err)
		}
	})
	if n > 60 {
		t.Errorf("%v allocations", n)
	}
}

func TestShapesThatNeedNoLuaTakeFewAllocations(t *testing.T) {
	for chunk, most := range map[string]float64{
		"return function(m) return m end":           0,
		"return function(m) return m.body_args end": 0,
		"return function(m) return m.body end":      4,
	} {
		f := compile(t, chunk)
		d := draft(t, exampleRequest())
		message := append([]byte(nil), d.Message...)
		buffer := make([]byte, len(message))
		n := testing.AllocsPerRun(1000, func() {
			d.Message, d.Final = append(buffer[:0], message...), false
			if err := f.Transform(d); err != nil {
				t.Fatal(err)
			}
		})
		if n > most {
			t.Errorf("%s: %v allocations", chunk, n)
		}
	}
}
