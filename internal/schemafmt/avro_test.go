package schemafmt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/twmb/avro"
)

func avroRecordOf(fields string) string {
	return `{"type":"record","name":"R","namespace":"n","fields":[` + fields + `]}`
}

func field(name, typ string) string { return fmt.Sprintf(`{"name":%q,"type":%s}`, name, typ) }

// events is a union of records of which the second has more fields.
const events = `[{"type":"record","name":"Created","fields":[{"name":"id","type":"long"}]},{"type":"record","name":"Paid","fields":[{"name":"id","type":"long"},{"name":"amount","type":"long"}]}]`

// Each document's encoding, in the hexadecimal digits that %x writes.
func TestAvroEncodes(t *testing.T) {
	for _, test := range []struct{ name, schema, doc, want string }{
		{"null", `"null"`, `null`, ""},
		{"true", `"boolean"`, `true`, "01"},
		{"false", `"boolean"`, ` false `, "00"},
		{"int", `"int"`, `-64`, "7f"},
		{"an int with a fraction of zeros", `"int"`, `30.0`, "3c"},
		{"an int with an exponent", `"int"`, `300e-1`, "3c"},
		{"the least int", `"int"`, `-2147483648`, "ffffffff0f"},
		{"the greatest long", `"long"`, `9223372036854775807`, "feffffffffffffffff01"},
		{"the least long", `"long"`, `-9.223372036854775808E18`, "ffffffffffffffffff01"},
		{"zero with an exponent", `"long"`, `-0.0e99999999999999999999`, "00"},
		{"float", `"float"`, `1.5`, "0000c03f"},
		{"double", `"double"`, `-2`, "00000000000000c0"},
		{"a double that JSON cannot write", `"double"`, `"-Infinity"`, "000000000000f0ff"},
		{"string", `"string"`, `"gr\u00fc\u00dfe \ud83d\ude00"`, "186772c3bcc39f6520f09f9880"},
		{"half of a surrogate pair", `"string"`, `"\ud83d!"`, "08efbfbd21"},
		{"bytes", `"bytes"`, `"\u0000a\u00ffÿ"`, "080061ffff"},
		{"fixed", `{"type":"fixed","name":"F","size":2}`, `"\u0001ÿ"`, "01ff"},
		{"enum", `{"type":"enum","name":"E","symbols":["A","B"]}`, `"\u0042"`, "02"},
		{"an empty array", `{"type":"array","items":"int"}`, `[]`, "00"},
		{"array", `{"type":"array","items":"int"}`, `[1, 2]`, "04020400"},
		{"map", `{"type":"map","values":"int"}`, `{"a":1}`, "0202610200"},
		{"a record's fields in any order", avroRecordOf(field("a", `"int"`) + "," + field("b", `"int"`)), `{"b":2,"a":1}`, "0204"},
		{"a record's last member of a name", avroRecordOf(field("a", `"int"`)), `{"a":1,"a":2}`, "04"},
		{"a name with an escape", avroRecordOf(field("a", `"int"`)), `{"\u0061":1}`, "02"},
		{"members that are no fields", avroRecordOf(field("a", `"int"`)), `{"z":{"y":[1,{}]},"a":1,"x":null}`, "02"},
		{"a default", avroRecordOf(`{"name":"a","type":"int","default":7}`), `{}`, "0e"},
		{"a missing field that may be null", avroRecordOf(field("a", `["null","int"]`)), `{}`, "00"},
		{"a recursive record", avroRecordOf(field("v", `"int"`) + "," + field("next", `["null","R"]`)), `{"v":1,"next":{"v":2}}`, "02020400"},
		{"a recursive record, tagged", avroRecordOf(field("v", `"int"`) + "," + field("next", `["null","R"]`)), `{"v":1,"next":{"n.R":{"v":2,"next":{"null":null}}}}`, "02020400"},
		{"a type that is used before it is defined", avroRecordOf(field("a", `"n.E"`) + "," + field("b", `{"type":"enum","name":"E","symbols":["A","B"]}`)), `{"a":"B","b":"A"}`, "0200"},

		{"null of a union", `["null","int"]`, `null`, "00"},
		{"null of a union, tagged", `["null","int"]`, `{"null":null}`, "00"},
		{"a tagged branch", `["null","int","long"]`, `{"long":1}`, "0402"},
		{"the first branch that fits", `["null","int","long"]`, `1`, "0202"},
		{"a later branch that fits", `["null","int","long"]`, `3000000000`, "0480f882ad16"},
		{"a fraction in a union", `["long","double"]`, `1.5`, "02000000000000f83f"},
		{"a string in a union with numbers", `["double","string"]`, `"NaN"`, "02064e614e"},
		{"a tag of a type with a name", `[{"type":"enum","name":"E","namespace":"n","symbols":["A"]},"string"]`, `{"n.E":"A"}`, "0000"},
		{"a tag without the namespace", `[{"type":"enum","name":"E","namespace":"n","symbols":["A"]},"string"]`, `{"E":"A"}`, "0000"},
		{"a tag with the logical type", `["null",{"type":"long","logicalType":"timestamp-millis"}]`, `{"long.timestamp-millis":1}`, "0202"},
		{"a tag that JSON's first branch would hide", `["string",{"type":"enum","name":"E","symbols":["A"]}]`, `{"E":"A"}`, "0200"},
		{"the record of a union that knows all members", events, `{"id":1,"amount":5}`, "02020a"},
		{"a record of a union with fewer", events, `{"id":1}`, "0002"},
		{"the record of a union that knows most members", events, `{"id":1,"amount":5,"more":0}`, "02020a"},
		{"the first record of a union of those that know as many", events, `{"id":1,"more":0}`, "0002"},
		{"a map, before a record that would drop all", `[{"type":"record","name":"D","fields":[{"name":"a","type":"int","default":7}]},{"type":"map","values":"int"}]`, `{"x":1}`, "020202780200"},
		{"members that are not known further down", `[{"type":"record","name":"A","fields":[{"name":"r","type":{"type":"record","name":"X","fields":[]}}]},{"type":"record","name":"B","fields":[{"name":"r","type":{"type":"map","values":"int"}}]}]`, `{"r":{"k":1}}`, "0202026b0200"},
		{"a map in a union", `["null",{"type":"map","values":"int"}]`, `{"a":1,"b":2}`, "020402610202620400"},
		{"a map whose only name is that of a branch", `["int",{"type":"map","values":"string"}]`, `{"int":"x"}`, "020206696e74027800"},
		{"the second of two records", `["null",{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]},{"type":"record","name":"B","fields":[{"name":"b","type":"int"}]}]`, `{"b":1}`, "0402"},

		{"a date", `{"type":"int","logicalType":"date"}`, `20000`, "c0b802"},
		{"a timestamp", `{"type":"long","logicalType":"timestamp-micros"}`, `1764385619123456`, "80f498a1e1aca206"},
		{"a uuid", `{"type":"string","logicalType":"uuid"}`, `"8f14e45f"`, "103866313465343566"},
		{"a decimal as a number", `{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`, `12.5`, "0404e2"},
		{"a decimal as an integer", `{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`, `1e2`, "042710"},
		{"a negative decimal", `{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`, `-1.28`, "0280"},
		{"a decimal that is zero", `{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`, `-0.000`, "0200"},
		{"a decimal as bytes", `{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`, `"\u0004â"`, "0404e2"},
		{"a fixed decimal", `{"type":"fixed","name":"D","size":4,"logicalType":"decimal","precision":9,"scale":2}`, `-0.01`, "ffffffff"},
		{"a logical type that does not exist", `{"type":"int","logicalType":"banana"}`, `1`, "02"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, err := Compile(Avro, test.schema, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.AppendJSON([]byte{0xaa}, []byte(test.doc))
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprintf("%x", got) != "aa"+test.want {
				t.Errorf("%x, want aa%s", got, test.want)
			}
			decode(t, test.schema, got[1:])
		})
	}
}

// decode decodes a value by both libraries, which take it whole.
func decode(t *testing.T, schema string, encoded []byte) any {
	t.Helper()
	var v any
	rest, err := avro.MustParse(schema).Decode(encoded, &v)
	if err != nil || len(rest) > 0 {
		t.Errorf("%x by %s: %v, and %d bytes are left", encoded, schema, err, len(rest))
	}
	codec, err := goavro.NewCodec(schema)
	if err != nil {
		return v // goavro knows fewer schemas
	}
	_, rest, err = codec.NativeFromBinary(encoded)
	if err != nil || len(rest) > 0 {
		t.Errorf("goavro, %x by %s: %v, and %d bytes are left", encoded, schema, err, len(rest))
	}
	return v
}

func TestAvroFaults(t *testing.T) {
	deep := avroRecordOf(field("id", `"int"`) + "," + field("lines", `{"type":"array","items":{"type":"record","name":"L","fields":[`+
		field("sku", `"string"`)+","+field("price", `["null","int"]`)+","+field("more", `{"type":"map","values":"boolean"}`)+`]}}`))
	for _, test := range []struct{ schema, doc, path, reason string }{
		{`"int"`, `1.5`, "", "must be an integer of 32 bits"},
		{`"int"`, `2147483648`, "", "must be an integer of 32 bits"},
		{`"int"`, `"1"`, "", "must be an integer"},
		{`"int"`, `null`, "", "must be an integer"},
		{`"long"`, `9223372036854775808`, "", "must be an integer of 64 bits"},
		{`"long"`, `1e999999999999999999`, "", "must be an integer of 64 bits"},
		{`"float"`, `1e39`, "", `must be a number in the range of the type "float"`},
		{`"double"`, `1e999`, "", `must be a number in the range of the type "double"`},
		{`"double"`, `null`, "", "must be a number"},
		{`"double"`, `"1"`, "", "must be a number"},
		{`"null"`, `0`, "", "must be null"},
		{`"boolean"`, `"true"`, "", "must be true or false"},
		{`"string"`, `7`, "", "must be a string"},
		{`"bytes"`, `"€"`, "", "must be a string of bytes, of characters up to U+00FF"},
		{`{"type":"fixed","name":"F","size":2}`, `"abc"`, "", "must be a string of 2 bytes"},
		{`{"type":"enum","name":"E","namespace":"n","symbols":["A"]}`, `"C"`, "", `must be a symbol of the enum "n.E"`},
		{`{"type":"array","items":"int"}`, `{}`, "", "must be an array"},
		{`{"type":"array","items":"int"}`, `[1,2,true]`, "/2", "must be an integer"},
		{`{"type":"map","values":"int"}`, `{"client":true}`, "/*", "must be an integer"},
		{`["null","int"]`, `"x"`, "", `must fit a branch of the union of "null, int"`},
		{`["null","int"]`, `{"int":"x"}`, "/int", "must be an integer"},
		{`["null","int"]`, `{"null":1}`, "/null", "must be null"},
		{`["int","string"]`, `null`, "", "must not be null"},
		{deep, `[]`, "", `must be an object, the record "n.R"`},
		{deep, `{}`, "", `lacks the field "id"`},
		{deep, `{"id":1,"lines":[{"sku":"a","more":{}},{"sku":"b","more":{"client":1}}]}`, "/lines/1/more/*", "must be true or false"},
		{deep, `{"id":1,"lines":[{"sku":"a","price":{"int":"7"},"more":{}}]}`, "/lines/0/price/int", "must be an integer"},
		{deep, `{"id":1,"lines":[{"sku":"a","price":1.5,"more":{}}]}`, "/lines/0/price", "must be an integer of 32 bits"},
		{avroRecordOf(field("a", `{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`)), `{"a":1.234}`, "/a", "must have at most 2 decimal places"},
		{avroRecordOf(field("a", `{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`)), `{"a":100}`, "/a", "must have at most 4 digits"},
		{avroRecordOf(field("a", `{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`)), `{"a":1e999999999}`, "/a", "must have at most 4 digits"},
		{`{"type":"fixed","name":"D","size":1,"logicalType":"decimal","precision":2,"scale":0}`, `"ab"`, "", "must be a string of 1 bytes"},
		{`"int"`, ``, "", notJSON},
		{`"int"`, `1 1`, "", notJSON},
		{`"int"`, `01`, "", notJSON},
		{`"string"`, "\"\xff\"", "", notJSON},
		{`"string"`, "\"\n\"", "", notJSON},
		{`"double"`, `NaN`, "", notJSON},
		{`{"type":"array","items":"int"}`, strings.Repeat("[", MaxDepth+1), "", "is nested too deeply"},
	} {
		e, err := Compile(Avro, test.schema, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.AppendJSON([]byte("before"), []byte(test.doc))
		var fit *FitError
		if !errors.As(err, &fit) || fit.Path != test.path || fit.Reason != test.reason || string(got) != "before" {
			t.Errorf("%s by %s: %q, %+v, want at %s: %s", test.doc, test.schema, got, err, test.path, test.reason)
		}
	}
}

func TestAvroRejectsUnknownMembersIfStrict(t *testing.T) {
	e, err := Options{Strict: true}.Compile(Avro, avroRecordOf(field("a", `"int"`)), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.AppendJSON(nil, []byte(`{"a":1,"client":2}`))
	if err == nil || err.Error() != `has a member that is not a field of the record "n.R"` {
		t.Error(err)
	}
}

// All kinds of defaults, beside what the library writes for a record without members.
func TestAvroDefaultsAreTheLibrarys(t *testing.T) {
	for _, f := range []string{
		`"type":"int","default":-3`, `"type":"long","default":3`, `"type":"float","default":1.5`, `"type":"double","default":2`,
		`"type":"boolean","default":true`, `"type":"string","default":"gr\u00fc"`, `"type":"bytes","default":"\u00ff\u0000"`,
		`"type":"null","default":null`, `"type":["null","int"],"default":null`, `"type":["int","null"],"default":4`, `"type":["null","int"]`,
		`"type":{"type":"enum","name":"E","symbols":["A","B"]},"default":"B"`,
		`"type":{"type":"fixed","name":"F","size":2},"default":"ab"`,
		`"type":{"type":"array","items":"int"},"default":[]`, `"type":{"type":"array","items":["null","string"]},"default":[null,null]`,
		`"type":{"type":"map","values":"long"},"default":{}`, `"type":{"type":"map","values":"long"},"default":{"a":1}`,
		`"type":{"type":"record","name":"S","fields":[{"name":"a","type":"int"},{"name":"b","type":"string","default":"x"},{"name":"c","type":["null","int"]}]},"default":{"a":1}`,
		`"type":{"type":"int","logicalType":"date"},"default":1`, `"type":{"type":"long","logicalType":"timestamp-millis"},"default":1`,
		`"type":{"type":"long","logicalType":"time-micros"},"default":1`,
		`"type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2},"default":"\u0001"`,
		`"type":{"type":"string","logicalType":"uuid"},"default":"x"`,
		`"type":["double","int"],"default":1`,
		`"type":"double","default":"NaN"`,
	} {
		schema := avroRecordOf(`{"name":"f",` + f + `}`)
		s, err := avro.Parse(schema)
		if err != nil {
			t.Logf("the library does not take %s: %v", f, err)
			continue
		}
		want, err := s.AppendEncode(nil, map[string]any{})
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		e, err := Compile(Avro, schema, nil)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		if got, err := e.AppendJSON(nil, []byte(`{}`)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %x, %v, want %x", f, got, err, want)
		}
	}
}

func TestAvroReferences(t *testing.T) {
	address := Reference{Name: "shop.Address", Text: `{"type":"record","name":"Address","namespace":"shop","fields":[{"name":"zip","type":"string"}]}`}
	customer := Reference{Name: "shop.Customer", Text: `{"type":"record","name":"Customer","namespace":"shop","fields":[{"name":"home","type":"Address"},{"name":"work","type":["null","shop.Address"]}]}`}
	order := `{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"customer","type":"Customer"},{"name":"ship_to","type":"Address"}]}`
	nested := customer
	nested.References = []Reference{address}
	for name, refs := range map[string][]Reference{
		"in their order": {address, customer}, "as a tree": {nested}, "twice": {address, nested, address},
	} {
		e, err := Compile(Avro, order, refs)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := e.AppendJSON(nil, []byte(`{"customer":{"home":{"zip":"1"},"work":{"zip":"2"}},"ship_to":{"zip":"3"}}`))
		if err != nil || string(got) != "\x021\x02\x022\x023" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := Compile(Avro, order, []Reference{customer}); err == nil {
		t.Error("a reference is missing, and nobody minds")
	}
}

func TestAvroText(t *testing.T) {
	for _, test := range []struct{ schema, text, want string }{
		{`"string"`, `a "key"`, "\x0ea \"key\""},
		{`"string"`, ``, "\x00"},
		{`["null","string"]`, `null`, "\x02\x08null"},
		{`"bytes"`, "\xff", "\x02\xff"},
		{`{"type":"enum","name":"E","symbols":["A","B"]}`, `B`, "\x02"},
		{`{"type":"fixed","name":"F","size":3}`, `abc`, "abc"},
		{`"long"`, `7`, "\x0e"},
		{`["null","long"]`, `7`, "\x02\x0e"},
		{avroRecordOf(field("id", `"long"`)), `{"id":7}`, "\x0e"},
	} {
		e, err := Compile(Avro, test.schema, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := e.AppendText([]byte("k"), []byte(test.text)); err != nil || string(got) != "k"+test.want {
			t.Errorf("%q by %s: %q, %v, want k%q", test.text, test.schema, got, err, test.want)
		}
	}
	for _, test := range []struct{ schema, text string }{{`"string"`, "\xff"}, {`"long"`, "seven"}, {`"long"`, ""}} {
		e, _ := Compile(Avro, test.schema, nil)
		if got, err := e.AppendText(nil, []byte(test.text)); err == nil {
			t.Errorf("%q by %s: %q", test.text, test.schema, got)
		}
	}
}

// A document must not cause more work, or a larger value, than its size and the limits allow.
func TestAvroIsBounded(t *testing.T) {
	wide := new(strings.Builder)
	for i := range 2000 {
		fmt.Fprintf(wide, `,{"name":"f%d","type":["null","int"]}`, i)
	}
	many := `{"type":"array","items":` + avroRecordOf(wide.String()[1:]) + `}`
	empty := `[{}` + strings.Repeat(",{}", 1<<14) + `]`
	ambiguous := `{"type":"record","name":"R","fields":[{"name":"R","type":["null","R",{"type":"record","name":"S","fields":[{"name":"R","type":["null","R","S","int"]}]}]}]}`
	nested := strings.Repeat(`{"R":`, 200) + `"x"` + strings.Repeat(`}`, 200)
	large := avroRecordOf(`{"name":"a","type":"string","default":"` + strings.Repeat("x", 10000) + `"}`)
	alike := new(strings.Builder)
	for i := range 200 {
		fmt.Fprintf(alike, `{"type":"record","name":"r%d","fields":[{"name":"a","type":"int"}]},`, i)
	}
	for _, test := range []struct {
		schema, doc, reason string
		o                   Options
	}{
		{many, empty, "takes too much work by the schema", Options{}},
		{ambiguous, nested, "takes too much work by the schema", Options{}},
		{`{"type":"array","items":` + large + `}`, empty, "becomes too large", Options{MaxValue: 1 << 20}},
		{`{"type":"fixed","name":"F","size":2000000000,"logicalType":"decimal","precision":9}`, `1`, "becomes too large", Options{}},
		{"[" + alike.String() + `"null"]`, `{` + strings.Repeat(`"x":1,`, 1<<17) + `"x":1}`, "takes too much work by the schema", Options{}},
	} {
		e, err := test.o.Compile(Avro, test.schema, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.AppendJSON(nil, []byte(test.doc))
		var fit *FitError
		if !errors.As(err, &fit) || fit.Reason != test.reason || fit.TooLarge != (test.reason == "becomes too large") {
			t.Errorf("%v, want %s", err, test.reason)
		}
	}
}

// avroSchemas are what documents of the fuzzer are encoded by.
var avroSchemas = []string{
	avroUser, orderAvro, readingsAvro, textsAvro,
	`["null","int","string",{"type":"array","items":["null","double"]},{"type":"map","values":"boolean"}]`,
	avroRecordOf(field("b", `"bytes"`) + "," + field("f", `{"type":"fixed","name":"F","size":3}`) + "," + field("e", `{"type":"enum","name":"E","symbols":["A","B"]}`) +
		`,{"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":6,"scale":2},"default":"\u0001"}` +
		`,{"name":"u","type":["null","long",{"type":"enum","name":"E2","symbols":["A","C"]},"R"],"default":null}`),
}

// What is encoded can be decoded by both libraries, and what the library for schemas encodes
// of the same document means the same. An error shows none of the client's text.
func FuzzAvroJSON(f *testing.F) {
	for i := range avroSchemas {
		for _, doc := range []string{
			orderBody, readingsBody, textsBody, `null`, `{"username":"john_doe","age":30}`, `{"username":"john_doe","age":{"int":30}}`,
			`[1,null,{"double":2}]`, `{"a":true}`, `{"b":"\u0000","f":"abc","e":"A"}`, `{"b":"ÿ","f":"abc","e":"B","d":-12.34,"u":{"n.R":{"b":"","f":"abc","e":"A","u":"C"}}}`,
			`{"b":"ÿ","f":"abc","e":"B","d":1e3,"u":{"long":5}}`,
		} {
			f.Add(uint8(i), []byte(doc))
		}
	}
	type set struct {
		text    string
		e       Encoder
		library *avro.Schema
		codec   *goavro.Codec
	}
	var sets []set
	for _, s := range avroSchemas {
		e, err := Compile(Avro, s, nil)
		if err != nil {
			f.Fatal(err)
		}
		codec, err := goavro.NewCodec(s)
		if err != nil {
			f.Fatal(err)
		}
		sets = append(sets, set{s, e, avro.MustParse(s), codec})
	}
	f.Fuzz(func(t *testing.T, which uint8, doc []byte) {
		s := sets[int(which)%len(sets)]
		got, err := s.e.AppendJSON(nil, doc)
		if err != nil {
			checkFit(t, err, doc, s.text)
			var v any
			if !json.Valid(doc) || s.library.DecodeJSON(doc, &v) != nil {
				return
			}
			for _, stricter := range []string{"must be a number", "decimal places", "digits at most", "nested", "union"} {
				if strings.Contains(err.Error(), stricter) {
					return
				}
			}
			t.Fatalf("%s: %v, and the library takes it", doc, err)
		}
		var mine, theirs any
		if rest, err := s.library.Decode(got, &mine); err != nil || len(rest) > 0 {
			t.Fatalf("%s becomes %x: %v, and %d bytes are left", doc, got, err, len(rest))
		}
		if _, rest, err := s.codec.NativeFromBinary(got); err != nil || len(rest) > 0 {
			t.Fatalf("%s becomes %x, for goavro: %v, and %d bytes are left", doc, got, err, len(rest))
		}
		if err := s.library.DecodeJSON(doc, &theirs); err != nil {
			// The library tries fewer branches of unions.
			return
		}
		if !reflect.DeepEqual(mine, theirs) && !strings.Contains(fmt.Sprint(mine), "NaN") {
			t.Logf("%s becomes %v, and by the library %v", doc, mine, theirs)
			t.Fail()
		}
	})
}
