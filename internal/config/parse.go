package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"kafka-upstream/internal/kongschema"
	"kafka-upstream/schema"
)

var (
	fields   = sync.OnceValue(schema.Config)
	defaults = sync.OnceValue(schema.Defaults)
)

// Schema returns the schema of the configuration, by which Kong checks it.
func Schema() *kongschema.Field { return rules() }

var rules = sync.OnceValue(func() *kongschema.Field {
	root, err := kongschema.Parse(schema.JSON())
	if err != nil {
		panic(err) // a test rules it out
	}
	return root.Field("config")
})

// Parse reads the configuration that Kong sends with START. What is absent
// or null takes the schema's default; unknown keys (Kong adds some of its own) are
// passed over. The error names the field that has the wrong type, and holds
// no value of the configuration.
func Parse(b []byte) (*Config, error) {
	c := new(Config)
	if err := json.Unmarshal(defaults(), c); err != nil {
		return nil, fmt.Errorf("the schema's defaults do not fit the configuration: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if !json.Valid(b) || d.Decode(&v) != nil {
		return nil, errors.New("the configuration is not JSON")
	}
	v = normal(schema.Field{Type: "record", Fields: fields()}, v)
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // it was just read
	}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, plain(err)
	}
	c.violations = violations(b)
	return c, nil
}

// normal returns v in the form that its field has in Go. A Lua table that is empty may
// arrive as an object or as an array, whichever the field is, and Lua has no integers. A
// value that does not fit its field is left for Unmarshal to name.
func normal(f schema.Field, v any) any {
	list := f.Type == "array" || f.Type == "set"
	switch v := v.(type) {
	case map[string]any:
		switch {
		case list && len(v) == 0:
			return []any{}
		case f.Type != "record":
			return v
		}
		out := maps.Clone(v)
		for _, child := range f.Fields {
			if value, ok := v[child.Name]; ok {
				out[child.Name] = normal(child, value)
			}
		}
		return out
	case []any:
		switch {
		case len(v) == 0 && (f.Type == "record" || f.Type == "map"):
			return map[string]any{}
		case !list || len(f.Fields) == 0:
			return v
		}
		out := make([]any, len(v))
		for i, element := range v {
			out[i] = normal(schema.Field{Type: "record", Fields: f.Fields}, element)
		}
		return out
	case json.Number:
		return whole(f, v)
	}
	return v
}

// whole returns the number of an integer field without fraction and exponent, if it is one.
func whole(f schema.Field, n json.Number) any {
	const exact = 1 << 53 // up to which a double holds every integer
	if f.Type != "integer" || !strings.ContainsAny(n.String(), ".eE") {
		return n
	}
	if x, err := n.Float64(); err == nil && x == math.Trunc(x) && math.Abs(x) <= exact {
		return int64(x)
	}
	return n
}

// ownRules are the fields that Validate checks itself, with more to say than the schema has.
var ownRules = []string{"bootstrap_servers", "topic", "authentication", "security", "cluster_name"}

// violations returns what the schema has against a configuration, in Kong's words.
func violations(b []byte) []string {
	var v map[string]any
	if json.Unmarshal(b, &v) != nil {
		return nil // Parse has said why
	}
	for name := range v {
		own := slices.Contains(ownRules, name) && name != "topic" // which another field depends on
		if own || rules().Field(name) == nil {                    // Kong adds some of its own
			delete(v, name)
		}
	}
	p := kongschema.Problems{}
	rules().Validate("", rules().Fill(v), p)
	for path, problem := range p {
		name := path[:strings.IndexAny(path+".", ".[")]
		if problem == "unknown field" || slices.Contains(ownRules, name) {
			delete(p, path)
		}
	}
	return p.List()
}

// plain turns an error of encoding/json into a sentence without the value that
// caused it, which may be a secret.
func plain(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := e.Field
		if field == "" {
			return errors.New("the configuration is not a JSON object")
		}
		return fmt.Errorf("%s has the wrong type: expected %s", field, kind(e))
	}
	return errors.New("the configuration is not JSON")
}

func kind(e *json.UnmarshalTypeError) string {
	switch k := e.Type.Kind().String(); k {
	case "int", "int64":
		return "an integer"
	case "bool":
		return "true or false"
	case "slice":
		return "an array"
	case "struct", "map":
		return "an object"
	default:
		return "a " + k
	}
}
