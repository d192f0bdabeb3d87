package kongsim

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Answerer answers a plugin server's PDK calls for one request. Its methods
// are called from one goroutine per event.
type Answerer interface {
	// Answer returns the protobuf reply to a call, empty where Kong has nothing
	// to say. ok is false where Kong knows no such method or its Lua raises: the
	// client gets a 500. args are valid only during the call, and the worker
	// only reads the reply.
	Answer(method string, args []byte) (reply []byte, ok bool)
}

// Recording is what a genuine Kong answered to every PDK call of one request.
type Recording struct {
	Case string `json:"case"`
	Kong string `json:"kong"`
	// Request is the raw HTTP request.
	Request []byte `json:"request"`
	// BodyInTempFile says that get_raw_body answers with a path; the file it
	// names is gone (see WithBodyFile).
	BodyInTempFile bool   `json:"body_in_temp_file"`
	Calls          []Call `json:"calls"`
	// Response is the raw HTTP response, for its form.
	Response string `json:"response"`
}

// Call is one recorded PDK call: protobuf arguments and protobuf reply.
type Call struct {
	Method string `json:"method"`
	Args   []byte `json:"args"`
	Reply  []byte `json:"reply"`
}

// LoadRecording reads one recording, a JSON file of testdata/replies.
func LoadRecording(path string) (*Recording, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("kongsim: recording: %w", err)
	}
	r := &Recording{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("kongsim: recording %s: %w", path, err)
	}
	return r, nil
}

// Body returns the body of the raw request: what follows the first empty line.
func (r *Recording) Body() []byte {
	_, body, _ := strings.Cut(string(r.Request), "\r\n\r\n")
	return []byte(body)
}

// WithBodyFile writes the request's body to path, with the mode 0600 that nginx
// gives its temp files, and returns a copy of the recording whose get_raw_body
// names that file.
func (r *Recording) WithBodyFile(path string) (*Recording, error) {
	if err := os.WriteFile(path, r.Body(), 0o600); err != nil {
		return nil, fmt.Errorf("kongsim: body file: %w", err)
	}
	c := *r
	c.Calls = slices.Clone(r.Calls)
	for i := range c.Calls {
		if c.Calls[i].Method == "kong.request.get_raw_body" {
			c.Calls[i].Reply = stringField(2, path)
		}
	}
	c.BodyInTempFile = true
	return &c, nil
}

// Replayer answers PDK calls with recorded replies, byte by byte, and takes
// every kong.log call. It may serve many events at a time.
type Replayer struct {
	replies map[[2]string][]byte // by method and arguments
}

var _ Answerer = (*Replayer)(nil)

// Replay returns an Answerer that answers what the recording holds, and refuses
// (as Kong refuses an unknown method) what it does not hold.
func Replay(r *Recording) *Replayer {
	p := &Replayer{replies: map[[2]string][]byte{}}
	for _, c := range r.Calls {
		p.replies[[2]string{c.Method, string(c.Args)}] = c.Reply
	}
	return p
}

// Answer implements [Answerer].
func (p *Replayer) Answer(method string, args []byte) ([]byte, bool) {
	reply, ok := p.replies[[2]string{method, string(args)}]
	_, log := logLevel(method)
	return reply, ok || log
}

// logLevel returns the level that a kong.log call logs at.
func logLevel(method string) (string, bool) {
	level, ok := strings.CutPrefix(method, "kong.log.")
	if !ok {
		return "", false
	}
	switch level {
	case "debug", "info", "notice", "warn", "err", "crit", "alert": // Kong's protocol has no emerg
		return level, true
	}
	return "", false
}

// logMessage joins the arguments of a kong.log call as kong.log does: without
// anything between them.
func logMessage(args []byte) string {
	var list structpb.ListValue
	if err := proto.Unmarshal(args, &list); err != nil {
		return "(unreadable arguments)"
	}
	var b strings.Builder
	for _, v := range list.Values {
		b.WriteString(luaString(v.AsInterface()))
	}
	return b.String()
}

// rawBodyReply encodes RawBodyResult{content}, present even when empty.
func rawBodyReply(content []byte) []byte {
	b := make([]byte, 0, len(content)+8)
	return protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), content)
}
