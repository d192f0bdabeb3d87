// Package kongschema checks values by schemas in Kong's schema language (kong/db/schema of
// Kong 3.9.1), with Kong's words. It has the part of the language that JSON can carry and
// that this plugin's schema uses; anything else is refused, so that nothing passes
// unchecked.
package kongschema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
)

// Field is a field of a schema. It is read-only once parsed, and may be shared.
type Field struct {
	Type          string `json:"type"` // string, number, integer, boolean, record, foreign, array, set or map
	Description   string `json:"description"`
	Auto          bool   `json:"auto"` // Kong makes up a value if none is given
	UUID          bool   `json:"uuid"`
	Referenceable bool   `json:"referenceable"` // may be a {vault://…} reference
	Encrypted     bool   `json:"encrypted"`
	Default       any    `json:"default"`
	RawRequired   *bool  `json:"required"`
	match
	Between      []float64           `json:"between"`
	MatchNone    []*pattern          `json:"match_none"`
	MatchAll     []*pattern          `json:"match_all"`
	MatchAny     *patterns           `json:"match_any"`
	Reference    string              `json:"reference"` // of a foreign field: which entities
	Elements     *Field              `json:"elements"`  // of an array or a set
	Keys         *Field              `json:"keys"`      // of a map
	Values       *Field              `json:"values"`    // of a map
	RawFields    []map[string]*Field `json:"fields"`
	EntityChecks []entityCheck       `json:"entity_checks"`

	Required bool    `json:"-"`
	Fields   []Named `json:"-"` // of a record, in their order
}

// Named is a field of a record with its name.
type Named struct {
	Name string
	*Field
}

// entityCheck is a rule for several fields of a record. One of its members is set. Names of
// fields may have dots, for fields of records in the record.
type entityCheck struct {
	Conditional             *conditional  `json:"conditional"`
	ConditionalAtLeastOneOf *conditionals `json:"conditional_at_least_one_of"`
	MutuallyExclusive       []string      `json:"mutually_exclusive"`
}

type conditional struct {
	IfField   string `json:"if_field"`
	IfMatch   match  `json:"if_match"`
	ThenField string `json:"then_field"`
	ThenMatch match  `json:"then_match"`
	ThenErr   string `json:"then_err"`
}

type conditionals struct {
	IfField string   `json:"if_field"`
	IfMatch match    `json:"if_match"`
	Then    []string `json:"then_at_least_one_of"`
	ThenErr string   `json:"then_err"` // %s is replaced by the names of the fields; "" for Kong's words
}

// match is a condition on a value, which may be nil.
type match struct {
	Eq     json.RawMessage `json:"eq"`
	Ne     json.RawMessage `json:"ne"`
	OneOf  []any           `json:"one_of"`
	LenMin *int            `json:"len_min"`
	LenMax *int            `json:"len_max"`
	Match  *luaPattern     `json:"match"`
}

// holds reports whether v, which is of its field's type, satisfies m. Of nil Kong looks at
// eq and ne alone.
func (m *match) holds(v any) bool {
	is := func(raw json.RawMessage) bool {
		var want any
		return json.Unmarshal(raw, &want) == nil && reflect.DeepEqual(v, want)
	}
	if m.Eq != nil && !is(m.Eq) || m.Ne != nil && is(m.Ne) {
		return false
	}
	if v == nil {
		return true
	}
	n := length(v)
	s, _ := v.(string)
	return (m.OneOf == nil || slices.Contains(m.OneOf, v)) && (m.LenMin == nil || n >= *m.LenMin) &&
		(m.LenMax == nil || n <= *m.LenMax) && (m.Match == nil || m.Match.MatchString(s))
}

// length returns what Kong compares with len_min and len_max, -1 for a value without a
// length.
func length(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	}
	return -1
}

type pattern struct {
	Lua luaPattern `json:"pattern"`
	Err string     `json:"err"`
}

type patterns struct {
	Lua []luaPattern `json:"patterns"`
	Err string       `json:"err"`
}

type luaPattern struct{ *regexp.Regexp }

// UnmarshalJSON implements json.Unmarshaler.
func (p *luaPattern) UnmarshalJSON(b []byte) (err error) {
	var lua string
	if err = json.Unmarshal(b, &lua); err == nil {
		p.Regexp, err = compile(lua)
	}
	return err
}

// Parse reads the schema of a plugin or of an entity, as JSON, and refuses what Kong's loader
// would refuse.
func Parse(raw []byte) (*Field, error) {
	top := struct {
		Name   string              `json:"name"`
		Fields []map[string]*Field `json:"fields"`
	}{}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&top); err != nil {
		return nil, fmt.Errorf("the schema cannot be used: %w", err)
	}
	if top.Name == "" {
		return nil, fmt.Errorf("the schema has no name")
	}
	required := true
	f := &Field{Type: "record", RawRequired: &required, RawFields: top.Fields}
	return f, f.prepare(top.Name)
}

func (f *Field) prepare(name string) error {
	f.Required = f.RawRequired != nil && *f.RawRequired
	var parts []*Field
	switch f.Type {
	case "string", "number", "integer", "boolean", "record", "foreign":
	case "array", "set":
		if f.Elements == nil {
			return fmt.Errorf("field %q is of type %s and has no elements", name, f.Type)
		}
		parts = []*Field{f.Elements}
	case "map":
		if f.Keys == nil || f.Values == nil {
			return fmt.Errorf("field %q is of type map and has no keys or no values", name)
		}
		parts = []*Field{f.Keys, f.Values}
	default:
		return fmt.Errorf("field %q has the type %q, which is not known here", name, f.Type)
	}
	for _, part := range parts {
		if err := part.prepare(name); err != nil {
			return err
		}
	}
	if n := len(f.Between); n != 0 && n != 2 {
		return fmt.Errorf("between of field %q has %d values", name, n)
	}
	if n := len(f.Description); n > 0 && (n < 10 || n > 500) {
		return fmt.Errorf("the description of field %q has %d bytes: Kong takes 10 to 500", name, n)
	}
	for _, m := range f.RawFields {
		if len(m) != 1 {
			return fmt.Errorf("each entry of fields in %q must be an object with one key", name)
		}
		for name, child := range m {
			if err := child.prepare(name); err != nil {
				return err
			}
			if child.Type == "record" && child.RawRequired == nil {
				child.Required = true // as in kong/db/schema/entity.lua
			}
			f.Fields = append(f.Fields, Named{name, child})
		}
	}
	return f.prepareChecks(name)
}

func (f *Field) prepareChecks(name string) error {
	for _, c := range f.EntityChecks {
		names := c.MutuallyExclusive
		if c.Conditional != nil {
			names = append(names, c.Conditional.IfField, c.Conditional.ThenField)
		}
		if c := c.ConditionalAtLeastOneOf; c != nil {
			// Kong judges a default by a copy of the field in which it may have set else_match to null
			// already, and then takes that for a table: it starts or not as chance has it
			// (conditional_at_least_one_of in kong/db/schema/init.lua of 3.9.1).
			if f.Default != nil {
				return fmt.Errorf("%q has a default and conditional_at_least_one_of, with which Kong may not start: check it in the record around it", name)
			}
			names = append(append(names, c.IfField), c.Then...)
		}
		for _, n := range names {
			if f.at(n) == nil {
				return fmt.Errorf("an entity check of %q names %q, which is no field of it", name, n)
			}
		}
		if c := c.Conditional; c != nil {
			for _, n := range []string{c.IfField, c.ThenField} {
				// Kong merges the condition into the field, takes that for the schema of a record, and
				// finds no fields in it (conditional in kong/db/schema/init.lua of 3.9.1).
				if f.at(n).Type == "record" {
					return fmt.Errorf("an entity check of %q compares %q, a record: Kong fails at its value; name a field of it", name, n)
				}
			}
		}
	}
	return nil
}

// Field returns the record's field with that name, nil if there is none.
func (f *Field) Field(name string) *Field {
	for _, child := range f.Fields {
		if child.Name == name {
			return child.Field
		}
	}
	return nil
}
