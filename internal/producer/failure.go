package producer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	produceAPI "github.com/segmentio/kafka-go/protocol/produce"

	"kafka-upstream/internal/producer/brokerconn"
)

// unsent reports whether err shows that no record went out: there was no
// connection, no broker to connect to, or a peer that is not a Kafka broker.
func unsent(err error) bool {
	if _, ok := errors.AsType[*dialError](err); ok {
		return true
	}
	if e, ok := errors.AsType[*brokerconn.Error](err); ok && e.Unsent() {
		return true
	}
	// What the Transport says of a layout it does not have.
	for _, e := range []error{protocol.ErrNoTopic, protocol.ErrNoPartition, protocol.ErrNoLeader, kafka.BrokerNotAvailable} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// stale reports whether err is that of a connection that the broker had closed while it
// was idle: nothing was sent, and the broker may be healthy.
func stale(err error) bool {
	e, ok := errors.AsType[*brokerconn.Error](err)
	return ok && e.Stale()
}

// unreachable reports whether err, of a request for the layout, shows that no
// broker can be talked to: none is there, or those that are hang up or fall
// silent. A broker that answers and says no, to our password for one, can be
// reached.
func (t *transport) unreachable(err error) bool {
	if err == nil || t.refused != nil && t.refused(err) {
		return false
	}
	if unsent(err) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		return true
	}
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNREFUSED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// pending reports whether err says that there is no such topic, or not yet.
func pending(err error) bool {
	return errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, kafka.LeaderNotAvailable)
}

// gaveUpError ends the attempts for a record that has waited for long enough. It
// does not unwrap, or the Writer would find that its cause may pass.
type gaveUpError struct {
	cause error
	after time.Duration
}

func (e *gaveUpError) Error() string { return fmt.Sprintf("gave up after %v: %v", e.after, e.cause) }

// Cause returns why there was to wait.
func (e *gaveUpError) Cause() error { return e.cause }

// noAnswerError is the error of a request that was not answered within its attempt.
type noAnswerError struct {
	after time.Duration
	err   error
}

func (e *noAnswerError) Error() string {
	return fmt.Sprintf("no answer within %v", e.after.Round(100*time.Millisecond))
}

func (e *noAnswerError) Unwrap() error { return e.err }

// answered returns err, or a noAnswerError for a deadline that has passed: kafka-go does
// not say how long the request took.
func answered(began time.Time, err error) error {
	if err == context.DeadlineExceeded {
		return &noAnswerError{time.Since(began), err}
	}
	return err
}

// partitionGoneError ends the attempts for a batch whose partition no longer exists, as
// when the topic was recreated with fewer. Like gaveUpError it does not unwrap.
type partitionGoneError struct {
	topic     string
	partition int32
	now       int // how many partitions the topic has
}

func (e *partitionGoneError) Error() string {
	return fmt.Sprintf("partition %d of topic %s, to which the record's key belongs, is gone: the topic has %d partitions now", e.partition, e.topic, e.now)
}

// Cause returns what brokers say of such a partition.
func (e *partitionGoneError) Cause() error { return kafka.UnknownTopicOrPartition }

// undeliveredError is the result for a sender that waits: the error, and the partition
// and leader of its record.
type undeliveredError struct {
	error
	at place
}

func (e *undeliveredError) Unwrap() error { return e.error }

// orphanedError is the error of records that were undelivered when the orphan timeout
// was over.
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

// temporary is an error after which the Writer may try again.
type temporary struct{ error }

func (e temporary) Unwrap() error   { return e.error }
func (e temporary) Temporary() bool { return true }

// recordsRefusedError is of a batch that the broker refused for some of its records,
// which it names (KIP-467): their timestamps are too far from its clock, or they lack
// the key that a compacted topic wants.
type recordsRefusedError struct {
	code    kafka.Error
	records map[int]bool // by their place in the batch
	detail  string       // of the first one
}

func (e *recordsRefusedError) Error() string { return e.code.Error() + ": " + e.detail }
func (e *recordsRefusedError) Unwrap() error { return e.code }

// recordsRefused returns what the answer says of single records, nil for nothing.
func recordsRefused(answer *produceAPI.ResponsePartition) error {
	if len(answer.RecordErrors) == 0 {
		return nil
	}
	e := &recordsRefusedError{code: kafka.Error(answer.ErrorCode), records: make(map[int]bool, len(answer.RecordErrors)), detail: answer.ErrorMessage}
	for _, record := range answer.RecordErrors {
		e.records[int(record.BatchIndex)] = true
		if e.detail == "" {
			e.detail = record.BatchIndexErrorMessage
		}
	}
	return e
}

// place is where records go: a partition, and its leader as far as is known.
type place struct {
	partition int32
	broker    string
}

// leader returns a partition with the address of its leader, as far as it is known.
func (t *transport) leader(partition int32) place {
	at := place{partition: partition, broker: "unknown"}
	l := t.layout.Load()
	if l == nil {
		return at
	}
	for _, p := range l.partitions {
		if p.PartitionIndex != partition {
			continue
		}
		for _, b := range l.response.Brokers {
			if b.NodeID == p.LeaderID {
				at.broker = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
			}
		}
	}
	return at
}
