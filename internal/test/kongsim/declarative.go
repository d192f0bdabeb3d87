package kongsim

import (
	"fmt"
	"math"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v4"
)

// parseDeclarative reads Kong's declarative configuration (kong.yml, or the
// same as JSON) into entities of the plugin that e knows.
func (e *entities) parseDeclarative(doc []byte) (*entities, error) {
	var raw any
	if err := yaml.Load(doc, &raw); err != nil {
		return nil, fmt.Errorf("the declarative configuration is no YAML: %s", oneLine(err.Error()))
	}
	v, err := yamlValue(raw, 0)
	if err != nil {
		return nil, fmt.Errorf("the declarative configuration cannot be used: %w", err)
	}
	root, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the declarative configuration is no YAML mapping: it must hold _format_version and lists of entities")
	}
	d := &declaration{next: e.empty(), errs: map[string]any{}}
	d.load(root)
	if len(d.errs) > 0 {
		return nil, &apiError{400, 14, "invalid declarative configuration", "declarative config is invalid: " + prettyLua(d.errs, "", ""), d.errs}
	}
	return d.next, nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// yamlValue turns what YAML knows into what JSON knows.
func yamlValue(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested more than %d levels deep", maxDepth)
	}
	switch v := v.(type) {
	case nil, bool, string:
		return v, nil
	case int:
		return float64(v), nil
	case int64:
		return float64(v), nil
	case uint64:
		return float64(v), nil
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, fmt.Errorf("%v is no number that JSON can hold", v)
		}
		return v, nil
	case time.Time:
		return v.Format(time.RFC3339), nil
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			var err error
			if out[i], err = yamlValue(e, depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			var err error
			if out[k], err = yamlValue(e, depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[any]any:
		for k := range v {
			if _, ok := k.(string); !ok {
				return nil, fmt.Errorf("the key %v is no string: put it in quotes", k)
			}
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			var err error
			if out[k.(string)], err = yamlValue(e, depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("a value of type %T is of no use there", v)
}

// declaration collects the entities of a declarative configuration, and the
// errors in the places where they belong.
type declaration struct {
	next *entities
	errs map[string]any
}

func (d *declaration) load(root map[string]any) {
	switch version := root["_format_version"].(type) {
	case nil:
		d.errs["_format_version"] = "required field missing"
	case string:
		if version != "1.1" && version != "2.1" && version != "3.0" {
			d.errs["_format_version"] = "expected one of: 1.1, 2.1, 3.0"
		}
	case float64:
		if version != 1.1 && version != 2.1 && version != 3.0 {
			d.errs["_format_version"] = "expected one of: 1.1, 2.1, 3.0"
		}
	default:
		d.errs["_format_version"] = "expected a string"
	}
	for key := range root {
		switch key {
		case "_format_version", "_transform", "_comment", "_ignore", "_info", "services", "routes", "plugins", "certificates":
		default:
			d.errs[key] = "unknown field"
		}
	}
	// What others refer to comes first.
	for _, kind := range kinds {
		if e := d.list(kind, root[kind], kind, nil); e != nil {
			d.errs[kind] = e
		}
	}
}

// list loads the entities of one kind; parent holds the foreign keys that
// nesting gives them. It returns a tree of errors or nil.
func (d *declaration) list(kind string, v any, path string, parent map[string]any) any {
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return "expected an array"
	}
	errs := sparse{}
	for i, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			errs[i+1] = "expected a record"
			continue
		}
		if e := d.entity(kind, m, fmt.Sprintf("%s/%d", path, i+1), parent); len(e) > 0 {
			errs[i+1] = e
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// nestedKinds are the lists that may stand inside an entity, and the foreign
// key that this gives their entities.
var nestedKinds = map[string][]string{"services": {"routes", "plugins"}, "routes": {"plugins"}}

func (d *declaration) entity(kind string, m map[string]any, path string, parent map[string]any) map[string]any {
	v := map[string]any{}
	nested := map[string]any{}
	for k, e := range m {
		switch {
		case k == "_comment" || k == "_ignore":
		case kind == "services" && (k == "routes" || k == "plugins"), kind == "routes" && k == "plugins":
			nested[k] = e
		case kind == "certificates" && k == "snis":
			// Names that nginx would serve the certificate for; no use here.
		default:
			v[k] = e
		}
	}
	for k, e := range parent {
		v[k] = e
	}
	for _, f := range []string{"route", "service"} {
		if name, ok := v[f].(string); ok {
			v[f] = map[string]any{"name": name}
		}
	}
	if v["id"] == nil {
		if name, ok := v["name"].(string); ok && kind != "plugins" {
			v["id"] = stableUUID(kind + ":" + name)
		} else {
			v["id"] = stableUUID(path)
		}
	}
	errs := map[string]any{}
	inserted, err := d.next.insert(kind, v)
	if err != nil {
		if err.code == 2 {
			errs = err.fields
		} else {
			errs["@entity"] = sparse{1: err.message}
		}
		// What is nested is still looked at, under an id that leads somewhere.
		inserted = entity{"id": v["id"]}
		d.next.all[kind] = append(d.next.all[kind], inserted)
	}
	for _, k := range nestedKinds[kind] {
		foreign := map[string]any{strings.TrimSuffix(kind, "s"): map[string]any{"id": inserted["id"]}}
		if e := d.list(k, nested[k], path+"/"+k, foreign); e != nil {
			errs[k] = e
		}
	}
	return errs
}
