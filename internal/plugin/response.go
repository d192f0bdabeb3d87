package plugin

import (
	"encoding/json"
	"iter"
	"strconv"
	"time"

	"kafka-upstream/internal/record"
)

// Response is what a door answers the client with. With status 204 a door sends neither the
// Body nor a Content-Type.
type Response struct {
	Status  int
	Body    string
	Headers []Header
	Reason  Reason
	// Log holds lines for Kong's error log, at level err. They may hold text from outside.
	Log []string
	// Lines holds lines for Kong's error log at levels of their own. A door sends the first
	// 50, before those of Log.
	Lines []record.LogLine
}

// Header is a header of a Response.
type Header struct{ Name, Value string }

// Reason is why a request was answered as it was. The zero value is Unexpected, so a Reason
// that is not set never counts as a success.
type Reason uint8

// The reasons. Each has a row in the table of responses.
const (
	Unexpected      Reason = iota // Kong's replies cannot be understood
	Sent                          // accepted; or acknowledged, without producer_async
	Filtered                      // a message function made no record of the request
	BadRequest                    // no record can be made of the request: its body cannot be parsed, or it lacks a key
	Mismatch                      // the message or its key does not fit its schema
	TooLarge                      // the message, or the number of records, is above the limit
	TopicNotAllowed               // the request names a topic that is not allowed
	NotDelivered                  // all attempts failed
	TimedOut                      // not acknowledged in time; it may still be delivered
	BufferFull                    // the record was rejected
	MemoryFull                    // the record was rejected: the memory limit of the process is reached
	Unhealthy                     // the record was rejected: the producer cannot reach its brokers
	SpoolFull                     // the record was rejected: the spool, or its disk, is full
	SpoolFailed                   // the record was rejected: the spool cannot be written
	ShuttingDown                  // the record was rejected
	NoSchema                      // a schema of the configuration cannot be had
	NoCertificate                 // the certificate of the configuration cannot be loaded
	NoToken                       // all attempts failed, the last one for want of an access token
	BadConfig                     // the configuration cannot be used
	FunctionFailed                // a message function failed
	BodyUnreadable                // the body cannot be read
	Panic                         // the handler panicked
	reasons
)

const msgNotSent = "could not send message to topic"

// table has the name of each reason, as metrics have it, and the response. Messages are
// those of Kong's own plugin, if it has one. A cause that depends on the request is empty
// here.
var table = [reasons]struct {
	name           string
	status         int
	message, cause string
}{
	Unexpected:      {"unexpected", 500, "An unexpected error occurred", ""},
	Sent:            {"sent", 200, "message sent", ""},
	Filtered:        {"filtered", 200, "message filtered", ""},
	BadRequest:      {"bad_request", 400, "Bad Request", ""},
	Mismatch:        {"mismatch", 400, "Bad Request", ""},
	TooLarge:        {"too_large", 413, "Request body too large", ""},
	TopicNotAllowed: {"topic_not_allowed", 502, "Bad Gateway", "one or more target topics are not in the allowed topics list"},
	NotDelivered:    {"not_delivered", 502, "Bad Gateway", msgNotSent},
	TimedOut:        {"timed_out", 502, "Bad Gateway", msgNotSent},
	BufferFull:      {"buffer_full", 503, "Service Unavailable", msgNotSent},
	MemoryFull:      {"memory_full", 503, "Service Unavailable", msgNotSent},
	Unhealthy:       {"unhealthy", 503, "Service Unavailable", msgNotSent},
	SpoolFull:       {"spool_full", 503, "Service Unavailable", msgNotSent},
	SpoolFailed:     {"spool_failed", 503, "Service Unavailable", msgNotSent},
	ShuttingDown:    {"shutting_down", 503, "Service Unavailable", msgNotSent},
	NoSchema:        {"no_schema", 502, "Bad Gateway", "could not get schema"},
	NoCertificate:   {"no_certificate", 502, "Bad Gateway", "could not load certificate"},
	NoToken:         {"no_token", 502, "Bad Gateway", "could not get token"},
	BadConfig:       {"bad_config", 500, "Internal Server Error", errConfig.Error()},
	FunctionFailed:  {"function_failed", 500, "Internal Server Error", "message function failed"},
	BodyUnreadable:  {"no_body", 500, "Internal Server Error", "could not read request body"},
	Panic:           {"panic", 500, "An unexpected error occurred", ""},
}

// Reasons returns all reasons.
func Reasons() iter.Seq[Reason] {
	return func(yield func(Reason) bool) {
		for r := range reasons {
			if !yield(r) {
				return
			}
		}
	}
}

// row returns r, or Unexpected if there is no such reason.
func (r Reason) row() Reason {
	if r >= reasons {
		return Unexpected
	}
	return r
}

// String returns the value of the label reason.
func (r Reason) String() string { return table[r.row()].name }

// Status returns the HTTP status of the response.
func (r Reason) Status() int { return table[r.row()].status }

// hasCause reports whether a client may be told why a request failed for r, if the
// configuration says so. The other reasons say it anyway, or have a text that Kong's own
// plugin documents.
func (r Reason) hasCause() bool {
	return r.Status() >= 500 && table[r.row()].cause != "" && r != TopicNotAllowed
}

// Response returns the response for the reason, without a cause that depends on the
// request.
func (r Reason) Response() Response { return responses[r.row()] }

// responses are made once, so that an ordinary request allocates nothing for its own.
var responses = func() (all [reasons]Response) {
	for r := range reasons {
		all[r] = response(r, table[r].cause)
	}
	return all
}()

var (
	headers      = []Header{{"Content-Type", "application/json; charset=utf-8"}}
	headersRetry = headersRetryAfter(1)
)

// headersRetryAfter returns the headers of a 503, after which a client may try again in that
// many seconds.
func headersRetryAfter(seconds time.Duration) []Header {
	return append(headers[:1:1], Header{"Retry-After", strconv.Itoa(int(seconds))})
}

// response returns the response for r with that cause, which the client reads.
func response(r Reason, cause string) Response {
	row := table[r]
	body, err := json.Marshal(struct {
		Message string `json:"message"`
		Error   string `json:"error,omitempty"`
	}{row.message, cause})
	if err != nil {
		panic(err) // two strings
	}
	a := Response{Status: row.status, Body: string(body), Headers: headers, Reason: r}
	if row.status == 503 {
		a.Headers = headersRetry
	}
	return a
}
