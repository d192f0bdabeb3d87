package producer

import (
	"math/rand/v2"

	"github.com/segmentio/kafka-go"
)

// balancer chooses the partition of a record.
//
// A record with a key goes where Kong's own producer puts it, by the CRC-32 of
// the key. The others stick to one partition until a batch's worth of them went
// there, and those that are handed over together are not parted: batches are full, so
// there are fewer of them, and fewer requests and connections, for the brokers too.
type balancer struct {
	keyed    kafka.CRC32Balancer
	maxCount int
	maxBytes int64

	// Only one goroutine at a time hands records over.
	partition int // counted on; modulo the number of partitions
	count     int // of the records that went to partition
	bytes     int64
}

var _ kafka.Balancer = (*balancer)(nil)

// newBalancer begins at a random partition, so that many gateways started
// together do not move through the partitions in step.
func newBalancer(maxCount int, maxBytes int64) *balancer {
	return &balancer{
		keyed:    kafka.CRC32Balancer{Consistent: true}, // an empty key is a key
		maxCount: maxCount, maxBytes: maxBytes,
		partition: rand.IntN(1 << 20),
	}
}

// begin is called before a batch of that much is handed over.
func (b *balancer) begin(a amount) {
	if b.count > 0 && (b.count+int(a.records()) > b.maxCount || b.bytes+a.bytes() > b.maxBytes) {
		b.next()
	}
}

func (b *balancer) next() {
	b.partition++
	b.count, b.bytes = 0, 0
}

// Balance implements kafka.Balancer.
func (b *balancer) Balance(m kafka.Message, partitions ...int) int {
	if m.Key != nil {
		return b.keyed.Balance(m, partitions...)
	}
	size := int64(len(m.Value))
	if b.count >= b.maxCount || b.count > 0 && b.bytes+size > b.maxBytes {
		b.next()
	}
	b.count++
	b.bytes += size
	return partitions[b.partition%len(partitions)]
}
