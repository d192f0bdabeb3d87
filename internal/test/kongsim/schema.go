package kongsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// fieldSchema is a field in the language of Kong's schemas (kong/db/schema), with the
// attributes that this plugin's schema uses. Any other attribute is refused, so that
// nothing passes unchecked.
type fieldSchema struct {
	Type          string `json:"type"`
	Description   string `json:"description"`
	Required      bool   `json:"required"`
	Auto          bool   `json:"auto"`
	UUID          bool   `json:"uuid"`
	Referenceable bool   `json:"referenceable"`
	Encrypted     bool   `json:"encrypted"`
	Default       any    `json:"default"`
	match
	Between      []float64                 `json:"between"`
	LenMin       *int                      `json:"len_min"`
	LenMax       *int                      `json:"len_max"`
	MatchNone    []*pattern                `json:"match_none"`
	Reference    string                    `json:"reference"`
	Elements     *fieldSchema              `json:"elements"`
	Fields       []map[string]*fieldSchema `json:"fields"`
	EntityChecks []struct {
		Conditional struct {
			IfField   string `json:"if_field"`
			IfMatch   match  `json:"if_match"`
			ThenField string `json:"then_field"`
			ThenMatch match  `json:"then_match"`
			ThenErr   string `json:"then_err"`
		} `json:"conditional"`
	} `json:"entity_checks"`

	fields []namedField // Fields in their order
}

type namedField struct {
	name string
	*fieldSchema
}

// match is a condition on a value, which may be null.
type match struct {
	Eq    json.RawMessage `json:"eq"`
	Ne    json.RawMessage `json:"ne"`
	OneOf []any           `json:"one_of"`
}

func (m *match) holds(v any) bool {
	is := func(raw json.RawMessage) bool {
		var want any
		return json.Unmarshal(raw, &want) == nil && reflect.DeepEqual(v, want)
	}
	return (m.Eq == nil || is(m.Eq)) && (m.Ne == nil || !is(m.Ne)) && (m.OneOf == nil || slices.Contains(m.OneOf, v))
}

type pattern struct {
	Lua string `json:"pattern"`
	Err string `json:"err"`
	re  *regexp.Regexp
}

// parseSchema reads the schema of a plugin or of an entity, and refuses what Kong's
// loader would refuse.
func parseSchema(raw []byte) (*fieldSchema, error) {
	top := struct {
		Name   string                    `json:"name"`
		Fields []map[string]*fieldSchema `json:"fields"`
	}{}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&top); err != nil {
		return nil, fmt.Errorf("the schema cannot be used: %w", err)
	}
	if top.Name == "" {
		return nil, fmt.Errorf("the schema has no name")
	}
	s := &fieldSchema{Type: "record", Required: true, Fields: top.Fields}
	return s, s.prepare(top.Name)
}

func (s *fieldSchema) prepare(name string) (err error) {
	switch s.Type {
	case "string", "number", "integer", "boolean", "record", "foreign":
	case "array", "set":
		if s.Elements == nil {
			return fmt.Errorf("field %q is of type %s and has no elements", name, s.Type)
		}
		if err := s.Elements.prepare(name); err != nil {
			return err
		}
	default:
		return fmt.Errorf("field %q has the type %q, which is none that this stand-in for Kong knows", name, s.Type)
	}
	if n := len(s.Between); n != 0 && n != 2 {
		return fmt.Errorf("between of field %q has %d values", name, n)
	}
	for _, p := range s.MatchNone {
		if p.re, err = luaPattern(p.Lua); err != nil {
			return fmt.Errorf("field %q: %w", name, err)
		}
	}
	for _, m := range s.Fields {
		if len(m) != 1 {
			return fmt.Errorf("each entry of fields in %q must be an object with one key", name)
		}
		for name, f := range m {
			if err := f.prepare(name); err != nil {
				return err
			}
			s.fields = append(s.fields, namedField{name, f})
		}
	}
	return nil
}

// field returns the record's field with that name, nil if there is none.
func (s *fieldSchema) field(name string) *fieldSchema {
	for _, f := range s.fields {
		if f.name == name {
			return f.fieldSchema
		}
	}
	return nil
}

var luaClasses = map[byte]string{'w': "0-9A-Za-z", 'd': "0-9", 'a': "A-Za-z", 'u': "A-Z", 'l': "a-z", 's': `\s`}

// luaPattern translates a Lua pattern of classes, sets, *, +, ? and anchors into a regular
// expression.
func luaPattern(lua string) (*regexp.Regexp, error) {
	var out strings.Builder
	out.WriteString("(?s)")
	inSet := false
	for i := 0; i < len(lua); i++ {
		switch c := lua[i]; {
		case c == '%' && i+1 < len(lua):
			i++
			class, known := luaClasses[lua[i]]
			switch {
			case known && inSet:
				out.WriteString(class)
			case known:
				out.WriteString("[" + class + "]")
			case lua[i] >= '0' && lua[i] <= '9' || lua[i] >= 'A' && lua[i] <= 'Z' || lua[i] >= 'a' && lua[i] <= 'z':
				return nil, fmt.Errorf("%%%c in the Lua pattern %q is not known to this stand-in for Kong", lua[i], lua)
			default:
				out.WriteString(`\` + lua[i:i+1])
			}
		case c == '[':
			inSet = true
			out.WriteByte(c)
		case c == ']':
			inSet = false
			out.WriteByte(c)
		case c == '-' && !inSet || strings.IndexByte("%(){}|", c) >= 0:
			return nil, fmt.Errorf("%c in the Lua pattern %q is not known to this stand-in for Kong", c, lua)
		case c == '\\':
			out.WriteString(`\\`)
		default:
			out.WriteByte(c)
		}
	}
	return regexp.Compile(out.String())
}
