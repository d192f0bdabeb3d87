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
// connection, nobody to connect to, or somebody who is no Kafka broker.
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

// stale reports whether err is of a connection that the broker had ended while it was
// idle: nothing was sent, and nothing is known against the broker.
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
	at    place
}

func (e *gaveUpError) Error() string { return fmt.Sprintf("gave up after %v: %v", e.after, e.cause) }

// Cause returns why there was to wait.
func (e *gaveUpError) Cause() error { return e.cause }

// temporary is an error after which the Writer may try again.
type temporary struct {
	error
	at place
}

func (e temporary) Unwrap() error   { return e.error }
func (e temporary) Temporary() bool { return true }

// recordsRefusedError is of a batch that the broker refused for some of its records,
// which it names (KIP-467): their timestamps are too far from its clock, or they lack
// the key that a compacted topic wants.
type recordsRefusedError struct {
	code    kafka.Error
	records map[int]bool // by their place in the batch
	detail  string       // of the first one
	at      place
}

func (e *recordsRefusedError) Error() string { return e.code.Error() + ": " + e.detail }
func (e *recordsRefusedError) Unwrap() error { return e.code }

// recordsRefused returns what the answer says of single records, nil for nothing.
func recordsRefused(answer *produceAPI.ResponsePartition, at place) error {
	if len(answer.RecordErrors) == 0 {
		return nil
	}
	e := &recordsRefusedError{code: kafka.Error(answer.ErrorCode), records: make(map[int]bool, len(answer.RecordErrors)), detail: answer.ErrorMessage, at: at}
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

func (t *transport) where(req *produceAPI.Request) place {
	return t.leader(req.Topics[0].Partitions[0].Partition)
}

// placeOf returns where a message was to go. kafka-go tells its partition only
// where a broker has answered; else the error does, and where there was no
// layout yet, nobody knows.
func (t *transport) placeOf(m kafka.Message, err error) place {
	if e, ok := errors.AsType[temporary](err); ok {
		return e.at
	}
	if e, ok := errors.AsType[*gaveUpError](err); ok {
		return e.at
	}
	if e, ok := errors.AsType[*recordsRefusedError](err); ok {
		return e.at
	}
	if t.layout.Load() == nil {
		return place{partition: -1, broker: "unknown"}
	}
	return t.leader(int32(m.Partition))
}

func (t *transport) leader(partition int32) place {
	at := place{partition: partition, broker: "unknown"}
	l := t.layout.Load()
	if l == nil {
		return at
	}
	for _, topic := range l.response.Topics {
		for _, p := range topic.Partitions {
			if topic.Name != t.topic || p.PartitionIndex != partition {
				continue
			}
			for _, b := range l.response.Brokers {
				if b.NodeID == p.LeaderID {
					at.broker = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
				}
			}
		}
	}
	return at
}
