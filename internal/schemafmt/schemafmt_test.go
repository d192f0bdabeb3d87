package schemafmt

import (
	"strings"
	"sync"
	"testing"
)

// The example of Kong's documentation in each kind of schema.
func TestUserRecord(t *testing.T) {
	for _, test := range []struct {
		kind             Kind
		schema, doc, out string // out: "" does not fit
	}{
		{Avro, avroUser, `{"username":"john_doe","age":30}`, "\x10john_doe\x3c"},
		{Avro, avroUser, `{"username":"john_doe"}`, ""},
		{"", avroUser, `{"username":"john_doe","age":30}`, "\x10john_doe\x3c"},
		{JSONSchema, jsonUser, ` {"username":"john_doe", "age":30.0 } `, ` {"username":"john_doe", "age":30.0 } `},
		{JSONSchema, jsonUser, `{"username":"jo","age":30}`, ""},
		{Protobuf, protoUser, `{"username":"john_doe","age":30}`, "\x0a\x08john_doe\x10\x1e"},
		{Protobuf, protoUser, `{"username":30}`, ""},
	} {
		e, err := Compile(test.kind, test.schema, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.AppendJSON([]byte("before"), []byte(test.doc))
		if want := "before" + test.out; string(got) != want || (err != nil) != (test.out == "") {
			t.Errorf("%s, %s: %q, %v, want %q", test.kind, test.doc, got, err, want)
		}
		if _, ok := err.(*FitError); err != nil && !ok {
			t.Errorf("%s, %s: the error is a %T", test.kind, test.doc, err)
		}
		if e.Index() != nil != (test.kind == Protobuf) {
			t.Errorf("%s: the index is %v", test.kind, e.Index())
		}
	}
}

const (
	avroUser = `{"type":"record","name":"UserRecord","fields":[{"name":"username","type":"string"},{"name":"age","type":"int"}]}`
	jsonUser = `{
		"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
		"properties": {"username": {"type": "string", "minLength": 3}, "age": {"type": "integer", "minimum": 0}},
		"required": ["username", "age"]
	}`
)

// Encoders of all kinds are used by many goroutines at once, and do not mix up documents.
func TestEncodersAreUsedAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for _, body := range bodies {
		for kind, schema := range map[Kind]string{Avro: body.avro, JSONSchema: body.json, Protobuf: body.proto} {
			e, err := Compile(kind, schema, nil)
			if err != nil {
				t.Fatal(err)
			}
			want, err := e.AppendJSON(nil, []byte(body.body))
			if err != nil {
				t.Fatal(err)
			}
			for range 4 {
				wg.Go(func() {
					for range 50 {
						if got, err := e.AppendJSON(nil, []byte(body.body)); err != nil || string(got) != string(want) {
							t.Errorf("%s, %s: %q, %v", body.name, kind, got, err)
							return
						}
						if _, err := e.AppendJSON(nil, []byte(`[{"client":[1,2,"`+body.name+`"]}]`)); err == nil {
							t.Errorf("%s, %s: an array fits", body.name, kind)
							return
						}
					}
				})
			}
		}
	}
	wg.Wait()
}

func TestSchemasAreBounded(t *testing.T) {
	many := make([]Reference, MaxReferences+1)
	for i := range many {
		many[i] = Reference{Name: strings.Repeat("n", i+1), Text: `{}`}
	}
	deep := Reference{Name: "deep", Text: `{}`}
	for range MaxReferences + 1 {
		deep = Reference{Name: deep.Name + "r", Text: `{}`, References: []Reference{deep}}
	}
	circle := []Reference{{Name: "a", Text: `{}`}}
	circle[0].References = circle
	wide := Reference{Name: "wide", Text: `{}`}
	for range 20 {
		wide = Reference{Name: "wide", Text: `{}`, References: []Reference{wide, wide}}
	}
	for _, test := range []struct {
		name, text string
		kind       Kind
		refs       []Reference
		want       string
	}{
		{"large", strings.Repeat(" ", MaxSchema+1), JSONSchema, nil, "bytes with its references"},
		{"many references", `{}`, JSONSchema, many, "more than 100 references"},
		{"deep references", `{}`, JSONSchema, []Reference{deep}, "nest deeper than 100"},
		{"a circle of references", `{}`, JSONSchema, circle, "nest deeper than 100"},
		{"references again and again", `{}`, JSONSchema, []Reference{wide}, "more than 100 references"},
		{"two of one name", `{}`, JSONSchema, []Reference{{Name: "a", Text: `{}`}, {Name: "a", Text: `true`}}, "with different texts"},
		{"an unknown kind", `{}`, "XML", nil, `a schema of type "XML" cannot be used`},
		{"defaults that are small", doubling(8), Avro, nil, ""},
		{"defaults that double", doubling(24), Avro, nil, "the defaults of its fields are too large"},
	} {
		_, err := Compile(test.kind, test.text, test.refs)
		if (test.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
}

// doubling returns an Avro schema of records in records, each of which has the next one twice
// as a default.
func doubling(n int) string {
	inner := `{"type":"record","name":"R0","fields":[{"name":"a","type":"int","default":1}]}`
	for i := 1; i <= n; i++ {
		name := "R" + string(rune('A'+i))
		ref := `"R0"`
		if i > 1 {
			ref = `"R` + string(rune('A'+i-1)) + `"`
		}
		inner = `{"type":"record","name":"` + name + `","fields":[{"name":"x","type":` + inner + `,"default":{}},{"name":"y","type":` + ref + `,"default":{}}]}`
	}
	return inner
}

// No text makes the program panic, and an error is bounded.
func FuzzSchemas(f *testing.F) {
	for _, s := range append(avroSchemas, doubling(3)) {
		f.Add(uint8(0), s, `{"a":1}`)
	}
	for _, s := range []string{jsonUser, orderJSON, readingsJSON, `{"$defs":{"a":{"$anchor":"x","$id":"y"}},"$ref":"#x"}`} {
		f.Add(uint8(1), s, `{"a":1}`)
	}
	for _, s := range append(protobufSchemas,
		`syntax = "proto2"; import "google/protobuf/descriptor.proto"; option java_package = "x"; message M { required group G = 1 { optional int32 a = 2 [default = 5, deprecated = true]; } extensions 100 to 200; oneof o { string s = 3; } reserved 7, 9 to 11; } extend M { optional int32 e = 100; } service S { rpc Call(M) returns (M); }`,
		`edition = "2023"; option features.field_presence = IMPLICIT; message M { int32 a = 1 [features.field_presence = EXPLICIT]; repeated int32 b = 2 [features.repeated_field_encoding = EXPANDED]; }`,
	) {
		f.Add(uint8(2), s, `{"a":1}`)
	}
	f.Fuzz(func(t *testing.T, which uint8, schema, doc string) {
		e, err := Compile([]Kind{Avro, JSONSchema, Protobuf}[which%3], schema, nil)
		if err != nil {
			if len(err.Error()) > 2*maxReason {
				t.Fatalf("an error of %d bytes: %v", len(err.Error()), err)
			}
			return
		}
		for _, d := range []string{doc, `{}`, `null`, `[]`} {
			if _, err := e.AppendJSON(nil, []byte(d)); err != nil {
				checkFit(t, err, []byte(d), schema)
			}
			e.AppendText(nil, []byte(d))
		}
	})
}
