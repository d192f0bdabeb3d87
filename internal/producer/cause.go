package producer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/memory"
)

// maxCause is the most bytes that Cause returns: it is for an HTTP answer.
const maxCause = 512

// Explain returns an error of Send, or of a Result, as a sentence for a log, which names the broker and has
// no secrets.
func (h *Handle) Explain(err error) string {
	if isOwn(err) {
		return err.Error()
	}
	return h.producer.wording.sentence(err, locationOf(err))
}

// Cause returns an error of Send as a sentence for the client (error_handling.return_error_message):
// at most 512 bytes, in one line, which name the broker, its error as Kong does, such as
// TopicAuthorizationFailed, and that error's meaning. It has no secrets. Unlike Explain, it has
// none of the texts that brokers send with their errors, which may be about others' records.
func (h *Handle) Cause(err error) string {
	if isOwn(err) {
		return err.Error()
	}
	at := locationOf(err)
	if code, ok := errors.AsType[kafka.Error](err); ok {
		err = brokerError(code)
	}
	return foreign.Cut(h.producer.wording.sentence(err, at), maxCause)
}

// isOwn reports whether err concerns no broker.
func isOwn(err error) bool {
	for _, own := range []error{ErrFull, memory.ErrFull, ErrClosed, ErrUnhealthy, errAbandoned} {
		if errors.Is(err, own) {
			return true
		}
	}
	_, tooLarge := errors.AsType[*TooLargeError](err)
	return tooLarge
}

// locationOf returns the partition and broker of an error of Send.
func locationOf(err error) partitionLeader {
	if e, ok := errors.AsType[*undeliveredError](err); ok {
		return e.at
	}
	return noPartition
}

// brokerError is an error code of a broker, alone.
type brokerError kafka.Error

func (e brokerError) Error() string {
	code := kafka.Error(e)
	name := strings.ReplaceAll(code.Title(), " ", "")
	if name == "" {
		return fmt.Sprintf("Kafka's error %d", e)
	}
	return name + ": " + code.Description()
}
