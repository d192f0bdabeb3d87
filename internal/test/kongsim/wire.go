package kongsim

import (
	"errors"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Kong's strings are bytes, which go-pdk's generated messages refuse to carry
// when they are not UTF-8. So replies are written, and arguments read, at wire
// level.

var errBadMessage = errors.New("malformed protobuf message")

// field is one field of a message: num for varint and fixed types, bytes for
// length-delimited ones.
type field struct {
	typ   protowire.Type
	num   uint64
	bytes []byte
}

func eachField(b []byte, f func(protowire.Number, field) error) error {
	for len(b) > 0 {
		n, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errBadMessage
		}
		b = b[size:]
		v := field{typ: typ}
		switch typ {
		case protowire.VarintType:
			v.num, size = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v.num, size = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var x uint32
			x, size = protowire.ConsumeFixed32(b)
			v.num = uint64(x)
		case protowire.BytesType:
			v.bytes, size = protowire.ConsumeBytes(b)
		default:
			return errBadMessage
		}
		if size < 0 {
			return errBadMessage
		}
		b = b[size:]
		if err := f(n, v); err != nil {
			return err
		}
	}
	return nil
}

// stringReply encodes String{v}: nothing at all when v is empty.
func stringReply(v string) []byte {
	if v == "" {
		return nil
	}
	return stringField(1, v)
}

// stringArg decodes String{v}.
func stringArg(b []byte) (v string, err error) {
	err = eachField(b, func(n protowire.Number, f field) error {
		if n == 1 {
			v = string(f.bytes)
		}
		return nil
	})
	return v, err
}

func intReply(v int) []byte {
	if v == 0 {
		return nil
	}
	return int32Field(1, int32(v))
}

func intArg(b []byte) (v int, err error) {
	err = eachField(b, func(n protowire.Number, f field) error {
		if n == 1 {
			v = int(int32(f.num))
		}
		return nil
	})
	return v, err
}

// pair is one entry of a Struct; the value is a string, true, or a []any of
// these.
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

// appendValue encodes google.protobuf.Value.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), v)
	case bool:
		return protowire.AppendVarint(protowire.AppendTag(b, 4, protowire.VarintType), protowire.EncodeBool(v))
	case []any:
		var list []byte
		for _, e := range v {
			list = protowire.AppendBytes(protowire.AppendTag(list, 1, protowire.BytesType), appendValue(nil, e))
		}
		return protowire.AppendBytes(protowire.AppendTag(b, 6, protowire.BytesType), list)
	}
	return protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), 0)
}

// maxDepth bounds the nesting of a Value from a plugin server.
const maxDepth = 32

// decodeValue decodes google.protobuf.Value into nil, float64, string, bool,
// []pair or []any.
func decodeValue(b []byte, depth int) (v any, err error) {
	if depth > maxDepth {
		return nil, errBadMessage
	}
	err = eachField(b, func(n protowire.Number, f field) (err error) {
		switch n {
		case 1:
			v = nil
		case 2:
			v = math.Float64frombits(f.num)
		case 3:
			v = string(f.bytes)
		case 4:
			v = f.num != 0
		case 5:
			v, err = decodeStruct(f.bytes, depth+1)
		case 6:
			v, err = decodeList(f.bytes, depth+1)
		}
		return err
	})
	return v, err
}

// decodeStruct decodes google.protobuf.Struct, in the order of the wire.
func decodeStruct(b []byte, depth int) ([]pair, error) {
	var pairs []pair
	err := eachField(b, func(n protowire.Number, f field) error {
		if n != 1 {
			return nil
		}
		var p pair
		err := eachField(f.bytes, func(n protowire.Number, f field) (err error) {
			switch n {
			case 1:
				p.name = string(f.bytes)
			case 2:
				p.value, err = decodeValue(f.bytes, depth)
			}
			return err
		})
		pairs = append(pairs, p)
		return err
	})
	return pairs, err
}

// decodeList decodes google.protobuf.ListValue.
func decodeList(b []byte, depth int) ([]any, error) {
	var list []any
	err := eachField(b, func(n protowire.Number, f field) error {
		if n != 1 {
			return nil
		}
		v, err := decodeValue(f.bytes, depth)
		list = append(list, v)
		return err
	})
	return list, err
}
