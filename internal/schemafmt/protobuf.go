package schemafmt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

type protobufEncoder struct {
	message *protoMessage
	index   []int
	types   *dynamicpb.Types // for google.protobuf.Any
	o       Options
}

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
	return &protobufEncoder{make(protoCompiler).message(message), index(message), dynamicpb.NewTypes(all), *o}, nil
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

// protoMessage is a message as the walk needs it.
type protoMessage struct {
	name    string
	desc    protoreflect.MessageDescriptor
	fields  []protoField // by their numbers, as they are written
	byName  map[string]int
	oneofs  int
	special protoSpecial
}

// protoSpecial is the form that some messages of google/protobuf have in JSON.
type protoSpecial byte

const (
	ordinary   protoSpecial = iota
	anyValue                // Value
	structure               // Struct
	listOfAny               // ListValue
	wrapper                 // Int32Value and others
	libraryDid              // Timestamp, Duration, FieldMask, Any
)

var protoSpecials = map[protoreflect.FullName]protoSpecial{
	"google.protobuf.Value": anyValue, "google.protobuf.Struct": structure, "google.protobuf.ListValue": listOfAny,
	"google.protobuf.BoolValue": wrapper, "google.protobuf.Int32Value": wrapper, "google.protobuf.Int64Value": wrapper,
	"google.protobuf.UInt32Value": wrapper, "google.protobuf.UInt64Value": wrapper, "google.protobuf.FloatValue": wrapper,
	"google.protobuf.DoubleValue": wrapper, "google.protobuf.StringValue": wrapper, "google.protobuf.BytesValue": wrapper,
	"google.protobuf.Timestamp": libraryDid, "google.protobuf.Duration": libraryDid, "google.protobuf.FieldMask": libraryDid, "google.protobuf.Any": libraryDid,
}

type protoField struct {
	name, jsonName string
	typeName       string
	number         protowire.Number
	kind           protoreflect.Kind
	list, packed   bool
	implicit       bool // is the default value not written?
	required       bool
	oneof          int // or -1
	message        *protoMessage
	enum           map[string]int32
	null           bool        // does null stand for a value?
	key, value     *protoField // of a map
}

// protoCompiler makes the walk's messages of descriptors.
type protoCompiler map[protoreflect.FullName]*protoMessage

func (c protoCompiler) message(d protoreflect.MessageDescriptor) *protoMessage {
	if m := c[d.FullName()]; m != nil {
		return m
	}
	m := &protoMessage{name: string(d.FullName()), desc: d, byName: make(map[string]int), oneofs: d.Oneofs().Len(), special: protoSpecials[d.FullName()]}
	c[d.FullName()] = m
	var all []protoreflect.FieldDescriptor
	for i := range d.Fields().Len() {
		all = append(all, d.Fields().Get(i))
	}
	slices.SortFunc(all, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	m.fields = make([]protoField, len(all))
	for i, f := range all {
		m.fields[i] = *c.field(f)
	}
	for i, f := range all { // a name that is one field's in JSON and another's in the text is the former's
		m.byName[f.TextName()] = i
	}
	for i, f := range all {
		m.byName[f.JSONName()] = i
	}
	return m
}

func (c protoCompiler) field(d protoreflect.FieldDescriptor) *protoField {
	f := &protoField{
		name: d.TextName(), jsonName: d.JSONName(), number: d.Number(), kind: d.Kind(), typeName: d.Kind().String(),
		list: d.IsList(), packed: d.IsPacked(), required: d.Cardinality() == protoreflect.Required,
		implicit: !d.IsList() && !d.IsMap() && !d.HasPresence(), oneof: -1,
	}
	if o := d.ContainingOneof(); o != nil {
		f.oneof = o.Index()
	}
	switch {
	case d.IsMap():
		f.key, f.value = c.field(d.MapKey()), c.field(d.MapValue())
		f.key.implicit, f.value.implicit = false, false // an entry has both
	case d.Message() != nil:
		f.message = c.message(d.Message())
		f.typeName = f.message.name
		f.null = f.message.special == anyValue
	case d.Enum() != nil:
		f.typeName = string(d.Enum().FullName())
		f.null = f.typeName == "google.protobuf.NullValue"
		f.enum = make(map[string]int32)
		for i := range d.Enum().Values().Len() {
			v := d.Enum().Values().Get(i)
			f.enum[string(v.Name())] = int32(v.Number())
		}
	}
	return f
}
