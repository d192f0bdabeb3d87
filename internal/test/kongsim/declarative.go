package kongsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v4"

	"kafka-upstream/internal/kongschema"
)

// parseDeclarative reads Kong's declarative configuration (kong.yml, or the same as JSON)
// into entities of the plugin that e knows.
func (e *entities) parseDeclarative(doc []byte) (*entities, error) {
	var root map[string]any
	var raw any
	err := yaml.Load(doc, &raw)
	if err == nil { // what JSON can hold, with JSON's types
		var b []byte
		if b, err = json.Marshal(raw); err == nil && json.Unmarshal(b, &root) != nil {
			err = errors.New("it must hold _format_version and lists of entities")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the declarative configuration is no YAML mapping: %s", oneLine(err.Error()))
	}
	d := &declaration{next: e.empty(), problems: kongschema.Problems{}}
	d.load(root)
	if len(d.problems) > 0 {
		return nil, &apiError{http.StatusBadRequest, 14, "invalid declarative configuration", "declarative config is invalid: " + d.problems.String(), d.problems}
	}
	return d.next, nil
}

// declaration collects the entities of a declarative configuration, and what is wrong
// with them.
type declaration struct {
	next     *entities
	problems kongschema.Problems
}

func (d *declaration) load(root map[string]any) {
	switch version := fmt.Sprint(root["_format_version"]); version {
	case "1.1", "2.1", "3.0", "3":
	case "<nil>":
		d.problems.Add("_format_version", "required field missing")
	default:
		d.problems.Add("_format_version", "expected one of: 1.1, 2.1, 3.0")
	}
	for key := range root {
		if !strings.HasPrefix(key, "_") && !slices.Contains(kinds, key) {
			d.problems.Add(key, "unknown field")
		}
	}
	for _, kind := range kinds { // what others refer to comes first
		d.list(kind, root[kind], kind, nil)
	}
}

// list loads the entities of one kind; parent holds the foreign key that nesting gives
// them.
func (d *declaration) list(kind string, v any, path string, parent map[string]any) {
	list, ok := v.([]any)
	if v != nil && !ok {
		d.problems.Add(path, "expected an array")
	}
	for i, e := range list {
		at := fmt.Sprintf("%s[%d]", path, i+1)
		if m, ok := e.(map[string]any); ok {
			d.entity(kind, m, at, parent)
		} else {
			d.problems.Add(at, "expected a record")
		}
	}
}

// nestedKinds are the lists that may stand inside an entity of each kind.
var nestedKinds = map[string][]string{"services": {"routes", "plugins"}, "routes": {"plugins"}}

func (d *declaration) entity(kind string, m map[string]any, path string, parent map[string]any) {
	v := maps.Clone(m)
	delete(v, "_comment")
	for _, k := range nestedKinds[kind] {
		delete(v, k)
	}
	maps.Copy(v, parent)
	for _, f := range []string{"route", "service"} {
		if name, ok := v[f].(string); ok {
			v[f] = map[string]any{"name": name}
		}
	}
	if v["id"] == nil { // the same one at each load
		v["id"] = stableUUID(path)
	}
	inserted, err := d.next.insert(kind, v)
	switch {
	case err == nil:
	case err.code == 2:
		for field, text := range err.fields {
			d.problems.Add(strings.TrimSuffix(path+"."+field, "."), "%s", text)
		}
	default:
		d.problems.Add(path, "%s", err.message)
	}
	if inserted == nil { // what is nested is still looked at, under an id that leads somewhere
		inserted = entity{"id": v["id"]}
		d.next.all[kind] = append(d.next.all[kind], inserted)
	}
	for _, k := range nestedKinds[kind] {
		d.list(k, m[k], path+"."+k, map[string]any{strings.TrimSuffix(kind, "s"): map[string]any{"id": inserted["id"]}})
	}
}
