// Package schemafmt turns JSON into what Confluent's serializers write after the header of a
// value: Avro's binary encoding, JSON that is valid by a JSON Schema, and Protobuf. It is pure:
// a schema's text becomes an [Encoder], and nothing is read from files or networks.
package schemafmt

import "fmt"

// Kind is a language of schemas, in the registry's words.
type Kind string

const (
	Avro       Kind = "AVRO" // also what a registry means that names no type
	JSONSchema Kind = "JSON"
	Protobuf   Kind = "PROTOBUF"
)

// Reference is a schema that another one refers to, with its text.
type Reference struct {
	Name       string // what the schema calls it: a full name in Avro, a URI in JSON Schema, the path of an import in Protobuf
	Subject    string // where the registry has it; not used here
	Text       string
	References []Reference // what the text itself refers to, unless that stands before it in the list
}

// Options bound what schemas and documents may cost, and say what is accepted. The zero value
// is what the program uses.
type Options struct {
	Strict        bool   // members that the schema does not know are errors, in Avro and Protobuf
	Message       string // of Protobuf: the full name of the message, instead of the first one
	MaxSchema     int    // bytes of a text, and of all texts together; 0: [MaxSchema]
	MaxReferences int    // 0: [MaxReferences]
	MaxDepth      int    // how deep documents may nest; 0: [MaxDepth]
	MaxValue      int    // bytes that an Encoder may append; 0: [MaxValue]
}

// Defaults of [Options].
const (
	MaxSchema     = 1 << 20
	MaxReferences = 100
	MaxDepth      = 1000
	MaxValue      = 100 << 20
)

// Encoder makes values by one schema. It is read-only: many goroutines use it at once.
type Encoder interface {
	// AppendJSON appends doc, which is one JSON document, in the schema's form to dst. The
	// error is a *FitError if doc is not JSON or does not fit. dst is then returned as it was.
	AppendJSON(dst, doc []byte) ([]byte, error)
	// AppendText appends a text, such as a record's key: as a string if the schema takes a
	// string there, and otherwise as the JSON document that it then has to be.
	AppendText(dst, text []byte) ([]byte, error)
	// Index is where the message is among those of a Protobuf text, which stands before each
	// value: the position of the message at the top, then of the one nested in it. It is nil
	// for other kinds. The caller must not change it.
	Index() []int
}

// Compile is [Options.Compile] with the zero Options.
func Compile(kind Kind, text string, refs []Reference) (Encoder, error) {
	return Options{}.Compile(kind, text, refs)
}

// Compile returns the Encoder of a schema. The error is one sentence that says why the schema
// cannot be used. It is bounded, and quotes little of the text.
func (o Options) Compile(kind Kind, text string, refs []Reference) (Encoder, error) {
	o = o.withDefaults()
	all, err := o.flatten(text, refs)
	if err != nil {
		return nil, err
	}
	var e Encoder
	switch kind {
	case Avro, "":
		e, err = o.compileAvro(text, all)
	case JSONSchema:
		e, err = o.compileJSONSchema(text, all)
	case Protobuf:
		e, err = o.compileProtobuf(text, all)
	default:
		return nil, fmt.Errorf("a schema of type %s cannot be used: the types are AVRO, JSON and PROTOBUF", quote(string(kind)))
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		field *int
		value int
	}{{&o.MaxSchema, MaxSchema}, {&o.MaxReferences, MaxReferences}, {&o.MaxDepth, MaxDepth}, {&o.MaxValue, MaxValue}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return o
}

// flatten returns the references in dependency order, each name once.
func (o *Options) flatten(text string, refs []Reference) ([]Reference, error) {
	size := len(text)
	var all []Reference
	seen := make(map[string]string) // texts by name
	visited := 0
	var walk func(refs []Reference, depth int) error
	walk = func(refs []Reference, depth int) error {
		if depth > o.MaxReferences {
			return fmt.Errorf("the schema's references nest deeper than %d", o.MaxReferences)
		}
		for _, r := range refs {
			if visited++; visited > 16*o.MaxReferences {
				return fmt.Errorf("the schema has more than %d references", o.MaxReferences)
			}
			if err := walk(r.References, depth+1); err != nil {
				return err
			}
			if known, ok := seen[r.Name]; ok {
				if known != r.Text {
					return fmt.Errorf("two of the schema's references have the name %s, with different texts", quote(r.Name))
				}
				continue
			}
			if len(all) == o.MaxReferences {
				return fmt.Errorf("the schema has more than %d references", o.MaxReferences)
			}
			size += len(r.Text)
			seen[r.Name] = r.Text
			all = append(all, Reference{Name: r.Name, Text: r.Text})
		}
		return nil
	}
	if err := walk(refs, 1); err != nil {
		return nil, err
	}
	if size > o.MaxSchema {
		return nil, fmt.Errorf("the schema has %d bytes with its references, and %d are allowed", size, o.MaxSchema)
	}
	return all, nil
}
