package kongsim

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"kafka-upstream/internal/kongschema"
)

const (
	maxFormIndex = 1000
	maxFormDepth = 32
)

var (
	formName    = regexp.MustCompile(`^[^.\[\]]+(\.[^.\[\]]+|\[\d*\])*$`)
	formSegment = regexp.MustCompile(`[^.\[\]]+|\[\d*\]`)
)

// parseForm reads a form as curl sends it to the Admin API: names with dots for records
// (config.topic=a), [n] for the items of lists, [] or a repeated name for one item more.
func parseForm(body string) (map[string]any, error) {
	root := map[string]any{}
	for part := range strings.SplitSeq(body, "&") {
		if part == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return nil, fmt.Errorf("the form's argument %q cannot be decoded", rawName)
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return nil, fmt.Errorf("the value of the form's argument %q cannot be decoded", name)
		}
		if !formName.MatchString(name) {
			return nil, fmt.Errorf("the form's argument %q is not named as a.b, a[1] or a[]", name)
		}
		if _, err := put(root, formSegment.FindAllString(name, maxFormDepth), value); err != nil {
			return nil, fmt.Errorf("the form's argument %q: %w", name, err)
		}
	}
	return root, nil
}

// put returns the value at with value at the path.
func put(at any, path []string, value string) (any, error) {
	if len(path) == 0 {
		switch at := at.(type) {
		case nil:
			return value, nil
		case []any:
			return append(at, value), nil
		case string:
			return []any{at, value}, nil
		}
		return nil, fmt.Errorf("it is given as a value and as a record")
	}
	var err error
	if index, ok := strings.CutPrefix(path[0], "["); ok {
		list, isList := at.([]any)
		n, _ := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if index == "]" {
			n = len(list) + 1
		}
		if at != nil && !isList || n < 1 || n > maxFormIndex {
			return nil, fmt.Errorf("an index is between 1 and %d, of a list", maxFormIndex)
		}
		for len(list) < n {
			list = append(list, nil)
		}
		list[n-1], err = put(list[n-1], path[1:], value)
		return list, err
	}
	m, isMap := at.(map[string]any)
	if at != nil && !isMap {
		return nil, fmt.Errorf("it is given as a value and as a record")
	}
	if m == nil {
		m = map[string]any{}
	}
	m[path[0]], err = put(m[path[0]], path[1:], value)
	return m, err
}

// infer gives the texts of a form the types that the schema has; what does not fit stays
// a text, which the schema refuses.
func infer(s *kongschema.Field, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, e := range v {
			if f := member(s, name); f != nil {
				v[name] = infer(f, e)
			}
		}
	case []any:
		for i, e := range v {
			if s.Elements != nil {
				v[i] = infer(s.Elements, e)
			}
		}
	case string:
		switch s.Type {
		case "array", "set":
			return []any{infer(s.Elements, v)}
		case "boolean":
			if v == "true" || v == "false" {
				return v == "true"
			}
		case "number", "integer":
			if n, err := strconv.ParseFloat(v, 64); err == nil {
				return n
			}
		}
		if v == "" {
			return nil
		}
	}
	return v
}

// member returns the schema of a member of a record or a map, nil if there is none.
func member(s *kongschema.Field, name string) *kongschema.Field {
	if s.Type == "map" {
		return s.Values
	}
	return s.Field(name)
}
