package producer

import (
	"hash/crc32"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
)

var ten = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}

func TestRecordsWithoutKeyStickUntilABatchIsFull(t *testing.T) {
	b := newBalancer(5, 1000)
	first := b.Balance(kafka.Message{Value: []byte("x")}, ten...)
	for range 4 {
		if p := b.Balance(kafka.Message{Value: []byte("x")}, ten...); p != first {
			t.Fatalf("went to %d, want %d", p, first)
		}
	}
	next := b.Balance(kafka.Message{Value: []byte(strings.Repeat("x", 600))}, ten...)
	if next != (first+1)%10 {
		t.Errorf("the sixth went to %d, want %d", next, (first+1)%10)
	}
	if p := b.Balance(kafka.Message{Value: []byte(strings.Repeat("x", 600))}, ten...); p != (first+2)%10 {
		t.Errorf("the one that does not fit went to %d, want %d", p, (first+2)%10)
	}
	if p := b.Balance(kafka.Message{Value: []byte(strings.Repeat("x", 6000))}, 3); p != 3 {
		t.Errorf("of one partition, %d was chosen", p)
	}
}

func TestAllPartitionsGetTheirShare(t *testing.T) {
	b := newBalancer(200, 1<<20)
	counts := make([]int, 10)
	for range 20000 {
		counts[b.Balance(kafka.Message{Value: []byte("x")}, ten...)]++
	}
	for p, n := range counts {
		if n != 2000 {
			t.Errorf("partition %d got %d", p, n)
		}
	}
}

// Kong's producer takes ngx.crc32_short(key) % partitions.
func TestRecordsWithKeyGoWhereKongPutsThem(t *testing.T) {
	b := newBalancer(1, 1)
	for _, key := range []string{"", "a", "order-17", "\xff\xfe"} {
		want := int(crc32.ChecksumIEEE([]byte(key)) % 10)
		if p := b.Balance(kafka.Message{Key: []byte(key)}, ten...); p != want {
			t.Errorf("key %q went to %d, want %d", key, p, want)
		}
	}
}

func TestRecordsOfABatchAreNotParted(t *testing.T) {
	b := newBalancer(200, 1000)
	send := func(n, size int) (partitions map[int]int) {
		b.begin(amountOf(n, int64(n*size)))
		partitions = make(map[int]int)
		for range n {
			partitions[b.Balance(kafka.Message{Value: make([]byte, size)}, ten...)]++
		}
		return partitions
	}
	var before map[int]int
	for i, c := range []struct {
		records, size int
		moves         bool // to the next partition
	}{{150, 1, false}, {50, 1, false}, {1, 1, true}, {150, 1, false}, {60, 1, true}, {140, 1, false}, {200, 1, true}, {2, 400, true}, {2, 400, true}} {
		p := send(c.records, c.size)
		if len(p) != 1 {
			t.Errorf("batch %d went to %v", i, p)
		}
		for n := range p {
			if _, same := before[n]; i > 0 && same == c.moves {
				t.Errorf("batch %d went to %v, the one before to %v", i, p, before)
			}
		}
		before = p
	}
}
