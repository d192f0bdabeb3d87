package schemafmt

import (
	"errors"
	"strings"

	"github.com/twmb/avro"
)

type avroEncoder struct {
	schema *avro.Schema
	max    int
	text   bool // is the schema a string?
}

func (o *Options) compileAvro(text string, refs []Reference) (Encoder, error) {
	var cache avro.SchemaCache
	for _, r := range refs {
		if _, err := cache.Parse(r.Text); err != nil {
			return nil, schemaError("the Avro schema "+quote(r.Name)+" that the schema refers to", err)
		}
	}
	s, err := cache.Parse(text)
	if err != nil {
		return nil, schemaError("the Avro schema", err)
	}
	return &avroEncoder{s, o.MaxValue, s.Root().Type == "string"}, nil
}

func (e *avroEncoder) Index() []int { return nil }

func (e *avroEncoder) AppendJSON(dst, doc []byte) ([]byte, error) {
	var v any
	if err := e.schema.DecodeJSON(doc, &v, avro.TaggedUnions()); err != nil {
		return dst, avroFit(err)
	}
	return e.append(dst, v)
}

func (e *avroEncoder) AppendText(dst, text []byte) ([]byte, error) {
	if e.text {
		return e.append(dst, string(text))
	}
	return e.AppendJSON(dst, text)
}

func (e *avroEncoder) append(dst []byte, v any) ([]byte, error) {
	b, err := e.schema.AppendEncode(dst, v)
	if err != nil {
		return dst, avroFit(err)
	}
	if len(b)-len(dst) > e.max {
		return dst, &FitError{Reason: "becomes too large in Avro"}
	}
	return b, nil
}

// avroFit makes a FitError of the library's error, whose text may hold values.
func avroFit(err error) *FitError {
	f := &FitError{Reason: "does not fit the Avro schema"}
	var semantic *avro.SemanticError
	if errors.As(err, &semantic) && semantic.Field != "" {
		var path strings.Builder
		for name := range strings.SplitSeq(semantic.Field, ".") {
			token(&path, name)
		}
		f.Path = path.String()
	}
	return f
}
