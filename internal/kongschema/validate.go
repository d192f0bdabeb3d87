package kongschema

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Values are nil, bool, float64, string, []any and map[string]any.

// Fill returns v with the defaults of its schema, empty records where they are required,
// and the values that Kong makes up itself. A field that is nil stays nil: that unsets it. It
// does not change v.
func (f *Field) Fill(v any) any {
	switch v := v.(type) {
	case nil:
		return f.absent()
	case map[string]any:
		if len(v) == 0 && (f.Type == "array" || f.Type == "set") {
			return []any{} // Lua does not tell the two apart
		}
		out := make(map[string]any, len(f.Fields))
		maps.Copy(out, v)
		for _, child := range f.Fields {
			if value, ok := v[child.Name]; value != nil || !ok {
				out[child.Name] = child.Fill(value)
			}
		}
		return out
	case []any:
		if len(v) == 0 && (f.Type == "record" || f.Type == "map") {
			return f.Fill(map[string]any{})
		}
		if f.Elements == nil {
			return v
		}
		out := make([]any, 0, len(v))
		for _, e := range v {
			out = append(out, f.Elements.Fill(e))
		}
		return out
	}
	return v
}

// absent returns the value of a field that is not given.
func (f *Field) absent() any {
	switch {
	case f.Default != nil:
		return f.Fill(f.Default)
	case f.Auto && f.UUID:
		return newUUID()
	case f.Auto && f.Type == "string":
		return strings.ReplaceAll(newUUID(), "-", "")
	case f.Auto:
		return float64(time.Now().Unix())
	case f.Type == "record" && f.Required:
		return f.Fill(map[string]any{})
	}
	return nil
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 4<<4
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// Problems is what is wrong with a value, by the path of the field.
type Problems map[string]string

// Add adds a problem of the field at path, unless there is one already.
func (p Problems) Add(path, format string, args ...any) {
	if p[path] == "" {
		p[path] = fmt.Sprintf(format, args...)
	}
}

// List returns the problems with their paths, sorted by these.
func (p Problems) List() []string {
	var all []string
	for _, path := range slices.Sorted(maps.Keys(p)) {
		all = append(all, strings.TrimPrefix(path+": "+p[path], ": "))
	}
	return all
}

// String returns all of it in one sentence.
func (p Problems) String() string { return strings.Join(p.List(), "; ") }

// below returns the path of a field of a record.
func below(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// Validate adds to p what is wrong with v, which stands at path and was filled. The problems
// hold nothing of v but names of unknown fields.
func (f *Field) Validate(path string, v any, p Problems) {
	if v == nil {
		if f.Required {
			p.Add(path, "required field missing")
		}
		return
	}
	if want := f.wrongType(v); want != "" {
		p.Add(path, "expected %s", want)
		return
	}
	switch v := v.(type) {
	case float64:
		if f.Between != nil && (v < f.Between[0] || v > f.Between[1]) {
			p.Add(path, "value should be between %s and %s", number(f.Between[0]), number(f.Between[1]))
		}
	case string:
		if f.Referenceable && IsReference(v) {
			return
		}
		if v == "" && f.LenMin == nil {
			p.Add(path, "length must be at least 1")
		}
		if f.UUID && !uuidForm.MatchString(v) {
			p.Add(path, "expected a valid UUID")
		}
	case []any:
		for i, e := range v {
			at := fmt.Sprintf("%s[%d]", path, i+1)
			if e == nil {
				p.Add(at, "required field missing")
			}
			f.Elements.Validate(at, e, p)
		}
	case map[string]any:
		switch f.Type {
		case "record":
			f.validateRecord(path, v, p)
		case "map":
			f.validateMap(path, v, p)
		}
	}
	n := length(v)
	switch {
	case f.OneOf != nil && !slices.Contains(f.OneOf, v):
		p.Add(path, "expected one of: %s", strings.ReplaceAll(strings.Trim(fmt.Sprint(f.OneOf), "[]"), " ", ", "))
	case f.LenMin != nil && n >= 0 && n < *f.LenMin:
		p.Add(path, "length must be at least %d", *f.LenMin)
	case f.LenMax != nil && n > *f.LenMax:
		p.Add(path, "length must be at most %d", *f.LenMax)
	}
	if s, ok := v.(string); ok && p[path] == "" { // Kong stops at the first problem
		f.matchPatterns(path, s, p)
	}
}

// matchPatterns adds what patterns have against a text, in Kong's order.
func (f *Field) matchPatterns(path, s string, p Problems) {
	for _, m := range f.MatchNone {
		if m.Lua.MatchString(s) {
			p.Add(path, "%s", m.Err)
		}
	}
	for _, m := range f.MatchAll {
		if !m.Lua.MatchString(s) {
			p.Add(path, "%s", m.Err)
		}
	}
	if any := f.MatchAny; any != nil && !slices.ContainsFunc(any.Lua, func(m luaPattern) bool { return m.MatchString(s) }) {
		p.Add(path, "%s", any.Err)
	}
}

// wrongType returns what is expected instead of v, "" if v is of the type.
func (f *Field) wrongType(v any) string {
	ok := true
	switch f.Type {
	case "string":
		_, ok = v.(string)
	case "number", "integer":
		n, isNumber := v.(float64)
		ok = isNumber && (f.Type == "number" || n == math.Trunc(n) && !math.IsInf(n, 0))
	case "boolean":
		_, ok = v.(bool)
	case "record", "foreign", "map":
		_, ok = v.(map[string]any)
	case "array", "set":
		_, ok = v.([]any)
	}
	switch {
	case ok:
		return ""
	case f.Type == "integer" || f.Type == "array":
		return "an " + f.Type
	case f.Type == "foreign":
		return "a record"
	}
	return "a " + f.Type
}

// validateMap stops at the first problem, as Kong does, and sets it against the whole map.
func (f *Field) validateMap(path string, v map[string]any, p Problems) {
	for _, key := range slices.Sorted(maps.Keys(v)) {
		found := Problems{}
		f.Keys.Validate("", key, found)
		if v[key] == nil {
			found.Add("", "required field missing")
		}
		f.Values.Validate("", v[key], found)
		for _, problem := range found.List() {
			p.Add(path, "%s", problem)
		}
	}
}

func (f *Field) validateRecord(path string, v map[string]any, p Problems) {
	for name := range v {
		if f.Field(name) == nil {
			p.Add(below(path, name), "unknown field")
		}
	}
	for _, child := range f.Fields {
		child.Validate(below(path, child.Name), v[child.Name], p)
	}
	for _, check := range f.EntityChecks {
		if c := check.Conditional; c != nil {
			at := below(path, c.ThenField)
			if p[below(path, c.IfField)] == "" && p[at] == "" && f.at(c.IfField).matches(c.IfMatch, valueAt(v, c.IfField)) && !f.at(c.ThenField).matches(c.ThenMatch, valueAt(v, c.ThenField)) {
				p.Add(at, "%s", c.ThenErr)
			}
		}
		if c := check.ConditionalAtLeastOneOf; c != nil {
			f.atLeastOne(path, c, v, p)
		}
		f.exclusive(path, check.MutuallyExclusive, v, p)
	}
}

// matches reports whether v, nil or of the field's type, satisfies the condition. A reference
// satisfies any, because Kong does not run a check of which a field is one.
func (f *Field) matches(m match, v any) bool {
	if s, ok := v.(string); ok && f.Referenceable && IsReference(s) {
		return true
	}
	return m.holds(v)
}

// atLeastOne checks that one of the fields is not empty, if the condition holds. Of nil it
// never does.
func (f *Field) atLeastOne(path string, c *conditionals, v map[string]any, p Problems) {
	value := valueAt(v, c.IfField)
	if value == nil || p[below(path, c.IfField)] != "" || !f.at(c.IfField).matches(c.IfMatch, value) {
		return
	}
	for _, name := range c.Then {
		if value := valueAt(v, name); value != nil && length(value) != 0 {
			return
		}
	}
	text := cmp.Or(c.ThenErr, "at least one of these fields must be non-empty: %s")
	p.Add(below(path, "@entity"), "%s", strings.ReplaceAll(text, "%s", quotedList(c.Then)))
}

// exclusive checks that at most one of the fields is not empty.
func (f *Field) exclusive(path string, names []string, v map[string]any, p Problems) {
	set := 0
	for _, name := range names {
		if value := valueAt(v, name); value != nil && length(value) != 0 {
			set++
		}
	}
	if set > 1 {
		p.Add(below(path, "@entity"), "only one or none of these fields must be set: %s", quotedList(names))
	}
}

func quotedList(names []string) string { return "'" + strings.Join(names, "', '") + "'" }

// at returns the field with that name, which may have dots, nil if there is none.
func (f *Field) at(name string) *Field {
	for part := range strings.SplitSeq(name, ".") {
		if f = f.Field(part); f == nil {
			return nil
		}
	}
	return f
}

// valueAt returns the value of the field with that name, which may have dots, nil if there is
// none.
func valueAt(v map[string]any, name string) any {
	first, rest, more := strings.Cut(name, ".")
	if !more {
		return v[first]
	}
	inner, _ := v[first].(map[string]any)
	return valueAt(inner, rest)
}

// IsReference reports whether s is a reference to a vault.
func IsReference(s string) bool {
	return strings.HasPrefix(s, "{vault://") && strings.HasSuffix(s, "}")
}

// number writes a number as Lua's tostring does.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 14, 64) }
