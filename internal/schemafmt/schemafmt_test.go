package schemafmt

import "testing"

// The example of Kong's documentation, and the schemas that its users try first.
func TestUserRecord(t *testing.T) {
	for _, test := range []struct {
		kind             Kind
		schema, doc, out string // out: "" does not fit
	}{
		{Avro, avroUser, `{"username":"john_doe","age":30}`, "\x10john_doe\x3c"},
		{Avro, avroUser, `{"username":"john_doe"}`, ""},
		{JSONSchema, jsonUser, `{"username":"john_doe","age":30}`, `{"username":"john_doe","age":30}`},
		{JSONSchema, jsonUser, ` {"username":"john_doe", "age":30.0 } `, ` {"username":"john_doe", "age":30.0 } `},
		{JSONSchema, jsonUser, `{"username":"jo","age":30}`, ""},
		{JSONSchema, jsonUser, `{"username":"john_doe","age":-1}`, ""},
		{JSONSchema, jsonUser, `{"username":"john_doe","age":"30"}`, ""},
		{JSONSchema, jsonUser, `{"username":"john_doe"}`, ""},
		{JSONSchema, jsonUser, `[]`, ""},
		{JSONSchema, jsonUser, `{`, ""},
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
