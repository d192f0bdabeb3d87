package schemafmt

import (
	"encoding/base64"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func wireType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	}
	return protowire.VarintType
}

// scalar encodes a value that is no message, without a tag.
func (w *protoWalk) scalar(f *protoField, at uint32) bool {
	if !w.spend(1) {
		return false
	}
	v := &w.values[at]
	ok := false
	switch f.kind {
	case protoreflect.StringKind:
		if ok = v.kind == jsonText; ok {
			w.dst = protowire.AppendBytes(w.dst, w.chars(v))
		}
	case protoreflect.BoolKind:
		if ok = v.kind == jsonTrue || v.kind == jsonFalse; ok {
			w.dst = protowire.AppendVarint(w.dst, protowire.EncodeBool(v.kind == jsonTrue))
		}
	case protoreflect.BytesKind:
		ok = v.kind == jsonText && w.base64(w.chars(v))
	case protoreflect.EnumKind:
		ok = w.enum(f, v)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		ok = w.float(f.kind, v)
	default:
		switch v.kind {
		case jsonNumber:
			ok = w.number(f.kind, w.raw(v))
		case jsonText: // 64 bits are mostly written as strings
			s := w.chars(v)
			ok = len(s) > 0 && numberLength(s) == len(s) && w.number(f.kind, s)
		}
	}
	return ok || !w.exhausted && w.fail("must be of type", f.typeName)
}

// number encodes an integer. It returns false if the kind does not hold it.
func (w *protoWalk) number(k protoreflect.Kind, s []byte) bool {
	switch k {
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		n, ok := parseUint(s)
		switch {
		case !ok:
			return false
		case k == protoreflect.Fixed64Kind:
			w.dst = protowire.AppendFixed64(w.dst, n)
		case k == protoreflect.Uint64Kind:
			w.dst = protowire.AppendVarint(w.dst, n)
		case n > math.MaxUint32:
			return false
		case k == protoreflect.Fixed32Kind:
			w.dst = protowire.AppendFixed32(w.dst, uint32(n))
		default:
			w.dst = protowire.AppendVarint(w.dst, n)
		}
		return true
	}
	n, ok := parseInt(s)
	if !ok {
		return false
	}
	switch k {
	case protoreflect.Int64Kind:
		w.dst = protowire.AppendVarint(w.dst, uint64(n))
		return true
	case protoreflect.Sint64Kind:
		w.dst = protowire.AppendVarint(w.dst, protowire.EncodeZigZag(n))
		return true
	case protoreflect.Sfixed64Kind:
		w.dst = protowire.AppendFixed64(w.dst, uint64(n))
		return true
	}
	if n != int64(int32(n)) {
		return false
	}
	switch k {
	case protoreflect.Sint32Kind:
		w.dst = protowire.AppendVarint(w.dst, protowire.EncodeZigZag(n))
	case protoreflect.Sfixed32Kind:
		w.dst = protowire.AppendFixed32(w.dst, uint32(n))
	default:
		w.dst = protowire.AppendVarint(w.dst, uint64(n))
	}
	return true
}

func (w *protoWalk) enum(f *protoField, v *value) bool {
	var n int32
	switch v.kind {
	case jsonText:
		var ok bool
		if n, ok = f.enum[string(w.chars(v))]; !ok {
			return false
		}
	case jsonNumber:
		i, ok := parseInt(w.raw(v))
		if n = int32(i); !ok || int64(n) != i {
			return false
		}
	case jsonNull:
		if !f.null {
			return false
		}
	default:
		return false
	}
	w.dst = protowire.AppendVarint(w.dst, uint64(int64(n)))
	return true
}

func (w *protoWalk) float(k protoreflect.Kind, v *value) bool {
	bits := 64
	if k == protoreflect.FloatKind {
		bits = 32
	}
	var f float64
	switch s := w.chars(v); {
	case v.kind == jsonText && string(s) == "NaN":
		f = math.NaN()
	case v.kind == jsonText && string(s) == "Infinity":
		f = math.Inf(1)
	case v.kind == jsonText && string(s) == "-Infinity":
		f = math.Inf(-1)
	case v.kind == jsonNumber, v.kind == jsonText && len(s) > 0 && numberLength(s) == len(s):
		var err error
		if f, err = strconv.ParseFloat(string(s), bits); err != nil {
			return false
		}
	default:
		return false
	}
	if bits == 32 {
		w.dst = protowire.AppendFixed32(w.dst, math.Float32bits(float32(f)))
	} else {
		w.dst = protowire.AppendFixed64(w.dst, math.Float64bits(f))
	}
	return true
}

// base64 encodes bytes, which are in one of the two alphabets, with padding or without.
func (w *protoWalk) base64(s []byte) bool {
	encoding := base64.StdEncoding
	for _, c := range s {
		if c == '-' || c == '_' {
			encoding = base64.URLEncoding
			break
		}
	}
	if len(s)%4 != 0 {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	b, err := encoding.AppendDecode(nil, s)
	if err != nil {
		return false
	}
	w.dst = protowire.AppendBytes(w.dst, b)
	return true
}
