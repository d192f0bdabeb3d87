package producer

import (
	"testing"

	metadataAPI "github.com/segmentio/kafka-go/protocol/metadata"
)

// partitionsOf returns partitions with a leader each; those that are negative have none.
func partitionsOf(numbers ...int32) (all []metadataAPI.ResponsePartition) {
	for _, n := range numbers {
		if n < 0 {
			all = append(all, metadataAPI.ResponsePartition{PartitionIndex: -n, LeaderID: -1})
		} else {
			all = append(all, metadataAPI.ResponsePartition{PartitionIndex: n, LeaderID: 1})
		}
	}
	return all
}

func TestRecordsWithoutKeyStickUntilABatchIsFull(t *testing.T) {
	all := partitionsOf(0, 1, 2, 3)
	c := newPartitioner(200, 1000)
	c.position = 0
	for i, s := range []struct {
		records int
		bytes   int64
		want    int32
	}{{150, 150, 0}, {50, 50, 0}, {1, 1, 1}, {150, 150, 1}, {60, 60, 2}, {140, 140, 2}, {200, 200, 3}, {2, 800, 0}, {2, 800, 1}, {1, 5000, 2}, {1, 5000, 3}} {
		if p, ok := c.choose(all, nil, s.records, s.bytes); !ok || p != s.want {
			t.Errorf("batch %d went to %d, want %d", i, p, s.want)
		}
	}
}

func TestAllPartitionsGetTheirShare(t *testing.T) {
	all := partitionsOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	c := newPartitioner(200, 1<<20)
	counts := make(map[int32]int)
	for range 20000 {
		p, _ := c.choose(all, nil, 1, 10)
		counts[p]++
	}
	for p, n := range counts {
		if n != 2000 {
			t.Errorf("partition %d got %d", p, n)
		}
	}
}

func TestBatchGoesWhereNoneIsInFlightAndALeaderIs(t *testing.T) {
	for _, s := range []struct {
		name     string
		all      []metadataAPI.ResponsePartition
		inFlight []int32
		want     int32 // -1: none
	}{
		{"the first", partitionsOf(1, 2, 3), nil, 1},
		{"one is in flight", partitionsOf(1, 2, 3), []int32{1}, 2},
		{"one without a leader", partitionsOf(-1, 2, 3), nil, 2},
		{"only one without a leader is free", partitionsOf(-1, 2, 3), []int32{2, 3}, 1},
		{"none has a leader", partitionsOf(-1, -2), nil, 1},
		{"all are in flight", partitionsOf(1, 2, 3), []int32{1, 2, 3}, -1},
		{"numbers that are not those of an index", partitionsOf(5, 9), []int32{5}, 9},
	} {
		c := newPartitioner(10, 1000)
		c.position = 0
		inFlight := make(map[int32]bool)
		for _, p := range s.inFlight {
			inFlight[p] = true
		}
		if p, ok := c.choose(s.all, inFlight, 1, 1); ok != (s.want >= 0) || ok && p != s.want {
			t.Errorf("%s: %d, %v, want %d", s.name, p, ok, s.want)
		}
	}
}

// Kong's producer takes ngx.crc32_short(key) % partitions; the numbers are of another
// implementation of CRC-32.
func TestRecordsWithKeyGoWhereKongPutsThem(t *testing.T) {
	all := partitionsOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	for key, sum := range map[string]uint32{"": 0, "a": 0xe8b7be43, "123456789": 0xcbf43926} {
		if p := partitionOf(hashOf("")([]byte(key)), all); p != int32(sum%10) {
			t.Errorf("key %q went to %d, want %d", key, p, sum%10)
		}
	}
}
