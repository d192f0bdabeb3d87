package schemafmt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"kafka-upstream/internal/foreign"
)

// base is where the schema is, for the references in it that are relative.
const base = "registry:///"

type jsonEncoder struct {
	schema *jsonschema.Schema
	max    int
	text   bool // does the schema take a string?
}

// loader has the references by their URLs. There is nothing else that a schema can refer to:
// no files, and nothing in a network.
type loader map[string]any

func (l loader) Load(url string) (any, error) {
	if doc, ok := l[url]; ok {
		return doc, nil
	}
	return nil, errors.New("it is not among the schema's references")
}

func (o *Options) compileJSONSchema(text string, refs []Reference) (Encoder, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(text)))
	if err != nil {
		return nil, errors.New("the JSON Schema is not JSON")
	}
	bases := []*url.URL{{Scheme: "registry", Path: "/"}}
	if m, ok := doc.(map[string]any); ok {
		for _, name := range []string{"$id", "id"} {
			id, _ := m[name].(string)
			if u, err := url.Parse(id); err == nil && u.IsAbs() {
				bases = append(bases, u)
			}
		}
	}
	l := make(loader)
	for _, r := range refs {
		d, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(r.Text)))
		if err != nil {
			return nil, fmt.Errorf("the JSON Schema %s that the schema refers to is not JSON", quote(r.Name))
		}
		name, err := url.Parse(r.Name)
		if err != nil {
			return nil, fmt.Errorf("the name of the schema's reference %s is no URI", quote(r.Name))
		}
		for _, b := range bases {
			l[b.ResolveReference(name).String()] = d
		}
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	c.UseLoader(l)
	const main = base + "schema"
	if err := c.AddResource(main, doc); err != nil {
		return nil, schemaError("the JSON Schema", err)
	}
	s, err := c.Compile(main)
	if err != nil {
		return nil, schemaError("the JSON Schema", err)
	}
	return &jsonEncoder{s, o.MaxValue, s.Validate("text") == nil || s.Types != nil && stringType(s.Types)}, nil
}

func stringType(t *jsonschema.Types) bool {
	for _, name := range t.ToStrings() {
		if name == "string" {
			return true
		}
	}
	return false
}

func (e *jsonEncoder) Index() []int { return nil }

func (e *jsonEncoder) AppendJSON(dst, doc []byte) ([]byte, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return dst, &FitError{Reason: "is not JSON"}
	}
	if err := e.schema.Validate(v); err != nil {
		return dst, &FitError{Reason: "does not fit the JSON Schema"}
	}
	if len(doc) > e.max {
		return dst, &FitError{Reason: "is too large"}
	}
	return append(dst, doc...), nil
}

func (e *jsonEncoder) AppendText(dst, text []byte) ([]byte, error) {
	if e.text {
		doc, err := json.Marshal(string(text))
		if err != nil {
			return dst, &FitError{Reason: "is no text"}
		}
		return e.AppendJSON(dst, doc)
	}
	return e.AppendJSON(dst, text)
}

// schemaError says in one bounded sentence why a schema cannot be used.
func schemaError(what string, err error) error {
	return errors.New(what + " cannot be used: " + foreign.Cut(err.Error(), maxReason))
}
