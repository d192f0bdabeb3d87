package kongsim

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Values of entities are nil, bool, float64, string, []any and map[string]any.

// fill returns v with the defaults of its schema, empty records where they are
// required, and the values that Kong makes up itself. It does not change v.
func (s *fieldSchema) fill(v any) any {
	if v == nil {
		switch {
		case s.hasDefault:
			v = s.def
		case s.auto && s.uuid:
			return newUUID()
		case s.auto && s.kind == "string":
			return randomHex(16)
		case s.auto && (s.kind == "integer" || s.kind == "number"):
			return float64(time.Now().Unix())
		case s.kind == "record" && s.required:
			v = map[string]any{}
		default:
			return nil
		}
	}
	switch v := v.(type) {
	case map[string]any:
		if s.kind != "record" {
			if len(v) == 0 && (s.kind == "array" || s.kind == "set") {
				return []any{} // Lua does not tell the two apart
			}
			return maps.Clone(v)
		}
		out := maps.Clone(v)
		for _, f := range s.fields {
			out[f.name] = f.fill(v[f.name])
		}
		return out
	case []any:
		if s.elements == nil {
			return slices.Clone(v)
		}
		out := make([]any, 0, len(v))
		for _, e := range v {
			e = s.elements.fill(e)
			if s.kind == "set" && scalar(e) && slices.ContainsFunc(out, func(o any) bool { return scalar(o) && o == e }) {
				continue
			}
			out = append(out, e)
		}
		return out
	}
	return v
}

func scalar(v any) bool {
	switch v.(type) {
	case nil, map[string]any, []any:
		return false
	}
	return true
}

// sparse is a Lua table of errors by index, from 1.
type sparse map[int]any

// validate returns what is wrong with v in the words of Kong's
// kong/db/schema: nil, a string, a map[string]any by field, or a sparse list.
func (s *fieldSchema) validate(v any) any {
	if v == nil {
		switch {
		case s.hasNe && s.ne == nil:
			return s.or("value must not be null")
		case s.hasEq && s.eq != nil:
			return s.or("value must be " + text(s.eq))
		case s.required:
			return "required field missing"
		}
		return nil
	}
	if s.hasEq && s.eq == nil {
		return s.or("value must be null")
	}
	if e := s.validateType(v); e != "" {
		return e
	}
	if str, ok := v.(string); ok && s.referenceable && isReference(str) {
		return nil
	}
	if e := s.validateValue(v); e != "" {
		return s.or(e)
	}
	switch v := v.(type) {
	case map[string]any:
		if s.kind == "record" {
			return s.validateRecord(v)
		}
		if s.kind == "map" {
			errs := map[string]any{}
			for k, e := range v {
				if s.keys != nil {
					if err := s.keys.validate(k); err != nil {
						errs[k] = err
					}
				}
				if s.values != nil {
					if err := s.values.validate(e); err != nil {
						errs[k] = err
					}
				}
			}
			if len(errs) > 0 {
				return errs
			}
		}
	case []any:
		if s.elements == nil {
			return nil
		}
		errs := sparse{}
		for i, e := range v {
			if e == nil {
				errs[i+1] = "required field missing"
			} else if err := s.elements.validate(e); err != nil {
				errs[i+1] = err
			}
		}
		if len(errs) > 0 {
			return errs
		}
	}
	return nil
}

func (s *fieldSchema) or(e string) string {
	if s.err != "" {
		return s.err
	}
	return e
}

func (s *fieldSchema) validateType(v any) string {
	switch s.kind {
	case "string":
		if _, ok := v.(string); !ok {
			return "expected a string"
		}
	case "number":
		if _, ok := v.(float64); !ok {
			return "expected a number"
		}
	case "integer":
		if n, ok := v.(float64); !ok || n != math.Trunc(n) || math.IsInf(n, 0) {
			return "expected an integer"
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return "expected a boolean"
		}
	case "record", "map":
		if l, ok := v.([]any); ok && len(l) == 0 {
			return ""
		}
		if _, ok := v.(map[string]any); !ok {
			return "expected a " + s.kind
		}
	case "array":
		if _, ok := v.([]any); !ok {
			return "expected an array"
		}
	case "set":
		if _, ok := v.([]any); !ok {
			return "expected a set"
		}
	case "foreign":
		if _, ok := v.(map[string]any); !ok {
			return "expected a record"
		}
	}
	return ""
}

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

func (s *fieldSchema) validateValue(v any) string {
	if s.hasEq && (!scalar(v) || v != s.eq) {
		return "value must be " + text(s.eq)
	}
	if s.hasNe && scalar(v) && v == s.ne {
		return "value must not be " + text(s.ne)
	}
	if scalar(v) {
		if s.oneOf != nil && !slices.Contains(s.oneOf, v) {
			return "expected one of: " + texts(s.oneOf)
		}
		if s.notOneOf != nil && slices.Contains(s.notOneOf, v) {
			return "must not be one of: " + texts(s.notOneOf)
		}
	}
	length := -1
	switch v := v.(type) {
	case float64:
		if s.between != nil && (v < s.between[0] || v > s.between[1]) {
			return fmt.Sprintf("value should be between %s and %s", text(s.between[0]), text(s.between[1]))
		}
		if s.gt != nil && v <= *s.gt {
			return "value must be greater than " + text(*s.gt)
		}
	case string:
		length = len(v)
		if length == 0 && s.lenMin == nil && s.kind == "string" {
			return "length must be at least 1"
		}
	case []any:
		length = len(v)
	case map[string]any:
		length = len(v)
	}
	if length >= 0 {
		switch {
		case s.lenEq != nil && length != *s.lenEq:
			return fmt.Sprintf("length must be %d", *s.lenEq)
		case s.lenMin != nil && length < *s.lenMin:
			return fmt.Sprintf("length must be at least %d", *s.lenMin)
		case s.lenMax != nil && length > *s.lenMax:
			return fmt.Sprintf("length must be at most %d", *s.lenMax)
		}
	}
	if str, ok := v.(string); ok {
		return s.validateString(str)
	}
	return ""
}

func (s *fieldSchema) validateString(v string) string {
	if s.uuid && !uuidForm.MatchString(v) {
		return "expected a valid UUID"
	}
	if s.startsWith != "" && !strings.HasPrefix(v, s.startsWith) {
		return "should start with: " + s.startsWith
	}
	refuse := func(p pattern) string {
		if p.err != "" {
			return p.err
		}
		return "invalid value: " + v
	}
	if s.match != nil && !s.match.re.MatchString(v) {
		return refuse(*s.match)
	}
	for _, p := range s.matchNone {
		if p.re.MatchString(v) {
			return refuse(p)
		}
	}
	for _, p := range s.matchAll {
		if !p.re.MatchString(v) {
			return refuse(p)
		}
	}
	if len(s.matchAny) > 0 && !slices.ContainsFunc(s.matchAny, func(p pattern) bool { return p.re.MatchString(v) }) {
		return refuse(s.matchAny[0])
	}
	return ""
}

func (s *fieldSchema) validateRecord(v map[string]any) any {
	errs := map[string]any{}
	for name := range v {
		if s.field(name) == nil {
			errs[name] = "unknown field"
		}
	}
	for _, f := range s.fields {
		if e := f.validate(v[f.name]); e != nil {
			errs[f.name] = e
		}
	}
	for _, c := range s.checks {
		if e := c.run(v, errs); e != "" {
			list, _ := errs["@entity"].(sparse)
			if list == nil {
				list = sparse{}
				errs["@entity"] = list
			}
			list[len(list)+1] = e
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// run returns the error of the record, and adds that of the field.
func (c *entityCheck) run(v map[string]any, errs map[string]any) string {
	if c.atLeastOneOf != nil {
		var quoted []string
		for _, name := range c.atLeastOneOf {
			if v[name] != nil {
				return ""
			}
			quoted = append(quoted, "'"+name+"'")
		}
		return "at least one of these fields must be non-empty: " + strings.Join(quoted, ", ")
	}
	if errs[c.ifField] != nil || errs[c.thenField] != nil {
		return "" // a field that is wrong in itself is told about first
	}
	if c.ifMatch.validate(v[c.ifField]) != nil {
		return ""
	}
	e := c.thenMatch.validate(v[c.thenField])
	if e == nil {
		return ""
	}
	errs[c.thenField] = e
	if c.thenErr != "" {
		return c.thenErr
	}
	return fmt.Sprintf("failed conditional validation given value of field '%s'", c.ifField)
}

func isReference(s string) bool {
	return strings.HasPrefix(s, "{vault://") && strings.HasSuffix(s, "}")
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case float64:
		return formatNumber(v)
	}
	return fmt.Sprint(v)
}

func texts(vs []any) string {
	var all []string
	for _, v := range vs {
		all = append(all, text(v))
	}
	return strings.Join(all, ", ")
}
