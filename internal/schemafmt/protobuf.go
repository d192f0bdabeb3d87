package schemafmt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

type protobufEncoder struct {
	message protoreflect.MessageType
	index   []int
	types   *dynamicpb.Types // for google.protobuf.Any
	o       Options
}

// maxProtobufValues bounds the memory of a document while it is a message of Go: a value of two
// bytes takes up to 900 there.
const maxProtobufValues = 1 << 17

// mainFile is the name of the schema among its imports.
const mainFile = "schema of the value"

func (o *Options) compileProtobuf(text string, refs []Reference) (Encoder, error) {
	texts := map[string]string{mainFile: text}
	for _, r := range refs {
		texts[r.Name] = r.Text
	}
	c := protocompile.Compiler{
		MaxParallelism: 1,
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: func(path string) (io.ReadCloser, error) {
				text, ok := texts[path]
				if !ok {
					return nil, errors.New("it is neither among the schema's references nor in google/protobuf")
				}
				return io.NopCloser(strings.NewReader(text)), nil
			},
		}),
	}
	files, err := c.Compile(context.Background(), mainFile)
	if err != nil {
		return nil, schemaError("the Protobuf schema", err)
	}
	file := files[0]
	message, err := o.message(file)
	if err != nil {
		return nil, err
	}
	all := new(protoregistry.Files)
	if err := register(all, file); err != nil {
		return nil, schemaError("the Protobuf schema", err)
	}
	return &protobufEncoder{dynamicpb.NewMessageType(message), index(message), dynamicpb.NewTypes(all), *o}, nil
}

// message returns the message that values are: the first one, or that of the options.
func (o *Options) message(file linker.File) (protoreflect.MessageDescriptor, error) {
	if o.Message != "" {
		m, _ := file.FindDescriptorByName(protoreflect.FullName(o.Message)).(protoreflect.MessageDescriptor)
		if m == nil || m.IsMapEntry() {
			return nil, fmt.Errorf("the Protobuf schema has no message %s", quote(o.Message))
		}
		return m, nil
	}
	if file.Messages().Len() == 0 {
		return nil, errors.New("the Protobuf schema has no message")
	}
	return file.Messages().Get(0), nil
}

// index returns the positions of a message and of those around it, from the outermost on.
func index(m protoreflect.Descriptor) []int {
	var at []int
	for ; m.Parent() != nil; m = m.Parent() {
		at = append(at, m.Index())
	}
	slices.Reverse(at)
	return at
}

// register adds a file and all that it imports, each once.
func register(all *protoregistry.Files, file protoreflect.FileDescriptor) error {
	if _, err := all.FindFileByPath(file.Path()); err == nil {
		return nil
	}
	for i := range file.Imports().Len() {
		if err := register(all, file.Imports().Get(i).FileDescriptor); err != nil {
			return err
		}
	}
	return all.RegisterFile(file)
}

func (e *protobufEncoder) Index() []int { return e.index }

func (e *protobufEncoder) AppendText(dst, text []byte) ([]byte, error) {
	return e.AppendJSON(dst, text)
}

func (e *protobufEncoder) AppendJSON(dst, doc []byte) ([]byte, error) {
	t := tapes.Get().(*tape)
	defer t.free()
	if wrong := t.read(doc, e.o.MaxDepth); wrong != "" {
		return dst, &FitError{Reason: wrong}
	}
	if len(t.values) > maxProtobufValues {
		return dst, &FitError{Reason: "has more values than are made into Protobuf, which is " + strconv.Itoa(maxProtobufValues)}
	}
	m := e.message.New().Interface()
	err := protojson.UnmarshalOptions{
		DiscardUnknown: !e.o.Strict, Resolver: e.types, RecursionLimit: e.o.MaxDepth, AllowPartial: true,
	}.Unmarshal(doc, m)
	if err != nil {
		return dst, e.fault(t, err).error()
	}
	if proto.CheckInitialized(m) != nil {
		return dst, &FitError{Reason: "lacks a required field"}
	}
	b, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.MarshalAppend(dst, m)
	if err != nil {
		return dst, &FitError{Reason: "cannot be written as the message " + quote(string(e.message.Descriptor().FullName()))}
	}
	if len(b)-len(dst) > e.o.MaxValue {
		return dst, &FitError{Reason: "becomes too large in Protobuf"}
	}
	return b, nil
}

// position is where protojson's errors say that they are.
var position = regexp.MustCompile(`\(line ([0-9]+):([0-9]+)\)`)

// fault finds out which value is meant by an error of protojson's, whose text holds values of
// the client's: only the position is taken from it.
func (e *protobufEncoder) fault(t *tape, err error) *fault {
	f := new(fault)
	m := e.message.Descriptor()
	f.set("does not fit the message", string(m.FullName()))
	at := position.FindStringSubmatch(err.Error())
	if at == nil {
		return f
	}
	line, _ := strconv.Atoi(at[1])
	column, _ := strconv.Atoi(at[2])
	locate(f, t, 0, uint32(offset(t.doc, line, column)), shape{message: m})
	return f
}

// offset returns where a line and column is, both counted from 1, a column in characters.
func offset(doc []byte, line, column int) int {
	i := 0
	for ; line > 1 && i < len(doc); i++ {
		if doc[i] == '\n' {
			line--
		}
	}
	for ; column > 1 && i < len(doc); column-- {
		_, n := utf8.DecodeRune(doc[i:])
		i += n
	}
	return i
}

// shape is what a value of a document has to be: a message, or what a field is made of. It is
// neither if the schema does not say.
type shape struct {
	message protoreflect.MessageDescriptor
	field   protoreflect.FieldDescriptor
	item    bool // the value is one of the field's, and not all of them
}

// locate sets f to the fault at an offset in the document, which is in the value at that
// position of the tape.
func locate(f *fault, t *tape, at, offset uint32, s shape) {
	v := t.values[at]
	if s.field != nil {
		f.set("does not fit the field, which is of type", s.typeName())
		if !s.item && s.field.IsList() && v.kind == jsonArray {
			n := 0
			for i := at + 1; i < v.next; i = t.values[i].next {
				if offset < t.values[i].end+1 {
					locate(f, t, i, offset, shape{field: s.field, item: true})
					f.inItem(n)
					return
				}
				n++
			}
			return
		}
		if !s.item && s.field.IsMap() && v.kind == jsonObject {
			for i := at + 1; i < v.next; i = t.values[i+1].next {
				if offset < t.values[i+1].end+1 {
					if offset >= t.values[i+1].start-1 {
						locate(f, t, i+1, offset, shape{field: s.field.MapValue(), item: true})
					}
					f.in(foreignName)
					return
				}
			}
			return
		}
		s.message = s.field.Message()
	}
	if s.message == nil || v.kind != jsonObject {
		return
	}
	for i := at + 1; i < v.next; i = t.values[i+1].next {
		if offset >= t.values[i+1].end+1 {
			continue
		}
		name := string(t.appendString(nil, &t.values[i]))
		field := s.message.Fields().ByJSONName(name)
		if field == nil {
			field = s.message.Fields().ByTextName(name)
		}
		switch {
		case field == nil && wellKnown(s.message):
		case field == nil:
			f.set("has a member that is no field of the message", string(s.message.FullName()))
		case offset < t.values[i].end+1:
			f.set("has twice the field, or another one of its oneof,", string(field.Name()))
		default:
			locate(f, t, i+1, offset, shape{field: field})
			f.in(name)
		}
		return
	}
}

// wellKnown reports whether a message has a form of its own in JSON.
func wellKnown(m protoreflect.MessageDescriptor) bool {
	return m.ParentFile() != nil && strings.HasPrefix(m.ParentFile().Path(), "google/protobuf/")
}

func (s shape) typeName() string {
	name := s.field.Kind().String()
	switch {
	case s.field.IsMap():
		return "map"
	case s.field.Message() != nil:
		name = string(s.field.Message().FullName())
	case s.field.Enum() != nil:
		name = string(s.field.Enum().FullName())
	}
	if s.field.IsList() && !s.item {
		return "repeated " + name
	}
	return name
}
