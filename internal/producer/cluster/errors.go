package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	produceAPI "github.com/segmentio/kafka-go/protocol/produce"

	"kafka-upstream/internal/producer/brokerconn"
)

// PartitionGoneError ends the attempts for a batch whose partition no longer exists, as
// when the topic was recreated with fewer.
type PartitionGoneError struct {
	topic     string
	partition int32
	now       int // how many partitions the topic has
}

func (c *Cluster) newPartitionGoneError(t *topic, partition int32) error {
	return &PartitionGoneError{t.name, partition, len(t.metadata.Load().partitions)}
}

func (e *PartitionGoneError) Error() string {
	return fmt.Sprintf("partition %d of topic %s, to which the record's key belongs, is gone: the topic has %d partitions now", e.partition, e.topic, e.now)
}

// Unwrap returns the code with which brokers answer for such a partition.
func (e *PartitionGoneError) Unwrap() error { return kafka.UnknownTopicOrPartition }

// RecordsRejectedError is the error of a batch that the broker rejected for some of its
// records, which it names (KIP-467): their timestamps are too far from its clock, or they
// lack the key that a compacted topic requires.
type RecordsRejectedError struct {
	// Records has the positions in the batch of the records that the broker names.
	Records map[int]bool

	code   kafka.Error
	detail string // of the first one
}

func (e *RecordsRejectedError) Error() string { return e.code.Error() + ": " + e.detail }

// Unwrap returns the broker's code.
func (e *RecordsRejectedError) Unwrap() error { return e.code }

// recordsRejected returns the error for the records that the answer names, nil for none.
func recordsRejected(answer *produceAPI.ResponsePartition) error {
	if len(answer.RecordErrors) == 0 {
		return nil
	}
	e := &RecordsRejectedError{code: kafka.Error(answer.ErrorCode), Records: make(map[int]bool, len(answer.RecordErrors)), detail: answer.ErrorMessage}
	for _, record := range answer.RecordErrors {
		e.Records[int(record.BatchIndex)] = true
		if e.detail == "" {
			e.detail = record.BatchIndexErrorMessage
		}
	}
	return e
}

// gaveUpError ends the attempts for records that have waited for too long.
type gaveUpError struct {
	cause error
	after time.Duration
}

func (e *gaveUpError) Error() string { return fmt.Sprintf("gave up after %v: %v", e.after, e.cause) }
func (e *gaveUpError) Unwrap() error { return e.cause }

// dialError is the error of a broker that cannot be reached.
type dialError struct {
	address string
	err     error
}

func (e *dialError) Error() string {
	return fmt.Sprintf("cannot reach broker %s: %v", e.address, e.err)
}
func (e *dialError) Unwrap() error { return e.err }

// Unsent implements a classification for kafkaerr.
func (e *dialError) Unsent() bool { return true }

// authBackoffError wraps the last failed login while logins are suppressed, and is
// classified like it.
type authBackoffError struct{ error }

func (e *authBackoffError) Unwrap() error { return e.error }

// IsHeldBack reports whether err is that of a login that was not tried, because another one had
// been rejected just before.
func IsHeldBack(err error) bool {
	_, ok := errors.AsType[*authBackoffError](err)
	return ok
}

// isStaleConnection reports whether the broker had closed the connection while it was idle:
// nothing was sent, and the broker may be healthy.
func isStaleConnection(err error) bool {
	e, ok := errors.AsType[*brokerconn.Error](err)
	return ok && e.Stale()
}

// noAnswerError is the error of a request that was not answered in time.
type noAnswerError struct {
	after time.Duration
	err   error
}

func (e *noAnswerError) Error() string {
	return fmt.Sprintf("no answer within %v", e.after.Round(100*time.Millisecond))
}
func (e *noAnswerError) Unwrap() error { return e.err }

// withDuration adds to the error of a deadline how long the request took, which kafka-go does
// not report.
func withDuration(err error, began time.Time) error {
	if err == context.DeadlineExceeded {
		return &noAnswerError{time.Since(began), err}
	}
	return err
}
