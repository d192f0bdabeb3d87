package kongpdk

import (
	"errors"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// About how many bytes a value takes beside its text, in an interface, a list or a map, with
// what growing the list or the map leaves to the garbage collector.
const (
	valueSize = 48
	entrySize = 80  // beside the value
	mapSize   = 320 // with room for its first entries
)

// maxDepth bounds how deep lists and maps are nested in a fact.
const maxDepth = 100

var errDepth = errors.New("its lists and tables are nested too deep")

// wireValue is the value of a field: bytes, or the number in a varint or a fixed64.
type wireValue struct {
	typ    protowire.Type
	bytes  []byte
	number uint64
}

// eachField calls f for each field of the message b, in order.
func eachField(b []byte, f func(num protowire.Number, v wireValue) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errReply
		}
		b = b[n:]
		v := wireValue{typ: typ}
		switch typ {
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v.number, n = protowire.ConsumeFixed64(b)
		default: // none of Kong's
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return errReply
		}
		b = b[n:]
		if err := f(num, v); err != nil {
			return err
		}
	}
	return nil
}

// string returns a copy of b.
func (m *factBuilder) string(b []byte) (any, error) {
	if err := m.take(valueSize + len(b)); err != nil {
		return nil, err
	}
	return string(b), nil
}

// text reads a String.
func (m *factBuilder) text(b []byte) (any, error) {
	v, err := parseText(b)
	if err != nil {
		return nil, err
	}
	return m.string(v)
}

// optionalText reads a String that is empty if there is none.
func (m *factBuilder) optionalText(b []byte) (any, error) {
	v, err := parseText(b)
	if err != nil || len(v) == 0 {
		return nil, err
	}
	return m.string(v)
}

// integer reads an Int.
func (m *factBuilder) integer(b []byte) (v any, err error) {
	v = 0.0
	err = eachField(b, func(num protowire.Number, f wireValue) error {
		if num == 1 && f.typ == protowire.VarintType {
			v = float64(int32(f.number))
		}
		return nil
	})
	return v, err
}

// boolean reads a Bool.
func (m *factBuilder) boolean(b []byte) (v any, err error) {
	v = false
	err = eachField(b, func(num protowire.Number, f wireValue) error {
		if num == 1 && f.typ == protowire.VarintType {
			v = f.number != 0
		}
		return nil
	})
	return v, err
}

// number reads a Number.
func (m *factBuilder) number(b []byte) (v any, err error) {
	v = 0.0
	err = eachField(b, func(num protowire.Number, f wireValue) error {
		if num == 1 && f.typ == protowire.Fixed64Type {
			v = math.Float64frombits(f.number)
		}
		return nil
	})
	return v, err
}

// captures reads a UriCapturesResult.
func (m *factBuilder) captures(b []byte) (any, error) {
	if err := m.take(2 * mapSize); err != nil {
		return nil, err
	}
	unnamed, named := []any{}, map[string]any{}
	err := eachField(b, func(num protowire.Number, f wireValue) error {
		if f.typ != protowire.BytesType {
			return nil
		}
		switch num {
		case 1:
			v, err := m.string(f.bytes)
			unnamed = append(unnamed, v)
			return err
		case 2:
			name, value, err := mapEntry(f.bytes)
			if err != nil {
				return err
			}
			v, err := m.string(value)
			if err != nil {
				return err
			}
			return m.put(named, name, v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"unnamed": unnamed, "named": named}, nil
}

// mapEntry reads an entry of a map.
func mapEntry(b []byte) (key, value []byte, err error) {
	err = eachField(b, func(num protowire.Number, f wireValue) error {
		switch {
		case f.typ != protowire.BytesType:
		case num == 1:
			key = f.bytes
		case num == 2:
			value = f.bytes
		}
		return nil
	})
	return key, value, err
}

// put adds an entry to a map.
func (m *factBuilder) put(to map[string]any, key []byte, v any) error {
	if err := m.take(entrySize + len(key)); err != nil {
		return err
	}
	to[string(key)] = v
	return nil
}

// value reads a google.protobuf.Value.
func (m *factBuilder) value(b []byte) (any, error) { return m.nested(b, maxDepth) }

// nested reads a google.protobuf.Value in which lists and maps are nested up to that depth.
func (m *factBuilder) nested(b []byte, depth int) (v any, err error) {
	err = eachField(b, func(num protowire.Number, f wireValue) error {
		var err error
		switch { // a oneof: the last one counts
		case num == 1 && f.typ == protowire.VarintType:
			v = nil
		case num == 2 && f.typ == protowire.Fixed64Type:
			v, err = math.Float64frombits(f.number), m.take(valueSize)
		case num == 3 && f.typ == protowire.BytesType:
			v, err = m.string(f.bytes)
		case num == 4 && f.typ == protowire.VarintType:
			v = f.number != 0
		case num == 5 && f.typ == protowire.BytesType:
			v, err = m.table(f.bytes, depth-1)
		case num == 6 && f.typ == protowire.BytesType:
			v, err = m.list(f.bytes, depth-1)
		}
		return err
	})
	return v, err
}

// table reads a google.protobuf.Struct.
func (m *factBuilder) table(b []byte, depth int) (any, error) {
	if depth < 0 {
		return nil, errDepth
	}
	if err := m.take(mapSize); err != nil {
		return nil, err
	}
	table := map[string]any{}
	err := eachField(b, func(num protowire.Number, f wireValue) error {
		if num != 1 || f.typ != protowire.BytesType {
			return nil
		}
		key, value, err := mapEntry(f.bytes)
		if err != nil {
			return err
		}
		v, err := m.nested(value, depth)
		if err != nil {
			return err
		}
		return m.put(table, key, v)
	})
	return table, err
}

// list reads a google.protobuf.ListValue.
func (m *factBuilder) list(b []byte, depth int) (any, error) {
	if depth < 0 {
		return nil, errDepth
	}
	list := []any{}
	err := eachField(b, func(num protowire.Number, f wireValue) error {
		if num != 1 || f.typ != protowire.BytesType {
			return nil
		}
		if err := m.take(valueSize); err != nil {
			return err
		}
		v, err := m.nested(f.bytes, depth)
		list = append(list, v)
		return err
	})
	return list, err
}
