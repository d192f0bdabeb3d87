// Package record makes the records of a request.
//
// A [Builder] decides how many records there are, and their topics, keys and headers. An
// [Encoder] makes their values. If [Transform]s change the message before that, it is a
// [Draft] in between; if there are none, the Encoder goes straight from the request to the
// bytes.
package record

import (
	"errors"
	"strings"
	"time"

	"kafka-upstream/internal/request"
)

// Record is one record for Kafka.
type Record struct {
	Topic   string
	Key     []byte // nil: none
	Value   []byte // nil: a null value, which is not an empty one
	Headers []Header
	Time    time.Time // of the request; zero: now
}

// Header is a header of a Record.
type Header struct {
	Key   string
	Value []byte
}

// Draft is a record whose value is not made yet. It becomes one record for each of its
// topics, of which Topic is the first.
type Draft struct {
	Record
	// Request is the request that the record is made of. It is read-only.
	Request *request.Request
	// Message is what Transforms change: JSON, as in docs/message.md. It is nil if there
	// are none: the value is then made of the Request.
	Message []byte
	Final   bool // Message is the value as it is, and need not be JSON
	Skip    bool // no record is made
	// Log is what Transforms have to say to the operator, for Kong's error log. A Transform
	// appends to it, and bounds what it appends. If a request is split, the lines of its
	// earlier elements are there.
	Log []LogLine
	// Work is for Transforms to count what they have done for the request, in a unit of
	// their own. If a request is split, that of its earlier elements is in it.
	Work int

	willBlock func() // see Block
}

// Block must be called before a Transform waits, or works for more than a tenth of a
// millisecond: the goroutine may serve other requests too. Calls after the first cost nothing.
func (d *Draft) Block() {
	if d.willBlock != nil {
		d.willBlock()
	}
}

// LogLine is a line for Kong's error log.
type LogLine struct {
	Level string // as in kong.log: debug, info, notice, warn, err, crit, alert or emerg
	Text  string // may hold text from outside
}

// Transform changes a draft: its message, its key or its headers, not its topic. It keeps
// nothing of it.
type Transform func(*Draft) error

// Encoder makes values. Many goroutines use one at once.
type Encoder interface {
	// Append appends the value of d to dst and returns the longer slice. It keeps nothing
	// of d, does not wait, and may write to all of dst's capacity. The error is a
	// [*BadRequest] if the client is at fault.
	Append(dst []byte, d *Draft) ([]byte, error)
	// Size estimates the length of the value: least is a lower bound if the value can be
	// made at all, and most is how much memory to allocate.
	Size(d *Draft) (least, most int)
}

// Serializer puts values, or keys, into the form of a schema. Many goroutines use one at once.
type Serializer interface {
	// Append appends the form of text to dst and returns the longer slice. A value is JSON,
	// or the client's claim that it is; a key is any text. It keeps nothing of them, does not
	// wait, and may write to all of dst's capacity. The error is a [*BadRequest] if the text
	// does not fit the schema, and [request.ErrTooLarge] if what becomes of it is far above
	// the limit.
	Append(dst, text []byte) ([]byte, error)
}

// BadRequest is the error of a request that cannot become a record, through a fault of the
// client.
type BadRequest struct {
	// Reason is for the client: fixed text in lower case, without any of the client's
	// bytes.
	Reason string
	Schema bool // the message or its key does not fit its schema
}

func (e *BadRequest) Error() string { return "cannot make a message of the request: " + e.Reason }

// TopicError is the error of a request for topics that are not allowed.
type TopicError struct {
	Topics []string // those that are not; text of the client
}

func (e *TopicError) Error() string {
	return "sending message to the following topics is not allowed: (" + strings.Join(e.Topics, ", ") + ")"
}

// TransformError is the error of a Transform that failed, through a fault of the
// configuration.
type TransformError struct {
	Reason string // for the log: where and why; it may hold text of the client
}

func (e *TransformError) Error() string { return "message function failed: " + e.Reason }

// ErrTooMany is the error of a body with more elements than Options.SplitLimit, or of a
// request for more than 10,000 records over all of its topics.
var ErrTooMany = errors.New("the request has more records than split_limit allows, or more than 10000 over all of its topics")
