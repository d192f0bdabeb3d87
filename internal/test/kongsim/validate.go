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

// fill returns v with the defaults of its schema, empty records where they are required,
// and the values that Kong makes up itself. It does not change v.
func (s *fieldSchema) fill(v any) any {
	if v == nil {
		switch {
		case s.Default != nil:
			v = s.Default
		case s.Auto && s.UUID:
			return newUUID()
		case s.Auto && s.Type == "string":
			return strings.ReplaceAll(newUUID(), "-", "")
		case s.Auto:
			return float64(time.Now().Unix())
		case s.Type == "record" && s.Required:
			v = map[string]any{}
		default:
			return nil
		}
	}
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 && (s.Type == "array" || s.Type == "set") {
			return []any{} // Lua does not tell the two apart
		}
		out := maps.Clone(v)
		for _, f := range s.fields {
			out[f.name] = f.fill(v[f.name])
		}
		return out
	case []any:
		if s.Elements == nil {
			return v
		}
		out := make([]any, 0, len(v))
		for _, e := range v {
			out = append(out, s.Elements.fill(e))
		}
		return out
	}
	return v
}

// problems is what is wrong with an entity, by the path of the field: in the words of
// Kong's kong/db/schema.
type problems map[string]string

func (p problems) add(path, format string, args ...any) {
	if p[path] == "" {
		p[path] = fmt.Sprintf(format, args...)
	}
}

// String returns all of it in one sentence.
func (p problems) String() string {
	var all []string
	for _, path := range slices.Sorted(maps.Keys(p)) {
		all = append(all, strings.TrimPrefix(path+": "+p[path], ": "))
	}
	return strings.Join(all, "; ")
}

// below returns the path of a field of a record.
func below(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// validate adds what is wrong with v, which stands at path.
func (s *fieldSchema) validate(path string, v any, p problems) {
	if v == nil {
		if s.Required {
			p.add(path, "required field missing")
		}
		return
	}
	if want := s.wrongType(v); want != "" {
		p.add(path, "expected %s", want)
		return
	}
	length := -1
	switch v := v.(type) {
	case float64:
		if s.Between != nil && (v < s.Between[0] || v > s.Between[1]) {
			p.add(path, "value should be between %s and %s", formatNumber(s.Between[0]), formatNumber(s.Between[1]))
		}
	case string:
		if s.Referenceable && isReference(v) {
			return
		}
		if length = len(v); length == 0 {
			p.add(path, "length must be at least 1")
		}
		if s.UUID && !uuidForm.MatchString(v) {
			p.add(path, "expected a valid UUID")
		}
		for _, m := range s.MatchNone {
			if m.re.MatchString(v) {
				p.add(path, "%s", m.Err)
			}
		}
	case []any:
		length = len(v)
		for i, e := range v {
			at := fmt.Sprintf("%s[%d]", path, i+1)
			if e == nil {
				p.add(at, "required field missing")
			}
			s.Elements.validate(at, e, p)
		}
	case map[string]any:
		if s.Type == "record" {
			s.validateRecord(path, v, p)
		}
	}
	switch {
	case s.OneOf != nil && !s.holds(v):
		p.add(path, "expected one of: %s", strings.ReplaceAll(strings.Trim(fmt.Sprint(s.OneOf), "[]"), " ", ", "))
	case s.LenMin != nil && length >= 0 && length < *s.LenMin:
		p.add(path, "length must be at least %d", *s.LenMin)
	case s.LenMax != nil && length > *s.LenMax:
		p.add(path, "length must be at most %d", *s.LenMax)
	}
}

// wrongType returns what is expected instead of v, "" if v is of the type.
func (s *fieldSchema) wrongType(v any) string {
	ok := true
	switch s.Type {
	case "string":
		_, ok = v.(string)
	case "number", "integer":
		n, isNumber := v.(float64)
		ok = isNumber && (s.Type == "number" || n == math.Trunc(n) && !math.IsInf(n, 0))
	case "boolean":
		_, ok = v.(bool)
	case "record", "foreign":
		_, ok = v.(map[string]any)
	case "array", "set":
		_, ok = v.([]any)
	}
	switch {
	case ok:
		return ""
	case s.Type == "integer" || s.Type == "array":
		return "an " + s.Type
	case s.Type == "foreign":
		return "a record"
	}
	return "a " + s.Type
}

func (s *fieldSchema) validateRecord(path string, v map[string]any, p problems) {
	for name := range v {
		if s.field(name) == nil {
			p.add(below(path, name), "unknown field")
		}
	}
	for _, f := range s.fields {
		f.validate(below(path, f.name), v[f.name], p)
	}
	for _, check := range s.EntityChecks {
		c := check.Conditional
		at := below(path, c.ThenField)
		if p[below(path, c.IfField)] == "" && p[at] == "" && c.IfMatch.holds(v[c.IfField]) && !c.ThenMatch.holds(v[c.ThenField]) {
			p.add(at, "%s", c.ThenErr)
		}
	}
}

func isReference(s string) bool {
	return strings.HasPrefix(s, "{vault://") && strings.HasSuffix(s, "}")
}
