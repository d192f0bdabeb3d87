// Package record makes the records of a request.
//
// A [Builder] decides what records there are, with which topics, keys and headers. An
// [Encoder] makes their values. Where [Transform]s change a message before that, it is a
// [Draft] in between; where there are none, the Encoder goes straight from the request to
// the bytes.
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
	Time    time.Time // when the request came; zero: now
}

// Header is a header of a Record.
type Header struct {
	Key   string
	Value []byte
}

// Draft is a record of which the value is not made yet.
type Draft struct {
	Record
	// Request is what the record is made of. It is read-only.
	Request *request.Request
	// Message is what Transforms change: JSON, as docs/message.md has it. It is nil
	// where there are none, and the value is made of the Request.
	Message []byte
}

// Transform changes a draft: its message, its topic, key or headers.
type Transform func(*Draft) error

// Encoder makes values. Many goroutines use one at once.
type Encoder interface {
	// Append appends the value of d to dst and returns the longer slice. It keeps
	// nothing of d, and all the capacity of dst is its to write to. The error is a
	// [*BadRequest] if the client is at fault.
	Append(dst []byte, d *Draft) ([]byte, error)
	// Size estimates the length of the value: least is a lower bound if the value can be
	// made at all, and most is how much memory to allocate.
	Size(d *Draft) (least, most int)
}

// BadRequest is the error of a request that cannot become a record by a fault of the
// client.
type BadRequest struct {
	// Reason is for the client: a lower-case fragment of fixed text that holds
	// none of the client's bytes.
	Reason string
}

func (e *BadRequest) Error() string { return "the request cannot be made a message: " + e.Reason }
