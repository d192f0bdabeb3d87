package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"kafka-upstream/internal/kongpdk"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/metrics"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/security"
)

// errConfig is the error of a configuration that cannot be used.
var errConfig = errors.New("invalid plugin configuration")

// errOutOfTime is the error of a request that has waited for syncTimeout, as opposed to
// that of an attempt or of a connection that timed out.
var errOutOfTime = errors.New("the request has no time left")

// body is what a client reads.
type body struct {
	Message string `json:"message"`
	Error   string `json:"error,omitempty"`
}

func answer(status int, message, cause string, headers ...string) *kongpdk.Answer {
	b, err := json.Marshal(body{message, cause})
	if err != nil {
		panic(err) // two strings
	}
	h := map[string]string{"Content-Type": "application/json; charset=utf-8"}
	for i := 0; i+1 < len(headers); i += 2 {
		h[headers[i]] = headers[i+1]
	}
	return kongpdk.NewAnswer(status, string(b), h)
}

const notSent = "could not send message to topic"

// The answers, encoded once. Kong's own plugin has the words of the first two.
var (
	sent        = answer(200, "message sent", "")
	undelivered = answer(502, "Bad Gateway", notSent)
	unavailable = answer(503, "Service Unavailable", notSent, "Retry-After", "1")
	noCert      = answer(502, "Bad Gateway", "could not load certificate")
	badConfig   = answer(500, "Internal Server Error", errConfig.Error())
	noBody      = answer(500, "Internal Server Error", "could not read request body")
	unexpected  = answer(500, "An unexpected error occurred", "")
)

// undeliveredError is the error of a record that the producer has accepted and that was
// not acknowledged when its request is answered.
type undeliveredError struct {
	why      string        // for the log
	took     time.Duration // since the request came
	timedOut bool          // the request has no time left; the record may still be delivered
	err      error
}

func (e *undeliveredError) Error() string {
	took := e.took.Round(time.Millisecond)
	switch {
	case !e.timedOut:
		return fmt.Sprintf("%s (after %v)", e.why, took)
	case e.why == "":
		return fmt.Sprintf("no acknowledgement within %v", took)
	}
	return fmt.Sprintf("no acknowledgement within %v: %s", took, e.why)
}

func (e *undeliveredError) Unwrap() error { return e.err }

// undeliveredAs wraps an error of Send in one that says, for the log, what has failed and
// how long after the request. Errors of records that were not accepted stay as they are.
func undeliveredAs(err error, p explainer, took time.Duration) error {
	_, tooLarge := errors.AsType[*producer.TooLargeError](err)
	switch {
	case tooLarge, errors.Is(err, producer.ErrFull), errors.Is(err, memory.ErrFull), errors.Is(err, producer.ErrClosed):
		return err
	case errors.Is(err, errOutOfTime):
		return &undeliveredError{p.Trouble(), took, true, err}
	}
	return &undeliveredError{p.Explain(err), took, false, err}
}

// explainer is what undeliveredAs needs of a [producer.Producer].
type explainer interface {
	Explain(err error) string
	Trouble() string
}

// outcome is how a request ends: the answer, and the line for Kong's error log,
// "" for none. The cause of a failure goes there and never to the client.
type outcome struct {
	answer *kongpdk.Answer
	reason metrics.Reason
	log    string
}

// outcomeOf is the one place that maps errors to answers. limit is the largest
// message in bytes.
func outcomeOf(err error, topic string, limit int) outcome {
	if err == nil {
		return outcome{sent, metrics.Sent, ""}
	}
	if bad, ok := errors.AsType[*jsonmsg.BadRequest](err); ok {
		return outcome{answer(400, "Bad Request", bad.Reason), metrics.BadBody, ""}
	}
	if _, ok := errors.AsType[*producer.TooLargeError](err); ok || errors.Is(err, request.ErrTooLarge) {
		return outcome{answer(413, "Request body too large",
			fmt.Sprintf("the message would be larger than %d bytes", limit)), metrics.TooLarge, ""}
	}
	if bad, ok := errors.AsType[*request.BodyError](err); ok {
		return outcome{noBody, metrics.NoBody, bad.Reason}
	}
	if _, ok := errors.AsType[*security.CertificateError](err); ok {
		return outcome{noCert, metrics.NoCertificate, err.Error()}
	}
	switch {
	case errors.Is(err, producer.ErrFull):
		return outcome{unavailable, metrics.BufferFull, ""} // the producer's news tell how many, and why
	case errors.Is(err, memory.ErrFull):
		return outcome{unavailable, metrics.MemoryFull, ""} // likewise
	case errors.Is(err, producer.ErrClosed):
		return outcome{unavailable, metrics.ShuttingDown, "a record to topic " + topic + " was refused: the server is shutting down"}
	case errors.Is(err, errConfig):
		return outcome{badConfig, metrics.BadConfig, err.Error()}
	case errors.Is(err, errConversation):
		return outcome{unexpected, metrics.Unexpected, err.Error()}
	}
	line := "could not send a record to topic " + topic + ": " + err.Error()
	if late, ok := errors.AsType[*undeliveredError](err); ok && late.timedOut {
		return outcome{undelivered, metrics.TimedOut, line}
	}
	return outcome{undelivered, metrics.NotDelivered, line}
}
