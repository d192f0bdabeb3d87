package kongpdk

import (
	"fmt"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"kafka-upstream/internal/foreign"
)

// Asks is a list of PDK calls, encoded once and put to Kong in one write: Kong
// reads frames one after another, so none has to wait for the reply to the one
// before. It is read-only once it is in use.
type Asks struct {
	frames []byte
	limits []int
}

// Add appends a call of method. args are its arguments; nil for none. A reply
// above limit bytes is not read into memory, and [Exchange.Reply] says so; 0 is
// a limit that no reply of Kong's own making reaches. Add returns the number by
// which Reply knows the call.
func (a *Asks) Add(method string, args proto.Message, limit int) int {
	if limit <= 0 {
		limit = maxReply
	}
	a.frames = appendFrame(a.frames, []byte(method))
	a.frames = appendFrame(a.frames, marshal(args))
	a.limits = append(a.limits, limit)
	return len(a.limits) - 1
}

// Len returns the number of calls.
func (a *Asks) Len() int { return len(a.limits) }

// Answer is an HTTP response by which Kong answers the client, encoded once and
// used for many requests.
type Answer struct {
	// Status of the response.
	Status int
	frames []byte
}

// NewAnswer returns the answer with that status (100 to 599), body and headers.
func NewAnswer(status int, body string, headers map[string]string) *Answer {
	fields := make(map[string]*structpb.Value, len(headers))
	for name, value := range headers {
		fields[name] = structpb.NewStringValue(value)
	}
	frames := appendFrame(nil, []byte("kong.response.exit"))
	frames = appendFrame(frames, marshal(&pb.ExitArgs{
		Status:  int32(status),
		Body:    []byte(body),
		Headers: &structpb.Struct{Fields: fields},
	}))
	return &Answer{Status: status, frames: frames}
}

// panicked answers a request whose handling has panicked, as Kong answers one
// that a plugin of its own has failed.
var panicked = NewAnswer(500, `{"message":"An unexpected error occurred"}`,
	map[string]string{"Content-Type": "application/json; charset=utf-8"})

// appendLog appends the call that writes a line into Kong's error log. The message may
// hold foreign text: it is made one line of bounded length.
func appendLog(b []byte, message string) []byte {
	b = appendFrame(b, []byte("kong.log.err"))
	return appendFrame(b, marshal(&structpb.ListValue{Values: []*structpb.Value{
		structpb.NewStringValue(foreign.Line(message)),
	}}))
}

func marshal(m proto.Message) []byte {
	if m == nil {
		return nil
	}
	b, err := proto.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("encoding %T: %v", m, err)) // only text that is not UTF-8 can fail
	}
	return b
}
