package producer

import (
	"errors"
	"time"

	"kafka-upstream/internal/kafkaerr"
)

// StallLimit is how long a producer may have records that are due and deliver none. An
// election of leaders takes a few seconds, the restart of a broker some more.
const StallLimit = 30 * time.Second

// ledger counts the records of one topic in one producer, whose mutex guards it. Nothing
// else counts records.
type ledger struct {
	TopicStats
	linger      time.Duration
	unconfirmed bool // no broker acknowledges anything

	since  time.Time // when a record was last delivered, or began to wait after that
	failed time.Time // last failure since a delivery; zero for none
}

func newLedger(topic string, o *Options) ledger {
	l := ledger{
		TopicStats:  TopicStats{Topic: topic},
		linger:      o.Linger,
		unconfirmed: o.Acks == 0,
	}
	l.Idempotence.Configured = o.Idempotent
	if codec, ok := o.codec(); ok {
		l.Compression[codec].Configured = true
	}
	return l
}

// accept counts a record that goes into the buffer.
func (l *ledger) accept(bytes int64) {
	if l.Buffered.Records == 0 {
		// Records can be late from now on. But a producer that loses every record has an empty
		// buffer again and again, and has been stalled since the first loss.
		now := time.Now()
		if l.failed.IsZero() || now.Sub(l.failed) >= l.linger+StallLimit {
			l.since = now
		}
	}
	l.Accepted.add(Amount{1, bytes})
	l.Buffered.add(Amount{1, bytes})
}

// unaccept undoes accept, before anybody has read the ledger.
func (l *ledger) unaccept(bytes int64) {
	l.Accepted.subtract(Amount{1, bytes})
	l.Buffered.subtract(Amount{1, bytes})
}

// complete counts accepted records that were delivered, or given up because of err.
func (l *ledger) complete(a Amount, err error) {
	l.Buffered.subtract(a)
	switch {
	case err == nil:
		l.Delivered.add(a)
		if l.unconfirmed {
			l.Unconfirmed.add(a)
		}
		l.since, l.failed = time.Now(), time.Time{}
	case errors.Is(err, errAbandoned):
		l.Undelivered.add(a)
	default:
		l.Failed[kafkaerr.Of(err)].add(a)
		l.failed = time.Now()
	}
}

// giveBack counts records that went back to the spool.
func (l *ledger) giveBack(a Amount) {
	l.Buffered.subtract(a)
	l.Returned.add(a)
}

// batch counts a completed batch. Records that were given up in the backlog are none.
func (l *ledger) batch(a Amount) {
	l.BatchRecords.Observe(RecordsBounds, float64(a.Records))
	l.BatchBytes.Observe(BytesBounds, float64(a.Bytes))
}

// produceRequest counts a produce request. err is nil, or why it failed: the error, or the
// code in the broker's answer.
func (l *ledger) produceRequest(retry bool, took time.Duration, err error) {
	l.ProduceRequests++
	if retry {
		l.Retries++
	}
	if err != nil {
		l.ProduceRequestsFailed[kafkaerr.Of(err)]++
	}
	l.RequestDuration.Observe(DurationBounds, took.Seconds())
}

// metadataRequest counts a request for the topic's partitions and their leaders.
func (l *ledger) metadataRequest(err error) {
	l.MetadataRequests++
	if err != nil {
		l.MetadataRequestsFailed[kafkaerr.Of(err)]++
	}
}

// stalled returns for how long records have been due and none was delivered.
func (l *ledger) stalled() time.Duration {
	if l.Buffered.Records == 0 {
		return 0
	}
	return max(time.Since(l.since)-l.linger, 0)
}
