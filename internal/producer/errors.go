package producer

import (
	"fmt"
	"time"
)

// undeliveredError is the result for a sender that waits: the error, and the partition and
// broker that it concerns.
type undeliveredError struct {
	error
	at partitionLeader
}

func (e *undeliveredError) Unwrap() error { return e.error }

// orphanedError is the error of records that were undelivered when the orphan timeout was
// over. It must not unwrap to its cause: a batch might be split because of that.
type orphanedError struct {
	after time.Duration
	cause error // may be nil
}

func (e *orphanedError) Error() string {
	text := fmt.Sprintf("Kong no longer has their configuration, and they were undelivered for %v (-orphan-timeout)", e.after)
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Cause returns why the records could not be delivered; it may be nil.
func (e *orphanedError) Cause() error { return e.cause }

// partitionLeader is a partition with the address of its leader, as far as it is known.
type partitionLeader struct {
	partition int32
	broker    string
}

// noPartition stands for the partition of failures that belong to none.
var noPartition = partitionLeader{partition: -1, broker: "unknown"}

func (p *Producer) leaderOf(topic string, partition int32) partitionLeader {
	at := partitionLeader{partition, p.cluster.Leader(topic, partition)}
	if at.broker == "" {
		at.broker = noPartition.broker
	}
	return at
}
