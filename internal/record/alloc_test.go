//go:build !race

package record_test

import (
	"testing"
	"time"

	"kafka-upstream/internal/record"
)

// A record costs one allocation, that of its value; but not under the race detector, which
// has sync.Pool drop what it is given.
func TestRecordWithoutTransformsCostsOneAllocation(t *testing.T) {
	b, r, m := builder(), post(`{"a":1}`), new(limit)
	var value []byte
	n := testing.AllocsPerRun(1000, func() {
		var one [1]record.Record
		records, _, err := b.Append(one[:0], r, time.Time{}, m)
		if err != nil {
			t.Fatal(err)
		}
		value = records[0].Value
	})
	if n != 1 || len(value) == 0 {
		t.Errorf("%v allocations", n)
	}
}
