package kongsim

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	maxFormPairs = 1000
	maxFormIndex = 1000
)

// formNode is a value under construction: texts, or fields, or items.
type formNode struct {
	texts  []string
	fields map[string]*formNode
	items  map[int]*formNode
	next   int // the item that [] adds
}

// parseForm reads a form as curl sends it to the Admin API: names with dots
// for records (config.topic=a), [n] for the items of lists, [] or a repeated
// name for one item more.
func parseForm(body string) (map[string]any, error) {
	root := &formNode{}
	pairs := 0
	for part := range strings.SplitSeq(body, "&") {
		if part == "" {
			continue
		}
		if pairs++; pairs > maxFormPairs {
			return nil, fmt.Errorf("the form has more than %d arguments", maxFormPairs)
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
		node, err := root.at(name)
		if err != nil {
			return nil, err
		}
		node.texts = append(node.texts, value)
	}
	v, err := root.value("")
	if err != nil {
		return nil, err
	}
	m, _ := v.(map[string]any)
	if m == nil {
		m = map[string]any{}
	}
	return m, nil
}

// at returns the node that a name leads to.
func (n *formNode) at(name string) (*formNode, error) {
	bad := fmt.Errorf("the form's argument %q is not named as a.b, a[1] or a[]", name)
	rest := name
	for depth := 0; ; depth++ {
		if depth > maxDepth {
			return nil, fmt.Errorf("the form's argument %q is nested too deeply", name)
		}
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			end = len(rest)
		}
		if end == 0 {
			return nil, bad
		}
		n = n.field(rest[:end])
		rest = rest[end:]
		for strings.HasPrefix(rest, "[") {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return nil, bad
			}
			index := n.next + 1
			if s := rest[1:end]; s != "" {
				i, err := strconv.Atoi(s)
				if err != nil || i < 1 || i > maxFormIndex {
					return nil, fmt.Errorf("the form's argument %q has an index that is not between 1 and %d", name, maxFormIndex)
				}
				index = i
			}
			if depth++; depth > maxDepth {
				return nil, fmt.Errorf("the form's argument %q is nested too deeply", name)
			}
			n = n.item(index)
			rest = rest[end+1:]
		}
		if rest == "" {
			return n, nil
		}
		if rest[0] != '.' {
			return nil, bad
		}
		rest = rest[1:]
	}
}

func (n *formNode) field(name string) *formNode {
	if n.fields == nil {
		n.fields = map[string]*formNode{}
	}
	if n.fields[name] == nil {
		n.fields[name] = &formNode{}
	}
	return n.fields[name]
}

func (n *formNode) item(i int) *formNode {
	if n.items == nil {
		n.items = map[int]*formNode{}
	}
	n.next = max(n.next, i)
	if n.items[i] == nil {
		n.items[i] = &formNode{}
	}
	return n.items[i]
}

func (n *formNode) value(name string) (any, error) {
	used := 0
	for _, is := range []bool{n.texts != nil, n.fields != nil, n.items != nil} {
		if is {
			used++
		}
	}
	if used > 1 {
		return nil, fmt.Errorf("the form's argument %q is given in two forms, as a value, a record or a list", name)
	}
	switch {
	case n.fields != nil:
		out := map[string]any{}
		for k, f := range n.fields {
			v, err := f.value(name + "." + k)
			if err != nil {
				return nil, err
			}
			out[k] = v
		}
		return out, nil
	case n.items != nil:
		out := []any{}
		for _, i := range slices.Sorted(maps.Keys(n.items)) {
			v, err := n.items[i].value(fmt.Sprintf("%s[%d]", name, i))
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case len(n.texts) == 1:
		return n.texts[0], nil
	}
	out := []any{}
	for _, t := range n.texts {
		out = append(out, t)
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// infer gives the texts of a form the types that the schema has for them. What
// does not fit stays as it is, for the validation to refuse.
func (s *fieldSchema) infer(v any) any {
	if v == "" {
		return nil
	}
	str, isText := v.(string)
	switch s.kind {
	case "number", "integer":
		if isText {
			if n, err := strconv.ParseFloat(str, 64); err == nil && n-n == 0 {
				return n
			}
		}
	case "boolean":
		if isText && (str == "true" || str == "false") {
			return str == "true"
		}
	case "array", "set":
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		out := make([]any, len(list))
		for i, e := range list {
			out[i] = s.elements.infer(e)
		}
		return out
	case "record", "map":
		m, ok := v.(map[string]any)
		if !ok {
			return v
		}
		out := make(map[string]any, len(m))
		for k, e := range m {
			f := s.values
			if s.kind == "record" {
				f = s.field(k)
			}
			if f != nil {
				e = f.infer(e)
			}
			out[k] = e
		}
		return out
	}
	return v
}
