package producer

import (
	"time"

	"kafka-upstream/internal/kafkaerr"
)

// Stats are the counts of all records that were sent, at one moment. They never decrease.
type Stats struct {
	Topics      []TopicStats // in the order in which Stats first saw them
	Connections ConnectionStats
}

// Amount is a number of records, and the bytes of their keys, values and headers.
type Amount struct{ Records, Bytes int64 }

func (a *Amount) add(b Amount)      { a.Records += b.Records; a.Bytes += b.Bytes }
func (a *Amount) subtract(b Amount) { a.Records -= b.Records; a.Bytes -= b.Bytes }

// TopicStats are the counts of a topic. Each accepted record is buffered, or was
// completed once:
//
//	Accepted = Delivered + Failed + Undelivered + Returned + Buffered
//
// With Options.Durable a record is accepted when it is taken from the spool, where it was
// appended before, by this process or by a former one.
type TopicStats struct {
	Topic string

	Accepted    Amount                   // into the buffer
	Delivered   Amount                   // acknowledged as configured; with acks 0, sent
	Unconfirmed Amount                   // of Delivered, with acks 0: no broker acknowledges them
	Failed      [kafkaerr.Classes]Amount // given up
	Undelivered Amount                   // given up at shutdown
	Returned    Amount                   // given back to the spool, where they wait for another producer, or for the next process
	Appended    Amount                   // to the spool
	Buffered    Amount                   // waiting or in flight
	Rejected    [Rejections]int64        // records that were not accepted

	ProduceRequests        int64
	ProduceRequestsFailed  [kafkaerr.Classes]int64
	Retries                int64 // produce requests that were not the first of their batch
	MetadataRequests       int64
	MetadataRequestsFailed [kafkaerr.Classes]int64

	Compression [Codecs]CompressionStats
	Idempotence IdempotenceStats

	RequestDuration  Histogram // of a produce request, in seconds
	DeliveryDuration Histogram // from the first produce request of a batch to the end of the last one, in seconds
	BatchRecords     Histogram
	BatchBytes       Histogram // of keys, values and headers

	Buffers []BufferStats // one for each producer that has the topic
}

// BufferStats is the state of a producer's buffer for one topic.
type BufferStats struct {
	Buffered, Limit Amount
	Fill            float64       // 1: no record is accepted
	Stalled         time.Duration // how long records have been due and none was delivered; 0 if records are delivered
	Gated           bool          // there is health gating
	Unhealthy       bool          // it rejects records
	Orphaned        bool          // no instance uses the topic: its records are only drained
	Durable         bool          // the spool has what is not in the buffer
}

// ConnectionStats are the counts of connections to brokers.
type ConnectionStats struct {
	Opened, Closed int64
	Failed         [kafkaerr.Classes]int64 // to open
}

// Rejection is why a record was not accepted.
type Rejection uint8

// The reasons for which records are not accepted.
const (
	TooLarge     Rejection = iota // no produce request may hold it
	BufferFull                    // ErrFull
	MemoryFull                    // memory.ErrFull
	ShuttingDown                  // ErrClosed
	Unhealthy                     // ErrUnhealthy
	SpoolFull                     // ErrSpoolFull
	SpoolFailed                   // ErrSpoolFailed

	Rejections = iota // how many there are
)

// String returns the reason as metrics name it.
func (r Rejection) String() string {
	return [Rejections]string{"too_large", "buffer_full", "memory_full", "shutting_down", "unhealthy", "spool_full", "spool_failed"}[r]
}

// Totals are sums over the topics.
type Totals struct {
	Accepted, Rejected, Delivered, Failed, Undelivered, Returned, Buffered, BufferedBytes int64
}

// Totals returns the sums over all topics.
func (s Stats) Totals() (t Totals) {
	for i := range s.Topics {
		t.add(&s.Topics[i])
	}
	return t
}

func (t *Totals) add(s *TopicStats) {
	t.Accepted += s.Accepted.Records
	t.Delivered += s.Delivered.Records
	t.Undelivered += s.Undelivered.Records
	t.Returned += s.Returned.Records
	t.Buffered += s.Buffered.Records
	t.BufferedBytes += s.Buffered.Bytes
	for _, n := range s.Rejected {
		t.Rejected += n
	}
	for _, a := range s.Failed {
		t.Failed += a.Records
	}
}

// add adds the counts of another producer to the same topic, but not its buffers.
func (t *TopicStats) add(s *TopicStats) {
	t.Accepted.add(s.Accepted)
	t.Delivered.add(s.Delivered)
	t.Unconfirmed.add(s.Unconfirmed)
	t.Undelivered.add(s.Undelivered)
	t.Returned.add(s.Returned)
	t.Appended.add(s.Appended)
	t.Buffered.add(s.Buffered)
	for i := range s.Rejected {
		t.Rejected[i] += s.Rejected[i]
	}
	t.ProduceRequests += s.ProduceRequests
	t.Retries += s.Retries
	t.MetadataRequests += s.MetadataRequests
	for i := range s.Failed {
		t.Failed[i].add(s.Failed[i])
		t.ProduceRequestsFailed[i] += s.ProduceRequestsFailed[i]
		t.MetadataRequestsFailed[i] += s.MetadataRequestsFailed[i]
	}
	for i := range s.Compression {
		t.Compression[i].add(&s.Compression[i])
	}
	t.Idempotence.add(&s.Idempotence)
	t.RequestDuration.Add(&s.RequestDuration)
	t.DeliveryDuration.Add(&s.DeliveryDuration)
	t.BatchRecords.Add(&s.BatchRecords)
	t.BatchBytes.Add(&s.BatchBytes)
}

func (c *ConnectionStats) add(s *ConnectionStats) {
	c.Opened += s.Opened
	c.Closed += s.Closed
	for i := range s.Failed {
		c.Failed[i] += s.Failed[i]
	}
}

// Upper bounds of the buckets of histograms, in ascending order.
var (
	DurationBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
	RecordsBounds  = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000}
	BytesBounds    = []float64{256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 100 << 20}
)

// Histogram counts observations by bucket. Its zero value is empty.
type Histogram struct {
	Counts [17]int64 // by the first bound that is not below; those above all bounds come last
	Sum    float64
}

// Observe counts v in its bucket of those with these bounds.
func (h *Histogram) Observe(bounds []float64, v float64) {
	i := 0
	for i < len(bounds) && v > bounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += v
}

// Add adds the observations of another histogram with the same bounds.
func (h *Histogram) Add(other *Histogram) {
	for i := range other.Counts {
		h.Counts[i] += other.Counts[i]
	}
	h.Sum += other.Sum
}
