package producer

import (
	"hash/crc32"
	"math/rand/v2"

	"github.com/segmentio/kafka-go"
	metadataAPI "github.com/segmentio/kafka-go/protocol/metadata"
)

// partitionOf returns the partition that Kong's own producer chooses for a key: the
// CRC-32 of the key modulo the number of partitions.
func partitionOf(key []byte, all []metadataAPI.ResponsePartition) int32 {
	return all[crc32.ChecksumIEEE(key)%uint32(len(all))].PartitionIndex
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
