package kongpdk

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/plugin"
)

// calls is a list of PDK calls, encoded once and sent to Kong in one write: Kong reads frames
// one after another, so no call has to wait for the reply to the one before. It is read-only
// once in use.
type calls struct {
	frames []byte
	limits []int
}

// add appends a call of method. args are its arguments; nil for none. A reply above limit
// bytes is not read into memory, and [Exchange.reply] returns an error for it; 0 is maxReply,
// which no reply that Kong makes itself reaches. The result is the number of the call, for
// reply.
func (c *calls) add(method string, args proto.Message, limit int) int {
	if limit <= 0 {
		limit = maxReply
	}
	c.frames = appendFrame(c.frames, []byte(method))
	c.frames = appendFrame(c.frames, marshal(args))
	c.limits = append(c.limits, limit)
	return len(c.limits) - 1
}

// size returns the number of calls.
func (c *calls) size() int { return len(c.limits) }

// appendExit appends the call with which Kong answers the client. Its arguments are an
// ExitArgs of go-pdk, encoded by hand so that nothing is allocated for them.
func appendExit(b []byte, a *plugin.Response) []byte {
	if a.Status == http.StatusNoContent {
		a = withoutContent(a)
	}
	const stringValue = 3 // of a google.protobuf.Value
	entry := func(h plugin.Header) (value, entry int) {
		value = protowire.SizeTag(stringValue) + protowire.SizeBytes(len(h.Value))
		return value, protowire.SizeTag(1) + protowire.SizeBytes(len(h.Name)) + protowire.SizeTag(2) + protowire.SizeBytes(value)
	}
	headers := 0
	for _, h := range a.Headers {
		_, n := entry(h)
		headers += protowire.SizeTag(1) + protowire.SizeBytes(n)
	}
	b = appendFrame(b, []byte("kong.response.exit"))
	size := protowire.SizeTag(1) + protowire.SizeVarint(uint64(a.Status)) + protowire.SizeTag(2) + protowire.SizeBytes(len(a.Body)) +
		protowire.SizeTag(3) + protowire.SizeBytes(headers)
	b = appendFrameHeader(b, size)
	b = protowire.AppendTag(b, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(a.Status))
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendString(b, a.Body)
	b = protowire.AppendTag(b, 3, protowire.BytesType) // a google.protobuf.Struct
	b = protowire.AppendVarint(b, uint64(headers))
	for _, h := range a.Headers {
		value, n := entry(h)
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(n))
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendString(b, h.Name)
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(value))
		b = protowire.AppendTag(b, stringValue, protowire.BytesType)
		b = protowire.AppendString(b, h.Value)
	}
	return b
}

// withoutContent returns a if it has no content, and else a copy without the body and without
// the header that says what it is.
func withoutContent(a *plugin.Response) *plugin.Response {
	contentType := func(h plugin.Header) bool { return strings.EqualFold(h.Name, "Content-Type") }
	if a.Body == "" && !slices.ContainsFunc(a.Headers, contentType) {
		return a
	}
	return &plugin.Response{Status: a.Status, Headers: slices.DeleteFunc(slices.Clone(a.Headers), contentType)}
}

// appendLog appends the call that writes a line into Kong's error log at that level, which is
// err if Kong has none of that name. The text may be foreign: it is made one line of bounded
// length.
func appendLog(b []byte, level, text string) []byte {
	switch level {
	case "debug", "info", "notice", "warn", "err", "crit", "alert":
	case "emerg": // Kong's protocol has no call for it
		level = "alert"
	default:
		level = "err"
	}
	b = appendFrame(b, []byte("kong.log."), []byte(level))
	return appendFrame(b, marshal(&structpb.ListValue{Values: []*structpb.Value{
		structpb.NewStringValue(foreign.Line(text)),
	}}))
}

// appendReturn appends the return of a command, which ends it.
func appendReturn(b []byte, ret *pb.RpcReturn) []byte { return appendFrame(b, marshal(ret)) }

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
