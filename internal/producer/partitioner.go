package producer

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"

	"github.com/segmentio/kafka-go"
	metadataAPI "github.com/segmentio/kafka-go/protocol/metadata"
)

// hashOf returns the function by which a key chooses its partition, nil if it does not.
func hashOf(partitioner string) func(key []byte) uint32 {
	switch partitioner {
	case "murmur2":
		return murmur2
	case "sticky":
		return nil
	}
	return crc32.ChecksumIEEE
}

// murmur2 returns what the default partitioner of Kafka's Java clients takes modulo the number
// of partitions: Utils.toPositive(Utils.murmur2(key)).
func murmur2(key []byte) uint32 {
	const m, r = 0x5bd1e995, 24
	h := 0x9747b28c ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := binary.LittleEndian.Uint32(key) * m
		k ^= k >> r
		h = h*m ^ k*m
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * m
	}
	h = (h ^ h>>13) * m
	return (h ^ h>>15) & 0x7fffffff
}

// partitionOf returns the partition of keys with that hash. The partitions are sorted.
func partitionOf(hash uint32, all []metadataAPI.ResponsePartition) int32 {
	return all[hash%uint32(len(all))].PartitionIndex
}

// partitioner is a sticky partitioner for batches of records without a key. It stays with
// a partition for a batch's worth of records, which makes fewer and fuller requests.
type partitioner struct {
	maxRecords int   // in a batch
	maxBytes   int64 // in a batch, with recordOverhead for each record

	position int   // of the partition, modulo the number of partitions
	records  int   // sent to the partition since it was chosen
	bytes    int64 // of those records
}

// newPartitioner starts at a random partition, so that many gateways that start together do
// not move through the partitions in step.
func newPartitioner(maxRecords int, maxBytes int64) partitioner {
	return partitioner{maxRecords: maxRecords, maxBytes: maxBytes, position: rand.IntN(1 << 20)}
}

// choose returns the partition for a batch of that size. It skips partitions that have a
// batch in flight and, if there are others, those without a leader. It reports false if
// every partition has a batch in flight.
func (c *partitioner) choose(all []metadataAPI.ResponsePartition, inFlight map[int32]bool, records int, bytes int64) (int32, bool) {
	if c.records > 0 && (c.records+records > c.maxRecords || c.bytes+bytes > c.maxBytes) {
		c.move(1)
	}
	leaderless := -1
	for i := range all {
		switch q := &all[(c.position+i)%len(all)]; {
		case inFlight[q.PartitionIndex]:
		case q.LeaderID >= 0:
			return c.stay(all, i, records, bytes), true
		case leaderless < 0:
			leaderless = i
		}
	}
	if leaderless < 0 {
		return 0, false
	}
	return c.stay(all, leaderless, records, bytes), true
}

func (c *partitioner) move(by int) {
	if by > 0 {
		c.position += by
		c.records, c.bytes = 0, 0
	}
}

func (c *partitioner) stay(all []metadataAPI.ResponsePartition, by, records int, bytes int64) int32 {
	c.move(by)
	c.records += records
	c.bytes += bytes
	return all[c.position%len(all)].PartitionIndex
}

// assigned makes the Writer use the partition that is set in each message.
type assigned struct{}

var _ kafka.Balancer = assigned{}

// Balance implements kafka.Balancer.
func (assigned) Balance(m kafka.Message, _ ...int) int { return m.Partition }
