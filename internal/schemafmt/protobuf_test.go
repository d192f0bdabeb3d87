package schemafmt

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
)

const protoUser = `syntax = "proto3";
	message UserRecord { string username = 1; int32 age = 2; }
	message Other { Inner inner = 1; message First {} message Inner { bool yes = 1; } }`

func TestProtobufEncodes(t *testing.T) {
	field := protowire.AppendTag
	for _, test := range []struct {
		name, fields, doc string
		want              []byte
	}{
		{"the example", `string username = 1; int32 age = 2;`, `{"username":"john_doe","age":30}`, []byte("\x0a\x08john_doe\x10\x1e")},
		{"fields in any order, and unknown ones", `string username = 1; int32 age = 2;`, `{"x":[{}],"age":30,"username":"j"}`, []byte("\x0a\x01j\x10\x1e")},
		{"both spellings of a name", `int32 unit_price = 1; int32 other_price = 2;`, `{"unitPrice":1,"other_price":2}`, []byte("\x08\x01\x10\x02")},
		{"integers as strings", `int64 a = 1; uint64 b = 2;`, `{"a":"-1","b":18446744073709551615}`, append(protowire.AppendVarint([]byte{8}, math.MaxUint64), protowire.AppendVarint([]byte{16}, math.MaxUint64)...)},
		{"null is absent", `int32 a = 1;`, `{"a":null}`, nil},
		{"a default value is not written", `int32 a = 1; string b = 2;`, `{"a":0,"b":""}`, nil},
		{"bytes in base64", `bytes a = 1;`, `{"a":"//79"}`, []byte("\x0a\x03\xff\xfe\xfd")},
		{"an enum", `enum E { X = 0; Y = 5; } E a = 1;`, `{"a":"Y"}`, []byte{8, 5}},
		{"a packed list", `repeated int32 a = 1;`, `{"a":[1,2]}`, []byte{0x0a, 2, 1, 2}},
		{"a map", `map<string, int32> a = 1;`, `{"a":{"k":7}}`, []byte("\x0a\x05\x0a\x01k\x10\x07")},
		{"a oneof", `oneof o { int32 a = 1; string b = 2; }`, `{"b":"x"}`, []byte("\x12\x01x")},
		{"a timestamp", `google.protobuf.Timestamp a = 1;`, `{"a":"1970-01-01T00:00:01Z"}`, []byte{0x0a, 2, 8, 1}},
		{"any JSON", `google.protobuf.Value a = 1;`, `{"a":[true]}`, protowire.AppendBytes(field(nil, 1, protowire.BytesType), []byte{0x32, 4, 0x0a, 2, 0x20, 1})},
		{"integers of all kinds", `sint32 a = 1; sint64 b = 2; fixed32 c = 3; fixed64 d = 4; sfixed32 e = 5; sfixed64 f = 6; uint32 g = 7;`, `{"a":-1,"b":"-2","c":3,"d":"4","e":-1,"f":1,"g":1e2}`, []byte("\x08\x01\x10\x03\x1d\x03\x00\x00\x00\x21\x04\x00\x00\x00\x00\x00\x00\x00\x2d\xff\xff\xff\xff\x31\x01\x00\x00\x00\x00\x00\x00\x00\x38\x64")},
		{"a message that is empty, and one of 200 bytes", `M a = 1; string b = 2;`, `{"a":{"a":{},"b":"` + strings.Repeat("x", 200) + `"}}`, []byte("\x0a\xcd\x01\x0a\x00\x12\xc8\x01" + strings.Repeat("x", 200))},
		{"a default of a field that can be absent", `optional int32 a = 1;`, `{"a":0}`, []byte{8, 0}},
		{"a wrapper", `google.protobuf.Int32Value a = 1;`, `{"a":0}`, []byte{0x0a, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, err := Compile(Protobuf, `syntax = "proto3"; import "google/protobuf/timestamp.proto"; import "google/protobuf/struct.proto"; import "google/protobuf/wrappers.proto"; message M { `+test.fields+` }`, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.AppendJSON([]byte("k"), []byte(test.doc))
			if err != nil || !bytes.Equal(got[1:], test.want) {
				t.Errorf("%x, %v, want %x", got, err, test.want)
			}
		})
	}
}

func TestProtobufFaults(t *testing.T) {
	const schema = `syntax = "proto3"; package shop; import "google/protobuf/timestamp.proto"; import "google/protobuf/struct.proto";
		message Order { google.protobuf.Value free = 8; map<int32, int32> numbers = 9; int32 id = 1; repeated Line lines = 2; map<string, bool> flags = 3; State state = 4; google.protobuf.Timestamp at = 5; oneof o { int32 a = 6; int32 b = 7; } }
		message Line { string sku = 1; bytes data = 2; } enum State { NEW = 0; }`
	for _, test := range []struct{ doc, path, reason string }{
		{`{"id":"client"}`, "/id", `must be of type "int32"`},
		{`{"id":2147483648}`, "/id", `must be of type "int32"`},
		{"{\n \"id\": 1,\n \"lines\":[ {\"sku\":\"grüße\"}, {\"sku\": 7}]}", "/lines/1/sku", `must be of type "string"`},
		{`{"lines":[{"data":"?"}]}`, "/lines/0/data", `must be of type "bytes"`},
		{`{"lines":{}}`, "/lines", `must be an array of "shop.Line"`},
		{`{"lines":[1]}`, "/lines/0", `must be an object, the message "shop.Line"`},
		{`{"lines":[null]}`, "/lines/0", `must be an object, the message "shop.Line"`},
		{`{"flags":{"client":1}}`, "/flags/*", `must be of type "bool"`},
		{`{"flags":[]}`, "/flags", `must be an object, a map of "bool"`},
		{`{"numbers":{"client":1}}`, "/numbers/*", `must have a name of type "int32"`},
		{`{"state":"client"}`, "/state", `must be of type "shop.State"`},
		{`{"at":"client"}`, "/at", `must be of type "google.protobuf.Timestamp"`},
		{`{"free":{"client":[1,1e999]}}`, "/free/*/1", `must be a number in the range of a double`},
		{`{"id":1,"id":2}`, "", `has a duplicate field "id"`},
		{`{"a":1,"b":2}`, "", `has several fields of a oneof, among them "b"`},
		{`{"client":1}`, "", `has a member that is not a field of the message "shop.Order"`},
		{`{"lines":[{"client":1}]}`, "/lines/0", `has a member that is not a field of the message "shop.Line"`},
		{`[]`, "", `must be an object, the message "shop.Order"`},
		{`"client"`, "", `must be an object, the message "shop.Order"`},
		{`{`, "", notJSON},
		{strings.Repeat("[", MaxDepth+1), "", "is nested too deeply"},
	} {
		e, err := Options{Strict: true}.Compile(Protobuf, schema, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.AppendJSON([]byte("before"), []byte(test.doc))
		var fit *FitError
		if !errors.As(err, &fit) || fit.Path != test.path || fit.Reason != test.reason || string(got) != "before" {
			t.Errorf("%s: %q, %+v, want at %s: %s", test.doc, got, err, test.path, test.reason)
		}
	}
}

func TestProtobufRequiredFields(t *testing.T) {
	e, err := Compile(Protobuf, `syntax = "proto2"; message M { required int32 a = 1; }`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.AppendJSON(nil, []byte(`{}`)); err == nil || err.Error() != `lacks the field "a"` {
		t.Error(err)
	}
}

// The index says which of a text's messages a value is.
func TestProtobufIndex(t *testing.T) {
	for _, test := range []struct {
		message string
		index   []int
	}{{"", []int{0}}, {"UserRecord", []int{0}}, {"Other", []int{1}}, {"Other.Inner", []int{1, 1}}, {"Other.None", nil}, {"", []int{0}}} {
		e, err := Options{Message: test.message}.Compile(Protobuf, protoUser, nil)
		if test.index == nil {
			if err == nil {
				t.Errorf("%s is found", test.message)
			}
			continue
		}
		if err != nil || !slices.Equal(e.Index(), test.index) {
			t.Errorf("%s: %v, %v, want %v", test.message, e.Index(), err, test.index)
		}
	}
}

func TestProtobufReferences(t *testing.T) {
	money := Reference{Name: "shop/money.proto", Text: `syntax = "proto3"; package shop; message Money { int64 cents = 1; }`}
	line := Reference{Name: "shop/line.proto", Text: `syntax = "proto3"; package shop; import "shop/money.proto"; message Line { Money price = 1; }`, References: []Reference{money}}
	const order = `syntax = "proto3"; package shop; import "shop/line.proto"; message Order { repeated Line lines = 1; }`
	e, err := Compile(Protobuf, order, []Reference{line})
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.AppendJSON(nil, []byte(`{"lines":[{"price":{"cents":7}}]}`))
	if err != nil || string(got) != "\x0a\x04\x0a\x02\x08\x07" {
		t.Errorf("%q, %v", got, err)
	}
	for name, refs := range map[string][]Reference{
		"missing":  nil,
		"circular": {{Name: "shop/line.proto", Text: `syntax = "proto3"; import "shop/line.proto"; message Line {}`}},
	} {
		if _, err := Compile(Protobuf, order, refs); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

var protobufSchemas = []string{
	protoUser, orderProto, readingsProto, textsProto,
	`syntax = "proto3"; import "google/protobuf/timestamp.proto"; import "google/protobuf/struct.proto"; import "google/protobuf/any.proto"; import "google/protobuf/wrappers.proto"; import "google/protobuf/duration.proto"; import "google/protobuf/field_mask.proto";
	message M { map<string, google.protobuf.Value> any = 1; google.protobuf.Timestamp at = 2; google.protobuf.Any typed = 3; google.protobuf.StringValue text = 4; google.protobuf.Duration d = 5; google.protobuf.FieldMask mask = 6; M next = 7; repeated E e = 8; bytes b = 9; map<int32, bool> m = 10; } enum E { A = 0; B = 7; }`,
}

// What is encoded is a message that says what the document said, and errors show nothing of
// the client's.
func FuzzProtobufJSON(f *testing.F) {
	for i := range protobufSchemas {
		for _, doc := range []string{
			orderBody, readingsBody, textsBody, `{"username":"john_doe","age":30}`,
			`{"any":{"a":[1,null,{"b":true}]},"at":"2026-11-29T03:00:00.5Z","text":"x","d":"1.5s","mask":"a.b","next":{"e":["B",7]},"b":"AA==","m":{"1":true}}`,
			`{"typed":{"@type":"type.googleapis.com/M","b":"AA=="}}`,
		} {
			f.Add(uint8(i), []byte(doc))
		}
	}
	type set struct {
		text    string
		e, tidy Encoder
	}
	var sets []set
	for _, s := range protobufSchemas {
		e, err := Compile(Protobuf, s, nil)
		strict, err2 := Options{Strict: true}.Compile(Protobuf, s, nil)
		if err != nil || err2 != nil {
			f.Fatal(err, err2)
		}
		sets = append(sets, set{s, e, strict})
	}
	f.Fuzz(func(t *testing.T, which uint8, doc []byte) {
		s := sets[int(which)%len(sets)]
		got, err := s.e.AppendJSON(nil, doc)
		if err != nil {
			checkFit(t, err, doc, s.text)
			if !json.Valid(doc) {
				return // the library takes 1.5e for a number
			}
			e := s.e.(*protobufEncoder)
			err2 := protojson.UnmarshalOptions{DiscardUnknown: true, Resolver: e.types, RecursionLimit: MaxDepth}.Unmarshal(doc, dynamicpb.NewMessage(e.message.desc))
			if err2 == nil && !strings.Contains(err.Error(), `type "E"`) { // the library leaves symbols out that an enum does not have
				t.Fatalf("%s: %v, and the library takes it", doc, err)
			}
			return
		}
		if _, err := s.tidy.AppendJSON(nil, doc); err != nil {
			checkFit(t, err, doc, s.text)
		}
		e := s.e.(*protobufEncoder)
		m := dynamicpb.NewMessage(e.message.desc)
		if err := (proto.UnmarshalOptions{Resolver: e.types}).Unmarshal(got, m); err != nil {
			t.Fatalf("%s becomes %x: %v", doc, got, err)
		}
		want := dynamicpb.NewMessage(e.message.desc)
		err = protojson.UnmarshalOptions{DiscardUnknown: true, Resolver: e.types, RecursionLimit: MaxDepth}.Unmarshal(doc, want)
		if err != nil {
			return // such as two equal names in a map, or half of a surrogate pair
		}
		if !proto.Equal(m, want) {
			t.Fatalf("%s becomes %x, which is %v, not %v", doc, got, m, want)
		}
		if tidy, err := (proto.MarshalOptions{Deterministic: true}).Marshal(want); err != nil || len(tidy) != len(got) {
			t.Fatalf("%s becomes %x, and by the library %x, %v", doc, got, tidy, err)
		}
	})
}
