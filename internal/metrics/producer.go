package metrics

import (
	"sync"
	"sync/atomic"
	"time"

	"kafka-upstream/internal/kafkaerr"
)

// Producer is what one producer reports to. Its methods may be called from many
// goroutines at once, and on a nil *Producer.
type Producer struct {
	metrics     *Metrics
	topic       *topic
	unconfirmed bool
	limits      Limits
	orphaned    atomic.Bool // no instance uses it

	// What is in this producer's buffer. The topic's counts have it too, summed
	// with what is in others'.
	records, bytes atomic.Int64

	// Times of Metrics.now.
	since  atomic.Int64 // nothing was delivered
	failed atomic.Int64 // last failure since a delivery; 0 for none
}

// Accepted counts a record that goes into the buffer, with the bytes of its key
// and value. It must be called before the record can meet its fate, that is
// before it is handed on, and each accepted record must be counted once more, by
// Delivered, Failed or Left. It neither allocates nor waits for a lock.
func (p *Producer) Accepted(bytes int64) {
	if p == nil {
		return
	}
	if p.records.Load() == 0 {
		p.arrive()
	}
	p.records.Add(1)
	p.bytes.Add(bytes)
	p.topic.accepted.add(1, bytes)
}

// arrive notes that a record comes into an empty buffer: from now on something
// can be waiting. Unless records failed a moment ago: a producer that loses all
// it is given has an empty buffer again and again.
func (p *Producer) arrive() {
	now := p.metrics.now()
	if failed := p.failed.Load(); failed == 0 || now-failed >= int64(p.limits.Linger+patience) {
		p.since.Store(now)
	}
}

// refusals are the reasons for which a record can be refused, and others.
const refusals = 5

var refusalNames = [refusals]string{TooLarge.String(), BufferFull.String(), MemoryFull.String(), ShuttingDown.String(), "other"}

// Refused counts a record that was not accepted: [TooLarge], [BufferFull],
// [MemoryFull] or [ShuttingDown].
func (p *Producer) Refused(r Reason) {
	if p == nil {
		return
	}
	i := refusals - 1
	switch r {
	case TooLarge:
		i = 0
	case BufferFull:
		i = 1
	case MemoryFull:
		i = 2
	case ShuttingDown:
		i = 3
	}
	p.topic.refused[i].Add(1)
}

// Delivered counts records that were acknowledged as configured. With acks 0
// they count as sent.
func (p *Producer) Delivered(records int, bytes int64) {
	if p == nil {
		return
	}
	fate := &p.topic.delivered
	if p.unconfirmed {
		fate = &p.topic.sent
	}
	fate.add(int64(records), bytes)
	p.failed.Store(0)
	p.since.Store(p.metrics.now())
	p.leave(records, bytes)
}

// Failed counts records that were given up because of err.
func (p *Producer) Failed(err error, records int, bytes int64) {
	if p == nil {
		return
	}
	p.topic.failed[kafkaerr.Of(err)].add(int64(records), bytes)
	p.failed.Store(p.metrics.now())
	p.leave(records, bytes)
}

// Left counts records that were given up because the server ends.
func (p *Producer) Left(records int, bytes int64) {
	if p == nil {
		return
	}
	p.topic.left.add(int64(records), bytes)
	p.leave(records, bytes)
}

func (p *Producer) leave(records int, bytes int64) {
	p.bytes.Add(-bytes)
	p.records.Add(-int64(records))
}

// Batch counts a batch that has met its fate, with the bytes of its keys and
// values. Records that met theirs before they were made a batch are none.
func (p *Producer) Batch(records int, bytes int64) {
	if p == nil {
		return
	}
	p.topic.batchRecords.Observe(float64(records))
	p.topic.batchBytes.Observe(float64(bytes))
}

// Attempt counts one attempt to produce a batch, which took so long. err is nil,
// or why it failed: the error, or the code in the broker's answer. retry says
// that it was not the batch's first.
func (p *Producer) Attempt(retry bool, took time.Duration, err error) {
	if p == nil {
		return
	}
	p.topic.attempts.Add(1)
	if retry {
		p.topic.retries.Add(1)
	}
	if err != nil {
		p.topic.attemptsFailed[kafkaerr.Of(err)].Add(1)
	}
	p.topic.attempt.Observe(took.Seconds())
}

// Produced counts a batch for which there will be no further attempt, took after
// the first of them began.
func (p *Producer) Produced(took time.Duration) {
	if p == nil {
		return
	}
	p.topic.produce.Observe(took.Seconds())
}

// Lookup counts a request for the topic's partitions and their leaders. err is
// nil, or why it failed. While no broker can be reached, these are all that is
// tried.
func (p *Producer) Lookup(err error) {
	if p == nil {
		return
	}
	p.topic.lookups.Add(1)
	if err != nil {
		p.topic.lookupsFailed[kafkaerr.Of(err)].Add(1)
	}
}

// ConnectionOpened counts a connection to a broker. The caller calls closed when
// it is closed; only the first call counts.
func (p *Producer) ConnectionOpened() (closed func()) {
	if p == nil {
		return func() {}
	}
	p.topic.connectionsOpened.Add(1)
	return sync.OnceFunc(func() { p.topic.connectionsClosed.Add(1) })
}

// ConnectionFailed counts a connection to a broker that could not be opened.
func (p *Producer) ConnectionFailed(err error) {
	if p == nil {
		return
	}
	p.topic.connectionsFailed[kafkaerr.Of(err)].Add(1)
}

// Orphaned sets whether the producer has no instance any more. It then only drains its
// buffer, and readiness ignores it, because no request depends on it.
func (p *Producer) Orphaned(is bool) {
	if p != nil {
		p.orphaned.Store(is)
	}
}

// Close ends the producer: it counts no longer as one, and readiness does not
// ask for it. What it reports after that still counts, so that a record whose
// fate is not known then is shown as buffered, and not lost from the sums.
func (p *Producer) Close() {
	if p == nil {
		return
	}
	p.metrics.mu.Lock()
	defer p.metrics.mu.Unlock()
	delete(p.topic.producers, p)
}

// condition is what there is to say of a producer's buffer at one moment.
type condition struct {
	records, bytes int64
	fill           float64       // 1 is full
	stalled        time.Duration // for how long records were due and none was delivered; 0 for not
}

func (p *Producer) condition() condition {
	c := condition{records: p.records.Load(), bytes: p.bytes.Load()}
	c.fill = p.limits.ratio(c.records, c.bytes)
	if c.records > 0 {
		// since is read after records: the arrival of a record that is seen may
		// have ended an idle time, and has noted that before.
		fruitless := time.Duration(p.metrics.now() - p.since.Load())
		c.stalled = max(fruitless-p.limits.Linger, 0)
	}
	return c
}
