package kongsim

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Facts are what a plugin can ask about a request that other plugins, or nginx, would have
// found out. Consumers are no entities of this stand-in.
type Facts struct {
	Consumer   *pb.Consumer                // nil: the client is not authenticated
	Credential *pb.AuthenticatedCredential // nil: likewise
	// Shared is kong.ctx.shared, and Context is ngx.ctx. Values are nil, bool, float64, string,
	// []any and map[string]any.
	Shared, Context map[string]any
	// Variables are nginx's, in place of those that this stand-in knows.
	Variables map[string]string
	Trusted   []string // addresses
}

// answerFact answers the calls for what is known of a request beside the request itself.
func (x *exchange) answerFact(method string, args []byte) (reply []byte, ok bool) {
	switch method {
	case "kong.client.get_consumer":
		return marshal(x.facts.Consumer), true
	case "kong.client.get_credential":
		return marshal(x.facts.Credential), true
	case "kong.client.get_protocol":
		if protocols := stringList(x.route.entity["protocols"]); len(protocols) == 1 {
			return stringReply(protocols[0]), true
		}
		return stringReply("http"), true
	case "kong.router.get_route":
		return entityReply(&pb.Route{}, x.route.entity), true
	case "kong.router.get_service":
		return entityReply(&pb.Service{}, x.route.service), true
	case "kong.request.get_uri_captures":
		return capturesReply(x.route.captures(normalizePath(x.path()))), true
	case "kong.ctx.shared.get", "kong.nginx.get_ctx":
		from := x.facts.Shared
		if method == "kong.nginx.get_ctx" {
			from = x.facts.Context
		}
		name, err := stringArg(args)
		return appendValue(nil, from[name]), err == nil
	case "kong.request.get_path":
		return stringReply(normalizePath(x.path())), true
	case "kong.request.get_http_version":
		return numberReply(float64(x.ProtoMajor) + float64(x.ProtoMinor)/10), true
	case "kong.nginx.req_start_time":
		return numberReply(float64(x.start.UnixMilli()) / 1000), true
	case "kong.ip.is_trusted":
		address, err := stringArg(args)
		return marshal(&pb.Bool{V: slices.Contains(x.facts.Trusted, address)}), err == nil
	case "kong.node.get_id":
		return stringReply(x.sim.nodeID), true
	}
	return nil, false
}

// length returns nginx's $request_length.
func (x *exchange) length() string {
	n := int64(len(x.line())) + 4 + x.size // two ends of lines
	for _, h := range x.headers {
		n += int64(len(h.Name) + len(": \r\n") + len(h.Value))
	}
	return strconv.FormatInt(n, 10)
}

func numberReply(v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(v))
}

func capturesReply(named map[string]string, unnamed []string) (b []byte) {
	for _, v := range unnamed {
		b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), v)
	}
	for name, v := range named {
		entry := stringField(1, name)
		if v != "" {
			entry = append(entry, stringField(2, v)...)
		}
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), entry)
	}
	return b
}

// entityReply encodes an entity as the message of m's type, as Kong does it: unlike protobuf
// it encodes a boolean that is false. A nil entity is an empty reply.
func entityReply(m proto.Message, e entity) (b []byte) {
	fields := m.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		num := fields.Get(i).Number()
		switch v := e[string(fields.Get(i).Name())].(type) {
		case string:
			if v != "" {
				b = append(b, stringField(num, v)...)
			}
		case float64:
			if v != 0 {
				b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(int64(v)))
			}
		case bool:
			b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), protowire.EncodeBool(v))
		case []any:
			for _, s := range stringList(v) {
				b = append(b, stringField(num, s)...)
			}
		case map[string]any: // a foreign key
			b = append(b, stringField(num, string(stringField(1, str(v["id"]))))...)
		}
	}
	return b
}

func marshal(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("kongsim: the facts of a request: %v", err)) // text that is not UTF-8
	}
	return b
}
