package kongsim

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
)

// fieldSchema is one field of Kong's schema language, or a whole entity (a
// record). Attributes are those of Kong's kong/db/schema.
type fieldSchema struct {
	name string
	// kind is the attribute "type".
	kind     string
	required bool
	auto     bool
	uuid     bool
	// referenceable fields may hold a {vault://...} reference.
	referenceable bool

	hasDefault bool
	def        any

	hasEq, hasNe bool
	eq, ne       any
	oneOf        []any
	notOneOf     []any
	between      []float64
	gt           *float64
	lenMin       *int
	lenMax       *int
	lenEq        *int
	startsWith   string
	match        *pattern
	matchNone    []pattern
	matchAny     []pattern
	matchAll     []pattern
	err          string

	elements     *fieldSchema // of arrays and sets
	keys, values *fieldSchema // of maps
	fields       []*fieldSchema
	reference    string // of foreign fields
	checks       []entityCheck
}

// pattern is a Lua pattern, and the error where it decides against a value.
type pattern struct {
	lua string
	re  *regexp.Regexp
	err string
}

// entityCheck is a rule about several fields of one record.
type entityCheck struct {
	ifField, thenField string
	ifMatch, thenMatch *fieldSchema
	thenErr            string
	atLeastOneOf       []string
}

// field returns the record's field with that name, nil if there is none.
func (s *fieldSchema) field(name string) *fieldSchema {
	for _, f := range s.fields {
		if f.name == name {
			return f
		}
	}
	return nil
}

// parseSchema reads a plugin's or an entity's schema. Like Kong it refuses
// attributes that it does not know; what Kong knows and this stand-in does not
// check is refused too, so that nothing passes unchecked.
func parseSchema(raw []byte) (*fieldSchema, error) {
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("the schema is not a JSON object: %w", err)
	}
	m["type"] = "record"
	name, _ := m["name"].(string)
	delete(m, "name")
	s, err := parseField(name, m, 0)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, fmt.Errorf("the schema has no name")
	}
	return s, nil
}

var schemaTypes = []string{"string", "number", "integer", "boolean", "record", "array", "set", "map", "foreign", "json"}

func parseField(name string, m map[string]any, depth int) (*fieldSchema, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("the schema is nested too deeply at %q", name)
	}
	s := &fieldSchema{name: name}
	var err error
	fail := func(key string) error {
		return fmt.Errorf("attribute %q of schema field %q cannot be used: %v", key, name, m[key])
	}
	for key, v := range m {
		ok := true
		switch key {
		case "type":
			s.kind, ok = v.(string)
			ok = ok && slices.Contains(schemaTypes, s.kind)
		case "required":
			s.required, ok = v.(bool)
		case "auto":
			s.auto, ok = v.(bool)
		case "uuid":
			s.uuid, ok = v.(bool)
		case "referenceable":
			s.referenceable, ok = v.(bool)
		case "default":
			s.hasDefault, s.def = true, v
		case "eq":
			s.hasEq, s.eq = true, v
		case "ne":
			s.hasNe, s.ne = true, v
		case "one_of":
			s.oneOf, ok = v.([]any)
		case "not_one_of":
			s.notOneOf, ok = v.([]any)
		case "between":
			list, _ := v.([]any)
			for _, e := range list {
				n, isNumber := e.(float64)
				ok = ok && isNumber
				s.between = append(s.between, n)
			}
			ok = ok && len(s.between) == 2
		case "gt":
			var n float64
			n, ok = v.(float64)
			s.gt = &n
		case "len_min":
			s.lenMin, ok = intAttribute(v)
		case "len_max":
			s.lenMax, ok = intAttribute(v)
		case "len_eq":
			s.lenEq, ok = intAttribute(v)
		case "starts_with":
			s.startsWith, ok = v.(string)
		case "match":
			var p pattern
			if p.lua, ok = v.(string); ok {
				p.re, err = luaPattern(p.lua)
				s.match = &p
			}
		case "match_none":
			s.matchNone, ok, err = patternAttribute(v)
		case "match_any":
			s.matchAny, ok, err = patternAttribute(v)
		case "match_all":
			s.matchAll, ok, err = patternAttribute(v)
		case "err":
			s.err, ok = v.(string)
		case "reference":
			s.reference, ok = v.(string)
		case "elements":
			s.elements, ok, err = nestedField(name, v, depth)
		case "keys":
			s.keys, ok, err = nestedField(name, v, depth)
		case "values":
			s.values, ok, err = nestedField(name, v, depth)
		case "fields":
			s.fields, ok, err = recordFields(name, v, depth)
		case "entity_checks":
			s.checks, ok, err = parseChecks(v, depth)
		case "description", "encrypted", "unique", "immutable", "indexed", "deprecation", "examples":
			// Nothing to check.
		default:
			return nil, fmt.Errorf("attribute %q of schema field %q is none that this stand-in for Kong knows", key, name)
		}
		if err != nil {
			return nil, fmt.Errorf("schema field %q: %w", name, err)
		}
		if !ok {
			return nil, fail(key)
		}
	}
	if (s.kind == "array" || s.kind == "set") && s.elements == nil {
		return nil, fmt.Errorf("schema field %q is of type %s and has no elements", name, s.kind)
	}
	return s, nil
}

func intAttribute(v any) (*int, bool) {
	f, ok := v.(float64)
	n := int(f)
	return &n, ok && float64(n) == f
}

func patternAttribute(v any) ([]pattern, bool, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, false, nil
	}
	var all []pattern
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			return nil, false, nil
		}
		var p pattern
		if p.lua, ok = m["pattern"].(string); !ok {
			return nil, false, nil
		}
		p.err, _ = m["err"].(string)
		var err error
		if p.re, err = luaPattern(p.lua); err != nil {
			return nil, true, err
		}
		all = append(all, p)
	}
	return all, true, nil
}

func nestedField(name string, v any, depth int) (*fieldSchema, bool, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, false, nil
	}
	s, err := parseField(name, m, depth+1)
	if err == nil && s.kind == "" {
		err = fmt.Errorf("field %q has no type", name)
	}
	return s, true, err
}

// recordFields reads Kong's list of objects with one key each.
func recordFields(name string, v any, depth int) ([]*fieldSchema, bool, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, false, nil
	}
	var fields []*fieldSchema
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok || len(m) != 1 {
			return nil, true, fmt.Errorf("each entry of fields in %q must be an object with one key", name)
		}
		for key, v := range m {
			f, ok, err := nestedField(key, v, depth)
			if err != nil || !ok {
				return nil, ok, err
			}
			fields = append(fields, f)
		}
	}
	return fields, true, nil
}

func parseChecks(v any, depth int) ([]entityCheck, bool, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, false, nil
	}
	var checks []entityCheck
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok || len(m) != 1 {
			return nil, false, nil
		}
		switch {
		case m["conditional"] != nil:
			arg, ok := m["conditional"].(map[string]any)
			if !ok {
				return nil, false, nil
			}
			var c entityCheck
			c.ifField, _ = arg["if_field"].(string)
			c.thenField, _ = arg["then_field"].(string)
			c.thenErr, _ = arg["then_err"].(string)
			var err error
			if c.ifMatch, ok, err = matchField(arg["if_match"], depth); !ok || err != nil {
				return nil, ok, err
			}
			if c.thenMatch, ok, err = matchField(arg["then_match"], depth); !ok || err != nil {
				return nil, ok, err
			}
			if c.ifField == "" || c.thenField == "" {
				return nil, false, nil
			}
			checks = append(checks, c)
		case m["at_least_one_of"] != nil:
			var c entityCheck
			names, _ := m["at_least_one_of"].([]any)
			for _, n := range names {
				s, ok := n.(string)
				if !ok {
					return nil, false, nil
				}
				c.atLeastOneOf = append(c.atLeastOneOf, s)
			}
			if len(c.atLeastOneOf) == 0 {
				return nil, false, nil
			}
			checks = append(checks, c)
		default:
			for name := range m {
				return nil, true, fmt.Errorf("entity check %q is none that this stand-in for Kong knows", name)
			}
		}
	}
	return checks, true, nil
}

func matchField(v any, depth int) (*fieldSchema, bool, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, false, nil
	}
	s, err := parseField("match", m, depth+1)
	return s, true, err
}
