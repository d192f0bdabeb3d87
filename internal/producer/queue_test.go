package producer

import (
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

func fill(q *queue, from, to int) {
	for i := from; i < to; i++ {
		q.put(&Record{Topic: "t", Key: []byte("k"), Value: []byte(strconv.Itoa(i))}, arrival{time: time.Now(), round: int32(i)})
	}
}

func TestQueueKeepsTheOrderOfArrival(t *testing.T) {
	for _, n := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 10*chunkSize + 7} {
		var q queue
		fill(&q, 0, n)
		taken := q.takeUntil(func(m *kafka.Message, round int32) bool {
			if want := strconv.Itoa(int(round)); string(m.Value) != want {
				t.Fatalf("record %s came in round %d", m.Value, round)
			}
			return round >= int32(n/3)
		})
		fill(&q, n, n+3) // while others wait
		if q.records != n-len(taken)+3 {
			t.Errorf("%d of %d records were taken, and %d are there", len(taken), n, q.records)
		}
		for c := q.takeAll(); c != nil; c = c.free() {
			taken = append(taken, c.rest()...)
		}
		if len(taken) != n+3 {
			t.Fatalf("%d records came out of %d", len(taken), n+3)
		}
		for i, m := range taken {
			if string(m.Value) != strconv.Itoa(i) {
				t.Fatalf("record %d is %s", i, m.Value)
			}
		}
		if q != (queue{}) {
			t.Errorf("an empty queue holds %+v", q)
		}
	}
}

func TestQueueCountsItsBytes(t *testing.T) {
	var q queue
	fill(&q, 0, 100) // 190 digits, and 100 keys
	if q.bytes != 290 {
		t.Errorf("%d bytes", q.bytes)
	}
	q.takeUntil(func(_ *kafka.Message, round int32) bool { return round == 10 })
	if q.bytes != 270 {
		t.Errorf("%d bytes after ten left", q.bytes)
	}
	q.takeUntil(func(*kafka.Message, int32) bool { return false })
	if q != (queue{}) {
		t.Errorf("an empty queue holds %+v", q)
	}
}

func TestFreedChunkHoldsNoRecord(t *testing.T) {
	var q queue
	fill(&q, 0, 5)
	c := q.takeAll()
	messages := c.rest()
	c.free()
	for _, m := range messages {
		if m.Value != nil || m.Key != nil {
			t.Fatalf("%q is held", m.Value)
		}
	}
}
