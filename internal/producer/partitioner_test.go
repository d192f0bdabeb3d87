package producer

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	metadataAPI "github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
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

// The numbers are those of Apache Kafka's UtilsTest.testMurmur2.
func TestMurmur2IsThatOfKafka(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := murmur2([]byte(key)); got != uint32(want)&0x7fffffff {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
	}
}

// librdkafka calls the first of them consistent.
func TestKeysGoWhereOtherClientsPutThem(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for partitioner, others := range map[string][]kafka.Balancer{
		"":        {kafka.CRC32Balancer{Consistent: true}},
		"crc32":   {kafka.CRC32Balancer{Consistent: true}},
		"murmur2": {kafka.Murmur2Balancer{Consistent: true}, franz{}},
	} {
		hash := hashOf(partitioner)
		for _, n := range []int{1, 2, 3, 10, 97} {
			var numbers []int
			var all []metadataAPI.ResponsePartition
			for i := range n {
				numbers = append(numbers, i)
				all = append(all, metadataAPI.ResponsePartition{PartitionIndex: int32(i)})
			}
			for size := range 200 {
				key := make([]byte, size)
				for i := range key {
					key[i] = byte(random.Uint32())
				}
				got := int(partitionOf(hash(key), all))
				for _, other := range others {
					if want := other.Balance(kafka.Message{Key: key}, numbers...); got != want && size > 0 {
						t.Fatalf("%s, %d partitions: key %x went to %d, want %d as %T", partitioner, n, key, got, want, other)
					}
				}
			}
		}
	}
}

// franz is the partitioner of franz-go, which is that of Kafka's Java clients.
type franz struct{}

func (franz) Balance(m kafka.Message, partitions ...int) int {
	return kgo.StickyKeyPartitioner(nil).ForTopic("t").Partition(&kgo.Record{Key: m.Key}, len(partitions))
}

func TestKeyThatIsEmptyIsAKey(t *testing.T) {
	for partitioner, want := range map[string]int32{"crc32": 0, "murmur2": int32(0x106e08d9 % 10)} {
		p := newTestProducer(t, []string{closedPort(t)}, func(o *Options) { o.Partitioner = partitioner })
		if !p.isKeyed([]byte{}) || p.isKeyed(nil) {
			t.Errorf("%s: an empty key counts as none, or none as a key", partitioner)
		}
		if got := partitionOf(p.hash([]byte{}), partitionsOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)); got != want {
			t.Errorf("%s: an empty key went to %d, want %d", partitioner, got, want)
		}
	}
}

func TestStickyPutsKeysWhereTheOthersAre(t *testing.T) {
	const batches, each = 5, 20
	f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Partitioner = "sticky"; o.Linger = time.Hour; o.BatchRecords = each })
	for i := range batches * each {
		r := record("x")
		if i%2 == 0 {
			r.Key = fmt.Append(nil, i)
		}
		if err := p.Send(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, p)
	if n := f.Requests(kmsg.Produce); n != batches {
		t.Errorf("%d requests, want %d", n, batches)
	}
}

func TestPartitionerIsPartOfTheKeyOfOptions(t *testing.T) {
	keys := make(map[Key]string)
	for _, p := range []string{"crc32", "murmur2", "sticky"} {
		keys[Options{Partitioner: p}.Key()] = p
	}
	if len(keys) != 3 || keys[Options{}.Key()] != "crc32" {
		t.Errorf("keys of %v", keys)
	}
}
