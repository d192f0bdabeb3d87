package plugin

import (
	"errors"
	"fmt"
	"time"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/registry"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/security"
)

// outcome is the one place that maps errors to responses. The cause of a failure goes
// into Kong's error log, and never to the client. limit is the largest message in bytes.
func outcome(err error, topic string, limit int) Response {
	switch err {
	case nil:
		return Sent.Response()
	case errFiltered:
		return Filtered.Response()
	}
	if bad, ok := errors.AsType[*record.BadRequest](err); ok && bad.Schema {
		return response(Mismatch, bad.Reason)
	} else if ok {
		return response(BadRequest, bad.Reason)
	}
	if _, ok := errors.AsType[*producer.TooLargeError](err); ok || errors.Is(err, request.ErrTooLarge) {
		return response(TooLarge, fmt.Sprintf("the message would be larger than %d bytes", limit))
	}
	if errors.Is(err, record.ErrTooMany) {
		return response(TooLarge, err.Error())
	}
	logged := func(r Reason, line string) Response {
		a := r.Response()
		a.Log = []string{line}
		return a
	}
	if _, ok := errors.AsType[*request.BodyError](err); ok {
		return logged(BodyUnreadable, err.Error())
	}
	if _, ok := errors.AsType[*registry.UnavailableError](err); ok { // a certificate may be the cause
		return logged(NoSchema, err.Error())
	}
	if _, ok := errors.AsType[*registry.SchemaError](err); ok {
		return logged(BadConfig, err.Error())
	}
	if _, ok := errors.AsType[*security.CertificateError](err); ok {
		return logged(NoCertificate, err.Error())
	}
	if _, ok := errors.AsType[*record.TopicError](err); ok {
		return logged(TopicNotAllowed, err.Error())
	}
	if _, ok := errors.AsType[*record.TransformError](err); ok {
		return logged(FunctionFailed, err.Error())
	}
	switch {
	case errors.Is(err, producer.ErrFull):
		return BufferFull.Response() // the pool's log line has the number of rejected records, and why
	case errors.Is(err, memory.ErrFull):
		return MemoryFull.Response() // as above, or in the instance's own log
	case errors.Is(err, producer.ErrUnhealthy):
		return Unhealthy.Response() // as above
	case errors.Is(err, producer.ErrSpoolFull):
		return SpoolFull.Response() // as above
	case errors.Is(err, producer.ErrSpoolFailed):
		return SpoolFailed.Response() // as above
	case errors.Is(err, producer.ErrClosed):
		return logged(ShuttingDown, "a record to topic "+topic+" was rejected: the server is shutting down")
	case errors.Is(err, errConfig):
		return logged(BadConfig, err.Error())
	}
	if late, ok := errors.AsType[*undeliveredError](err); ok {
		return logged(late.reason, late.Error())
	}
	return logged(Unexpected, err.Error())
}

// errFiltered is the end of a request that a message function skipped.
var errFiltered = errors.New("filtered by a message function")

// errSyncTimeout is the error of a request that has waited for syncTimeout, as opposed to
// that of an attempt or of a connection that timed out.
var errSyncTimeout = errors.New("the record was not acknowledged in time")

// undeliveredError is the error of a record that was accepted by the producer, and was not
// acknowledged when its request was answered.
type undeliveredError struct {
	reason Reason // NotDelivered, NoToken or TimedOut
	topic  string
	cause  string        // for a client that may know it
	why    string        // for the log
	took   time.Duration // since the request came
	err    error
}

func (e *undeliveredError) Error() string {
	took := e.took.Round(time.Millisecond)
	why := fmt.Sprintf("%s (after %v)", e.why, took)
	if e.reason == TimedOut {
		why = fmt.Sprintf("no acknowledgement within %v", took)
		if e.why != "" {
			why += ": " + e.why
		}
	}
	return "could not send a record to topic " + e.topic + ": " + why
}

func (e *undeliveredError) Unwrap() error { return e.err }

// undeliveredAs wraps the result of a record that was accepted and not delivered in an error
// that has, for the log, what has failed and how long after the request.
func undeliveredAs(err error, p explainer, topic string, took time.Duration) error {
	if errors.Is(err, errSyncTimeout) {
		return &undeliveredError{TimedOut, topic, "no acknowledgement in time", p.Unavailable(topic), took, err}
	}
	reason := NotDelivered
	if _, ok := errors.AsType[*security.TokenError](err); ok {
		reason = NoToken
	}
	return &undeliveredError{reason, topic, p.Cause(err), p.Explain(err), took, err}
}

// explainer is what undeliveredAs needs of a [producer.Handle].
type explainer interface {
	Cause(err error) string
	Explain(err error) string
	Unavailable(topic string) string
}
