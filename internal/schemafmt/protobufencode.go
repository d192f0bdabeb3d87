package schemafmt

import (
	"math"
	"strconv"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

func (e *protobufEncoder) Index() []int { return e.index }

func (e *protobufEncoder) AppendText(dst, text []byte) ([]byte, error) {
	return e.AppendJSON(dst, text)
}

func (e *protobufEncoder) AppendJSON(dst, doc []byte) ([]byte, error) {
	w := protoWalks.Get().(*protoWalk)
	defer w.free()
	if wrong := w.read(doc, e.o.MaxDepth); wrong != "" {
		return dst, &FitError{Reason: wrong}
	}
	w.begin(dst, len(doc), &e.o)
	w.types = e.types
	if !w.message(e.message, 0) || !w.spend(0) {
		return dst, w.fault.error()
	}
	return w.dst, nil
}

// protoWalk encodes one document, by the mapping of proto3 between JSON and messages.
type protoWalk struct {
	binaryWalk
	types *dynamicpb.Types
}

var protoWalks = sync.Pool{New: func() any { return new(protoWalk) }}

func (w *protoWalk) free() {
	if w.types = nil; w.end() {
		protoWalks.Put(w)
	}
}

// message encodes what is in a message, without its length.
func (w *protoWalk) message(m *protoMessage, at uint32) bool {
	if !w.spend(1 + len(m.fields)/8) {
		return false
	}
	v := w.values[at]
	switch m.special {
	case anyValue:
		return w.anyValue(at)
	case structure:
		return w.structure(at)
	case listOfAny:
		return w.listOfAny(at)
	case wrapper:
		return w.single(&m.fields[0], at)
	case libraryDid:
		return w.library(m, at)
	}
	if v.kind != jsonObject {
		return w.fail("must be an object, the message", m.name)
	}
	base := w.reserve(len(m.fields) + m.oneofs)
	slots := func(i int) *uint32 { return &w.slots[base+i] }
	for i := at + 1; i < v.next; i = w.values[i+1].next {
		k, known := m.byName[string(w.chars(&w.values[i]))]
		if !known {
			if w.strict {
				return w.fail("has a member that is not a field of the message", m.name)
			}
			continue
		}
		f := &m.fields[k]
		if *slots(k) != 0 {
			return w.fail("has a duplicate field", f.name)
		}
		*slots(k) = i + 1
		if f.oneof >= 0 && (w.values[i+1].kind != jsonNull || f.null) {
			if *slots(len(m.fields) + f.oneof) != 0 {
				return w.fail("has several fields of a oneof, among them", f.name)
			}
			*slots(len(m.fields) + f.oneof) = i + 1
		}
	}
	for k := range m.fields {
		f, value := &m.fields[k], *slots(k)
		if value == 0 || w.values[value].kind == jsonNull && !f.null {
			if f.required {
				return w.fail("lacks the field", f.name)
			}
			continue
		}
		if !w.field(f, value) {
			name := f.name
			if w.is(&w.values[value-1], f.jsonName) {
				name = f.jsonName
			}
			return w.fault.in(name)
		}
	}
	w.slots = w.slots[:base]
	return true
}

// field encodes all of a field.
func (w *protoWalk) field(f *protoField, at uint32) bool {
	v := w.values[at]
	switch {
	case f.key != nil:
		return w.mapping(f, at)
	case !f.list:
		return w.single(f, at)
	}
	if v.kind != jsonArray {
		return w.fail("must be an array of", f.typeName)
	}
	if at+1 == v.next {
		return true
	}
	start := 0
	if f.packed {
		start = w.open(f.number)
	}
	index := 0
	for i := at + 1; i < v.next; i = w.values[i].next {
		ok := false
		if f.packed {
			ok = w.scalar(f, i)
		} else {
			ok = w.tagged(f, i)
		}
		if !ok {
			return w.fault.inItem(index)
		}
		index++
	}
	return !f.packed || w.close(start)
}

// single encodes a field that has one value. Without field presence, the default is not written.
func (w *protoWalk) single(f *protoField, at uint32) bool {
	before := len(w.dst)
	if !f.implicit {
		return w.tagged(f, at)
	}
	w.dst = protowire.AppendTag(w.dst, f.number, wireType(f.kind))
	value := len(w.dst)
	if !w.scalar(f, at) {
		return false
	}
	for _, b := range w.dst[value:] { // a text that is not empty begins with its length
		if b != 0 {
			return true
		}
	}
	w.dst = w.dst[:before]
	return true
}

// tagged encodes one value with its tag.
func (w *protoWalk) tagged(f *protoField, at uint32) bool {
	switch {
	case f.message == nil:
		w.dst = protowire.AppendTag(w.dst, f.number, wireType(f.kind))
		return w.scalar(f, at)
	case f.kind == protoreflect.GroupKind:
		w.dst = protowire.AppendTag(w.dst, f.number, protowire.StartGroupType)
		if !w.message(f.message, at) {
			return false
		}
		w.dst = protowire.AppendTag(w.dst, f.number, protowire.EndGroupType)
		return true
	}
	start := w.open(f.number)
	return w.message(f.message, at) && w.close(start)
}

// open begins a field with a length, which close fills in.
func (w *protoWalk) open(number protowire.Number) (start int) {
	w.dst = protowire.AppendTag(w.dst, number, protowire.BytesType)
	w.dst = append(w.dst, 0)
	return len(w.dst)
}

func (w *protoWalk) close(start int) bool {
	size := len(w.dst) - start
	if more := protowire.SizeVarint(uint64(size)) - 1; more > 0 {
		if !w.spend(size / 64) { // large messages in large messages are moved again and again
			return false
		}
		var room [10]byte
		w.dst = append(w.dst, room[:more]...)
		copy(w.dst[start+more:], w.dst[start:start+size])
	}
	protowire.AppendVarint(w.dst[:start-1], uint64(size))
	return true
}

func (w *protoWalk) mapping(f *protoField, at uint32) bool {
	v := w.values[at]
	if v.kind != jsonObject {
		return w.fail("must be an object, a map of", f.value.typeName)
	}
	for i := at + 1; i < v.next; i = w.values[i+1].next {
		start := w.open(f.number)
		if !w.key(f.key, &w.values[i]) || !w.tagged(f.value, i+1) {
			return w.fault.in(foreignName)
		}
		if !w.close(start) {
			return false
		}
	}
	return true
}

func (w *protoWalk) key(f *protoField, name *value) bool {
	w.dst = protowire.AppendTag(w.dst, f.number, wireType(f.kind))
	s := w.chars(name)
	switch f.kind {
	case protoreflect.StringKind:
		w.dst = protowire.AppendBytes(w.dst, s)
		return true
	case protoreflect.BoolKind:
		if string(s) == "true" || string(s) == "false" {
			w.dst = protowire.AppendVarint(w.dst, protowire.EncodeBool(string(s) == "true"))
			return true
		}
	default:
		if len(s) > 0 && numberLength(s) == len(s) && w.number(f.kind, s) {
			return true
		}
	}
	return w.fail("must have a name of type", f.typeName)
}

func (w *protoWalk) anyValue(at uint32) bool {
	v := w.values[at]
	switch v.kind {
	case jsonNull:
		w.dst = append(w.dst, 1<<3, 0)
	case jsonNumber:
		f, err := strconv.ParseFloat(string(w.raw(&v)), 64)
		if err != nil {
			return w.fail("must be a number in the range of a double", "")
		}
		w.dst = protowire.AppendFixed64(protowire.AppendTag(w.dst, 2, protowire.Fixed64Type), math.Float64bits(f))
	case jsonText:
		w.dst = protowire.AppendBytes(protowire.AppendTag(w.dst, 3, protowire.BytesType), w.chars(&v))
	case jsonTrue, jsonFalse:
		w.dst = protowire.AppendVarint(append(w.dst, 4<<3), protowire.EncodeBool(v.kind == jsonTrue))
	case jsonObject:
		start := w.open(5)
		return w.structure(at) && w.close(start)
	case jsonArray:
		start := w.open(6)
		return w.listOfAny(at) && w.close(start)
	}
	return true
}

func (w *protoWalk) structure(at uint32) bool {
	v := w.values[at]
	if v.kind != jsonObject {
		return w.fail("must be an object", "")
	}
	for i := at + 1; i < v.next; i = w.values[i+1].next {
		if !w.spend(1) {
			return false
		}
		entry := w.open(1)
		w.dst = protowire.AppendBytes(protowire.AppendTag(w.dst, 1, protowire.BytesType), w.chars(&w.values[i]))
		member := w.open(2)
		if !w.anyValue(i + 1) {
			return w.fault.in(foreignName)
		}
		if !w.close(member) || !w.close(entry) {
			return false
		}
	}
	return true
}

func (w *protoWalk) listOfAny(at uint32) bool {
	v := w.values[at]
	if v.kind != jsonArray {
		return w.fail("must be an array", "")
	}
	index := 0
	for i := at + 1; i < v.next; i = w.values[i].next {
		if !w.spend(1) {
			return false
		}
		start := w.open(1)
		if !w.anyValue(i) {
			return w.fault.inItem(index)
		}
		if !w.close(start) {
			return false
		}
		index++
	}
	return true
}

// maxLibraryValues bounds the memory of a google.protobuf.Any while it is a message of Go: a
// value of two bytes takes up to 900 there.
const maxLibraryValues = 1 << 14

// library encodes a message whose form in JSON protojson knows. Its errors have values in
// them, and are not used.
func (w *protoWalk) library(m *protoMessage, at uint32) bool {
	v := w.values[at]
	if v.next-at > maxLibraryValues {
		return w.fail("has too many values", "")
	}
	start, end := v.start, v.end
	if v.kind == jsonText {
		start, end = start-1, end+1
	}
	message := dynamicpb.NewMessage(m.desc)
	err := protojson.UnmarshalOptions{DiscardUnknown: !w.strict, Resolver: w.types, RecursionLimit: MaxDepth}.Unmarshal(w.doc[start:end], message)
	if err == nil {
		var b []byte
		if b, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(w.dst, message); err == nil {
			w.dst = b
			return true
		}
	}
	return w.fail("must be of type", m.name)
}
