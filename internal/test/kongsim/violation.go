package kongsim

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// violation turns a tree of errors into the sentence of Kong's Admin API.
func violation(errs map[string]any) string {
	var all []string
	if list, ok := errs["@entity"].(sparse); ok {
		for _, i := range slices.Sorted(maps.Keys(list)) {
			all = append(all, text(list[i]))
		}
	}
	add := func(name, key string, e any) {
		if e, ok := e.(string); ok {
			all = append(all, name+"."+key+": "+e)
			return
		}
		all = append(all, name+"."+key+": "+prettyLua(e, "  ", ""))
	}
	for _, name := range slices.Sorted(maps.Keys(errs)) {
		switch e := errs[name].(type) {
		case string:
			all = append(all, name+": "+e)
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(e)) {
				add(name, key, e[key])
			}
		case sparse:
			if name == "@entity" {
				continue
			}
			for _, i := range slices.Sorted(maps.Keys(e)) {
				add(name, strconv.Itoa(i), e[i])
			}
		}
	}
	if len(all) == 1 {
		return "schema violation (" + all[0] + ")"
	}
	return fmt.Sprintf("%d schema violations (%s)", len(all), strings.Join(all, "; "))
}

// prettyLua writes a tree of errors as Penlight writes a Lua table: with space
// for each level, or in one line if space is empty.
func prettyLua(v any, space, indent string) string {
	if s, ok := v.(string); ok {
		return strconv.Quote(s)
	}
	type entry struct{ key, value string }
	var entries []entry
	eq, nl := " = ", "\n"
	if space == "" {
		eq, nl = "=", ""
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			key := k
			if !luaName.MatchString(k) {
				key = `["` + k + `"]`
			}
			entries = append(entries, entry{key + eq, prettyLua(v[k], space, indent+space)})
		}
	case sparse:
		next := 1
		for _, i := range slices.Sorted(maps.Keys(v)) {
			key := ""
			if i != next {
				key = "[" + strconv.Itoa(i) + "]" + eq
			} else {
				next++
			}
			entries = append(entries, entry{key, prettyLua(v[i], space, indent+space)})
		}
	}
	var b strings.Builder
	b.WriteString("{" + nl)
	for i, e := range entries {
		if i > 0 {
			b.WriteString("," + nl)
		}
		b.WriteString(indent + space + e.key + e.value)
	}
	if space == "" {
		return b.String() + "}"
	}
	return b.String() + nl + indent + "}"
}

var luaName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// jsonErrors makes a tree of errors fit for encoding/json: a sparse list gets
// nulls, as lua-cjson writes it.
func jsonErrors(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = jsonErrors(e)
		}
		return out
	case sparse:
		var out []any
		for _, i := range slices.Sorted(maps.Keys(v)) {
			for len(out) < i-1 {
				out = append(out, nil)
			}
			out = append(out, jsonErrors(v[i]))
		}
		return out
	}
	return v
}
