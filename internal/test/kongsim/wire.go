package kongsim

import (
	"errors"
	"maps"
	"math"
	"slices"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Kong's strings are bytes, which go-pdk's generated messages refuse to carry
// when they are not UTF-8. So replies are written, and arguments read, at wire
// level.

var errBadMessage = errors.New("malformed protobuf message")

// stringReply encodes String{v}: nothing at all when v is empty.
func stringReply(v string) []byte {
	if v == "" {
		return nil
	}
	return stringField(1, v)
}

// stringArg decodes String{v}.
func stringArg(b []byte) (string, error) {
	var m pb.String
	err := proto.Unmarshal(b, &m)
	return m.V, err
}

func intReply(v int) []byte {
	if v == 0 {
		return nil
	}
	return int32Field(1, int32(v))
}

func intArg(b []byte) (int, error) {
	var m pb.Int
	err := proto.Unmarshal(b, &m)
	return int(m.V), err
}

// pair is one entry of a Struct.
type pair struct {
	name  string
	value any
}

// structReply encodes google.protobuf.Struct.
func structReply(pairs []pair) []byte {
	var b, entry []byte
	for _, p := range pairs {
		entry = protowire.AppendString(protowire.AppendTag(entry[:0], 1, protowire.BytesType), p.name)
		entry = protowire.AppendBytes(protowire.AppendTag(entry, 2, protowire.BytesType), appendValue(nil, p.value))
		b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), entry)
	}
	return b
}

// appendValue encodes google.protobuf.Value as Kong does: an empty Lua table, which may be
// meant as a list, is a Struct, a list ends before its first nil, and nil is a null_value of 1.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case float64:
		return protowire.AppendFixed64(protowire.AppendTag(b, 2, protowire.Fixed64Type), math.Float64bits(v))
	case map[string]any:
		var pairs []pair
		for _, name := range slices.Sorted(maps.Keys(v)) {
			pairs = append(pairs, pair{name, v[name]})
		}
		return protowire.AppendBytes(protowire.AppendTag(b, 5, protowire.BytesType), structReply(pairs))
	case string:
		return protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), v)
	case bool:
		return protowire.AppendVarint(protowire.AppendTag(b, 4, protowire.VarintType), protowire.EncodeBool(v))
	case []any:
		if len(v) == 0 {
			return appendValue(b, map[string]any{})
		}
		var list []byte
		for _, e := range v {
			if e == nil {
				break
			}
			list = protowire.AppendBytes(protowire.AppendTag(list, 1, protowire.BytesType), appendValue(nil, e))
		}
		return protowire.AppendBytes(protowire.AppendTag(b, 6, protowire.BytesType), list)
	}
	return protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), 1)
}
