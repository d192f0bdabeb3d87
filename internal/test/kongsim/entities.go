package kongsim

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"kafka-upstream/internal/kongschema"
)

// entity is a service, a route, a plugin or a certificate, as the Admin API shows it:
// unset fields are nil.
type entity = map[string]any

// apiError is an answer of the Admin API that refuses something.
type apiError struct {
	status  int
	code    int
	name    string
	message string
	fields  kongschema.Problems
}

func (e *apiError) Error() string { return e.message }

func schemaViolation(p kongschema.Problems) *apiError {
	message := "schema violation (" + p.String() + ")"
	if len(p) > 1 {
		message = fmt.Sprintf("%d schema violations (%s)", len(p), p)
	}
	return &apiError{http.StatusBadRequest, 2, "schema violation", message, p}
}

var errNotFound = &apiError{status: http.StatusNotFound, message: "Not found"}

// kinds in the order in which they refer to each other.
var kinds = []string{"services", "routes", "certificates", "plugins"}

// ownFields are the fields of each kind that this stand-in knows, with Kong's defaults.
// The plugin's dump adds some to those of plugins.
var ownFields = map[string]string{
	"services": `{"enabled":{"type":"boolean","default":true}}, {"name":{"type":"string"}}, {"url":{"type":"string"}}, {"protocol":{"type":"string","default":"http"}}, {"host":{"type":"string"}},
		{"port":{"type":"integer","default":80}}, {"path":{"type":"string"}}, {"retries":{"type":"integer","default":5}},
		{"connect_timeout":{"type":"integer","default":60000}}, {"write_timeout":{"type":"integer","default":60000}}, {"read_timeout":{"type":"integer","default":60000}}`,
	"routes": `{"name":{"type":"string"}},
		{"protocols":{"type":"set","required":true,"default":["http","https"],"elements":{"type":"string"}}},
		{"methods":{"type":"set","elements":{"type":"string","match_none":[{"pattern":"[^%u]","err":"invalid value: a method is written in capitals"}]}}},
		{"hosts":{"type":"array","elements":{"type":"string","match_none":[{"pattern":"[^%w%.%-_:*]","err":"invalid hostname"}]}}},
		{"paths":{"type":"array","elements":{"type":"string","match_none":[
			{"pattern":"^[^/~]","err":"should start with: / (fixed path) or ~/ (regexed path)"},{"pattern":"^~[^/]","err":"should start with: / (fixed path) or ~/ (regexed path)"}]}}},
		{"https_redirect_status_code":{"type":"integer","default":426}}, {"regex_priority":{"type":"integer","default":0}},
		{"strip_path":{"type":"boolean","default":true}}, {"preserve_host":{"type":"boolean","default":false}},
		{"path_handling":{"type":"string"}}, {"request_buffering":{"type":"boolean"}}, {"response_buffering":{"type":"boolean"}},
		{"service":{"type":"foreign","reference":"services"}}`,
	"certificates": `{"cert":{"type":"string","required":true}}, {"key":{"type":"string","required":true}}, {"cert_alt":{"type":"string"}}, {"key_alt":{"type":"string"}},
		{"snis":{"type":"set","default":[],"elements":{"type":"string"}}}`,
	"plugins": `{"name":{"type":"string","required":true}}, {"instance_name":{"type":"string"}}, {"enabled":{"type":"boolean","default":true}},
		{"route":{"type":"foreign","reference":"routes"}}, {"service":{"type":"foreign","reference":"services"}}`,
}

// entities is a whole configuration. A change makes a new one.
type entities struct {
	pluginName string
	schemas    map[string]*kongschema.Field
	all        map[string][]entity
}

// newEntities returns a configuration without entities, for a plugin with that schema.
func newEntities(pluginName string, dump *kongschema.Field) (*entities, error) {
	e := &entities{pluginName, map[string]*kongschema.Field{}, map[string][]entity{}}
	for kind, own := range ownFields {
		s, err := kongschema.Parse([]byte(`{"name":"` + kind + `","fields":[{"id":{"type":"string","uuid":true,"auto":true}},
			{"created_at":{"type":"integer","auto":true}}, {"updated_at":{"type":"integer","auto":true}},
			{"tags":{"type":"set","elements":{"type":"string"}}}, ` + own + `]}`))
		if err != nil {
			return nil, err
		}
		e.schemas[kind] = s
	}
	plugins := e.schemas["plugins"]
	plugins.Fields = append(plugins.Fields, dump.Fields...)
	if config := plugins.Field("config"); config == nil || config.Type != "record" {
		return nil, fmt.Errorf("the plugin's schema has no record named config")
	}
	return e, nil
}

// empty returns a configuration of the same plugin without entities.
func (e *entities) empty() *entities {
	return &entities{e.pluginName, e.schemas, map[string][]entity{}}
}

func (e *entities) clone() *entities {
	c := e.empty()
	for kind, list := range e.all {
		c.all[kind] = slices.Clone(list)
	}
	return c
}

// find returns the entity of a kind with that id or name, nil if there is none.
func (e *entities) find(kind, key string) entity {
	for _, v := range e.all[kind] {
		if v["id"] == key || kind != "plugins" && v["name"] == key {
			return v
		}
	}
	return nil
}

// insert checks an entity and adds it, with the defaults of its fields. Foreign keys may
// name an entity by id or by name.
func (e *entities) insert(kind string, v map[string]any) (entity, *apiError) {
	if name, ok := v["name"].(string); ok && kind == "plugins" && name != e.pluginName {
		return nil, schemaViolation(kongschema.Problems{"name": "plugin '" + name + "' not enabled; add it to the 'plugins' configuration property"})
	}
	p := kongschema.Problems{}
	filled := e.schemas[kind].Fill(v).(map[string]any)
	e.schemas[kind].Validate("", filled, p)
	if len(p) > 0 {
		return nil, schemaViolation(p)
	}
	switch kind {
	case "services":
		splitURL(filled)
	case "routes":
		for i, path := range stringList(filled["paths"]) {
			if pattern, ok := strings.CutPrefix(path, "~"); ok {
				if _, err := compilePath(pattern); err != nil {
					p.Add(fmt.Sprintf("paths[%d]", i+1), "invalid regex: '%s' (%v)", pattern, err)
				}
			}
		}
		if filled["methods"] == nil && filled["hosts"] == nil && filled["paths"] == nil {
			p.Add("", "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'")
		}
	case "certificates":
		if _, err := tls.X509KeyPair([]byte(filled["cert"].(string)), []byte(filled["key"].(string))); err != nil && !kongschema.IsReference(filled["cert"].(string)) {
			p.Add("", "invalid certificate or key: %s", oneLine(err.Error()))
		}
	}
	if len(p) > 0 {
		return nil, schemaViolation(p)
	}
	for _, f := range e.schemas[kind].Fields {
		if err := e.resolve(f, filled); err != nil {
			return nil, err
		}
	}
	for _, o := range e.all[kind] {
		sameScope := kind == "plugins" && foreignID(o, "route") == foreignID(filled, "route") && foreignID(o, "service") == foreignID(filled, "service")
		if o["id"] == filled["id"] || sameScope || kind != "plugins" && filled["name"] != nil && o["name"] == filled["name"] {
			return nil, &apiError{http.StatusConflict, 5, "unique constraint violation",
				fmt.Sprintf("UNIQUE violation detected on '{name=%q}'", str(filled["name"])), kongschema.Problems{"name": str(filled["name"])}}
		}
	}
	e.all[kind] = append(e.all[kind], filled)
	return filled, nil
}

// splitURL replaces the shorthand url of a service by the fields that it stands for.
func splitURL(service entity) {
	u, err := url.Parse(str(service["url"]))
	delete(service, "url")
	if err != nil || u.Host == "" {
		return
	}
	service["protocol"], service["host"] = u.Scheme, u.Hostname()
	if u.Path != "" {
		service["path"] = u.Path
	}
	if port, err := strconv.Atoi(u.Port()); err == nil {
		service["port"] = float64(port)
	} else if u.Scheme == "https" {
		service["port"] = 443.0
	}
}

// update changes the given fields of an entity, those of a record one by one.
func (e *entities) update(kind, key string, v map[string]any) (entity, *apiError) {
	old := e.find(kind, key)
	if old == nil {
		return nil, errNotFound
	}
	e.all[kind] = slices.DeleteFunc(e.all[kind], func(o entity) bool { return o["id"] == old["id"] })
	merged := maps.Clone(old)
	for name, value := range v {
		merged[name] = value
		if f := e.schemas[kind].Field(name); f != nil && f.Type == "record" {
			merged[name] = merge(old[name], value)
		}
	}
	return e.insert(kind, merged)
}

// merge returns v, with the members of old that it lacks if both are objects.
func merge(old, v any) any {
	before, ok := old.(map[string]any)
	changes, given := v.(map[string]any)
	if !ok || !given {
		return v
	}
	merged := maps.Clone(before)
	for name, value := range changes {
		merged[name] = merge(before[name], value)
	}
	return merged
}

// resolve makes a foreign key {"id": ...}, and refuses one that leads nowhere.
func (e *entities) resolve(f kongschema.Named, v entity) *apiError {
	m, ok := v[f.Name].(map[string]any)
	if f.Type != "foreign" || !ok {
		return nil
	}
	key := str(m["id"])
	if key == "" {
		key = str(m["name"])
	}
	target := e.find(f.Reference, key)
	if target == nil {
		return &apiError{http.StatusBadRequest, 4, "foreign key violation",
			fmt.Sprintf("the foreign key '{id=%q}' does not reference an existing '%s' entity.", key, f.Reference), kongschema.Problems{f.Name: key}}
	}
	v[f.Name] = map[string]any{"id": target["id"]}
	return nil
}

// remove deletes an entity and, as Kong does, the plugins of a deleted route or service.
func (e *entities) remove(kind, key string) {
	v := e.find(kind, key)
	is := func(o entity) bool { return v != nil && o["id"] == v["id"] }
	e.all[kind] = slices.DeleteFunc(e.all[kind], is)
	field := strings.TrimSuffix(kind, "s")
	e.all["plugins"] = slices.DeleteFunc(e.all["plugins"], func(p entity) bool { return v != nil && foreignID(p, field) == v["id"] })
}

// foreignID returns the id in a foreign key, nil if there is none.
func foreignID(v entity, field string) any {
	m, _ := v[field].(map[string]any)
	return m["id"]
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
