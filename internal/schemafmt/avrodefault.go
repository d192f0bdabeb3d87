package schemafmt

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// defaults encodes the defaults of all fields, which are limit bytes at most. A default
// can hold others: those of the fields that a record's default leaves out.
func (c *avroCompiler) defaults(limit int) error {
	values := make(map[*avroField]any, len(c.pending))
	for _, p := range c.pending {
		values[p.field] = p.value
	}
	d := &defaultEncoder{values: values, left: limit}
	for _, p := range c.pending {
		var err error
		if p.field.missing, err = d.append(nil, p.field.node, p.value, 0); err != nil {
			return err
		}
	}
	return nil
}

type defaultEncoder struct {
	values map[*avroField]any
	left   int // bytes and values
}

var errDefault = errors.New("a field's default is not of the field's type")

// append appends a default, which the library has checked and has as Go's values.
func (d *defaultEncoder) append(dst []byte, n *avroNode, v any, depth int) ([]byte, error) {
	if d.left--; d.left < 0 || depth > 100 {
		return nil, errDefaultsLarge
	}
	if n.kind == avroUnion {
		i := slices.IndexFunc(n.branches, func(b *avroNode) bool { return b.takesDefault(v) })
		if i < 0 {
			return nil, errDefault
		}
		return d.append(binary.AppendVarint(dst, int64(i)), n.branches[i], v, depth+1)
	}
	if !n.takesDefault(v) {
		return nil, errDefault
	}
	var err error
	switch v := v.(type) {
	case bool:
		if v {
			return append(dst, 1), nil
		}
		return append(dst, 0), nil
	case int32:
		return binary.AppendVarint(dst, int64(v)), nil
	case int64:
		return binary.AppendVarint(dst, v), nil
	case float32:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(v)), nil
	case float64:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v)), nil
	case string:
		if n.kind == avroEnum {
			return binary.AppendVarint(dst, int64(n.byName[v])), nil
		}
		d.left -= len(v)
		return append(binary.AppendVarint(dst, int64(len(v))), v...), nil
	case []byte:
		d.left -= len(v)
		if n.kind == avroBytes {
			dst = binary.AppendVarint(dst, int64(len(v)))
		}
		return append(dst, v...), nil
	case []any:
		if len(v) > 0 {
			dst = binary.AppendVarint(dst, int64(len(v)))
		}
		for _, item := range v {
			if dst, err = d.append(dst, n.item, item, depth+1); err != nil {
				return nil, err
			}
		}
		return append(dst, 0), nil
	case map[string]any:
		if n.kind == avroRecord {
			return d.record(dst, n, v, depth)
		}
		if len(v) > 0 {
			dst = binary.AppendVarint(dst, int64(len(v)))
		}
		for name, value := range v {
			d.left -= len(name)
			dst = append(binary.AppendVarint(dst, int64(len(name))), name...)
			if dst, err = d.append(dst, n.item, value, depth+1); err != nil {
				return nil, err
			}
		}
		return append(dst, 0), nil
	}
	return dst, nil // null
}

func (d *defaultEncoder) record(dst []byte, n *avroNode, members map[string]any, depth int) ([]byte, error) {
	for i := range n.fields {
		f := &n.fields[i]
		v, ok := members[f.name]
		if !ok {
			if v, ok = d.values[f]; !ok {
				if f.must {
					return nil, errDefault
				}
				dst = append(dst, f.missing...)
				continue
			}
		}
		var err error
		if dst, err = d.append(dst, f.node, v, depth+1); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func (n *avroNode) takesDefault(v any) bool {
	switch v := v.(type) {
	case nil:
		return n.kind == avroNull
	case bool:
		return n.kind == avroBoolean
	case int32:
		return n.kind == avroInt
	case int64:
		return n.kind == avroLong
	case float32:
		return n.kind == avroFloat
	case float64:
		return n.kind == avroDouble
	case string:
		_, symbol := n.byName[v]
		return n.kind == avroString || n.kind == avroEnum && symbol
	case []byte:
		return n.kind == avroBytes || n.kind == avroFixed && n.size == len(v)
	case []any:
		return n.kind == avroArray
	case map[string]any:
		return n.kind == avroMap || n.kind == avroRecord
	}
	return false
}
