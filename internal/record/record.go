// Package record makes the records of a request.
//
// A [Builder] decides how many records there are, and their topics, keys and headers. An
// [Encoder] makes their values. If [Transform]s change the message before that, it is a
// [Draft] in between; if there are none, the Encoder goes straight from the request to the
// bytes.
package record

import (
	"time"

	"kafka-upstream/internal/request"
)

// Record is one record for Kafka.
type Record struct {
	Topic   string
	Key     []byte // nil: any partition
	Value   []byte
	Headers []Header
	Time    time.Time // of the request; zero: now
}

// Header is a header of a Record.
type Header struct {
	Key   string
	Value []byte
}

// Draft is a record whose value is not made yet.
type Draft struct {
	Record
	// Request is the request that the record is made of. It is read-only.
	Request *request.Request
	// Message is what Transforms change: JSON, as in docs/message.md. It is nil if there
	// are none: the value is then made of the Request.
	Message []byte
}

// Transform changes a draft: its message, its topic, key or headers.
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

// BadRequest is the error of a request that cannot become a record, through a fault of the
// client.
type BadRequest struct {
	// Reason is for the client: fixed text in lower case, without any of the client's
	// bytes.
	Reason string
}

func (e *BadRequest) Error() string { return "cannot make a message of the request: " + e.Reason }
