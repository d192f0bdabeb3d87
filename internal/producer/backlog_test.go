package producer

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

func numbered(n, size int) queued {
	return queued{value: binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(n))[:max(size, 4)]}
}

// TestBacklogKeepsOrderAndCounts does what chance wants, beside a list that is simple.
func TestBacklogKeepsOrderAndCounts(t *testing.T) {
	var b backlog
	next := 0
	var want []int
	for range 20_000 {
		switch r := rand.IntN(10); {
		case r < 5:
			for range rand.IntN(40) {
				b.push(numbered(next, 4))
				want = append(want, next)
				next++
			}
		case r == 5:
			var front []queued
			var numbers []int
			for range rand.IntN(5) {
				front, numbers = append(front, numbered(next, 4)), append(numbers, next)
				next++
			}
			b.pushFront(front)
			want = append(numbers, want...)
		default:
			n := rand.IntN(min(b.len(), 60) + 1)
			i := 0
			b.take(n, func(q *queued) {
				if got := int(binary.BigEndian.Uint32(q.value)); got != want[i] {
					t.Fatalf("record %d came where %d was due", got, want[i])
				}
				i++
			})
			if want = want[n:]; i != n {
				t.Fatalf("%d came of %d", i, n)
			}
		}
		if b.len() != len(want) || b.bytes != int64(len(want)*(4+recordOverhead)) {
			t.Fatalf("it has %d records, %d bytes; want %d", b.len(), b.bytes, len(want))
		}
	}
}

func TestBacklogHoldsNoRecordThatWasTaken(t *testing.T) {
	var b backlog
	for i := range 10 {
		b.push(numbered(i, 4))
	}
	b.take(4, func(*queued) {})
	for i := range b.records[:4] {
		if b.records[i].value != nil {
			t.Errorf("record %d is held", i)
		}
	}
	for i := range 2 * keepBacklog {
		b.push(numbered(i, 4))
	}
	b.take(b.len(), func(*queued) {})
	if cap(b.records) > keepBacklog {
		t.Errorf("empty it has room for %d records", cap(b.records))
	}
}

func TestBatchIsWhatFits(t *testing.T) {
	const one = 100 + recordOverhead
	for _, c := range []struct {
		records, maxRecords int
		maxBytes            int64
		want                int
	}{{0, 5, 1000, 0}, {3, 5, 1000, 3}, {9, 5, 10 * one, 5}, {9, 100, 4 * one, 4}, {9, 100, 5*one - 1, 4}, {3, 10, 10, 1}} {
		var b backlog
		for i := range c.records {
			b.push(numbered(i, 100))
		}
		if n, bytes := b.batch(c.maxRecords, c.maxBytes); n != c.want || bytes != int64(n*one) {
			t.Errorf("%+v: a batch of %d records, %d bytes", c, n, bytes)
		}
	}
}
