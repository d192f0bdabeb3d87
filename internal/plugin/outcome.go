package plugin

import (
	"errors"
	"fmt"
	"time"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/security"
)

// outcome is the one place that maps errors to responses. The cause of a failure goes
// into Kong's error log, and never to the client. limit is the largest message in bytes.
func outcome(err error, topic string, limit int) Response {
	if err == nil {
		return Sent.Response()
	}
	if bad, ok := errors.AsType[*record.BadRequest](err); ok {
		return response(BadBody, bad.Reason)
	}
	if _, ok := errors.AsType[*producer.TooLargeError](err); ok || errors.Is(err, request.ErrTooLarge) {
		return response(TooLarge, fmt.Sprintf("the message would be larger than %d bytes", limit))
	}
	logged := func(r Reason, line string) Response {
		a := r.Response()
		a.Log = []string{line}
		return a
	}
	if _, ok := errors.AsType[*request.BodyError](err); ok {
		return logged(BodyUnreadable, err.Error())
	}
	if _, ok := errors.AsType[*security.CertificateError](err); ok {
		return logged(NoCertificate, err.Error())
	}
	switch {
	case errors.Is(err, producer.ErrFull):
		return BufferFull.Response() // the pool's log line has the number of rejected records, and why
	case errors.Is(err, memory.ErrFull):
		return MemoryFull.Response() // as above, or in the instance's own log
	case errors.Is(err, producer.ErrClosed):
		return logged(ShuttingDown, "a record to topic "+topic+" was rejected: the server is shutting down")
	case errors.Is(err, errConfig):
		return logged(BadConfig, err.Error())
	}
	if late, ok := errors.AsType[*undeliveredError](err); ok {
		return logged(late.reason, "could not send a record to topic "+topic+": "+err.Error())
	}
	return logged(Unexpected, err.Error())
}

// errSyncTimeout is the error of a request that has waited for syncTimeout, as opposed to
// that of an attempt or of a connection that timed out.
var errSyncTimeout = errors.New("the record was not acknowledged in time")

// undeliveredError is the error of a record that was accepted by the producer, and was not
// acknowledged when its request was answered.
type undeliveredError struct {
	reason Reason        // NotDelivered or TimedOut
	why    string        // for the log
	took   time.Duration // since the request came
	err    error
}

func (e *undeliveredError) Error() string {
	took := e.took.Round(time.Millisecond)
	switch {
	case e.reason != TimedOut:
		return fmt.Sprintf("%s (after %v)", e.why, took)
	case e.why == "":
		return fmt.Sprintf("no acknowledgement within %v", took)
	}
	return fmt.Sprintf("no acknowledgement within %v: %s", took, e.why)
}

func (e *undeliveredError) Unwrap() error { return e.err }

// undeliveredAs wraps an error of Send in one that has, for the log, what has failed and how
// long after the request; topic is the record's. Errors of records that were not accepted stay as they are.
func undeliveredAs(err error, p explainer, topic string, took time.Duration) error {
	_, tooLarge := errors.AsType[*producer.TooLargeError](err)
	switch {
	case tooLarge, errors.Is(err, producer.ErrFull), errors.Is(err, memory.ErrFull), errors.Is(err, producer.ErrClosed):
		return err
	case errors.Is(err, errSyncTimeout):
		return &undeliveredError{TimedOut, p.Unavailable(topic), took, err}
	}
	return &undeliveredError{NotDelivered, p.Explain(err), took, err}
}

// explainer is what undeliveredAs needs of a [producer.Producer].
type explainer interface {
	Explain(err error) string
	Unavailable(topic string) string
}
