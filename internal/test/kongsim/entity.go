package kongsim

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// entity is a service, a route, a plugin or a certificate, as the Admin API
// shows it: unset fields are nil.
type entity = map[string]any

// apiError is an answer of the Admin API that refuses something.
type apiError struct {
	status  int
	code    int
	name    string
	message string
	fields  map[string]any // a tree of errors
}

func (e *apiError) Error() string { return e.message }

func schemaViolation(errs map[string]any) *apiError {
	return &apiError{http.StatusBadRequest, 2, "schema violation", violation(errs), errs}
}

// kinds in the order in which they refer to each other.
var kinds = []string{"services", "routes", "certificates", "plugins"}

// entities is a whole configuration. A change makes a new one.
type entities struct {
	pluginName string
	schemas    map[string]*fieldSchema
	all        map[string][]entity
}

func newEntities(pluginName string, dump *fieldSchema) (*entities, error) {
	plugin, err := pluginSchema(dump)
	if err != nil {
		return nil, err
	}
	return &entities{
		pluginName: pluginName,
		schemas: map[string]*fieldSchema{
			"services": serviceSchema, "routes": routeSchema, "certificates": certificateSchema, "plugins": plugin,
		},
		all: map[string][]entity{},
	}, nil
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

// find returns the entity of a kind with that id or name.
func (e *entities) find(kind, key string) (int, entity) {
	for i, v := range e.all[kind] {
		if v["id"] == key || kind != "plugins" && v["name"] == key {
			return i, v
		}
	}
	return -1, nil
}

// check fills the defaults of v and says what is wrong with it.
func (e *entities) check(kind string, v map[string]any) (entity, map[string]any) {
	if kind == "plugins" {
		if name, ok := v["name"].(string); ok && name != e.pluginName {
			return nil, map[string]any{"name": fmt.Sprintf("plugin '%s' not enabled; add it to the 'plugins' configuration property", name)}
		}
	}
	s := e.schemas[kind]
	filled := s.fill(expandURL(kind, v)).(map[string]any)
	errs, _ := s.validate(filled).(map[string]any)
	if errs == nil {
		errs = map[string]any{}
	}
	if kind == "plugins" && v["name"] == nil {
		return nil, map[string]any{"name": "required field missing"}
	}
	if len(errs) == 0 {
		switch kind {
		case "routes":
			checkRoute(filled, errs)
		case "certificates":
			checkCertificate(filled, errs)
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return filled, nil
}

// insert adds an entity. Foreign keys may name an entity by id or by name.
func (e *entities) insert(kind string, v map[string]any) (entity, *apiError) {
	filled, errs := e.check(kind, v)
	if errs != nil {
		return nil, schemaViolation(errs)
	}
	if err := e.resolve(kind, filled); err != nil {
		return nil, err
	}
	if err := e.unique(kind, filled, -1); err != nil {
		return nil, err
	}
	e.all[kind] = append(e.all[kind], filled)
	return filled, nil
}

// update merges v into an entity, records field by field, as PATCH does.
func (e *entities) update(kind, key string, v map[string]any) (entity, *apiError) {
	i, old := e.find(kind, key)
	if old == nil {
		return nil, notFound()
	}
	merged := mergeRecords(e.schemas[kind], old, v)
	filled, errs := e.check(kind, merged)
	if errs != nil {
		return nil, schemaViolation(errs)
	}
	if err := e.resolve(kind, filled); err != nil {
		return nil, err
	}
	if err := e.unique(kind, filled, i); err != nil {
		return nil, err
	}
	e.all[kind][i] = filled
	return filled, nil
}

// remove deletes an entity and, as Kong does, the plugins of a deleted route or
// service.
func (e *entities) remove(kind, key string) *apiError {
	i, v := e.find(kind, key)
	if v == nil {
		return notFound()
	}
	if kind == "services" {
		for _, r := range e.all["routes"] {
			if foreignID(r, "service") == v["id"] {
				return &apiError{http.StatusBadRequest, 4, "foreign key violation", "an existing 'routes' entity references this 'services' entity", map[string]any{"@referenced_by": "routes"}}
			}
		}
	}
	e.all[kind] = slices.Delete(e.all[kind], i, i+1)
	if kind == "routes" || kind == "services" {
		field := strings.TrimSuffix(kind, "s")
		e.all["plugins"] = slices.DeleteFunc(e.all["plugins"], func(p entity) bool { return foreignID(p, field) == v["id"] })
	}
	return nil
}

func notFound() *apiError {
	return &apiError{http.StatusNotFound, 3, "not found", "Not found", nil}
}

func foreignID(v entity, field string) any {
	m, _ := v[field].(map[string]any)
	if m == nil {
		return nil
	}
	return m["id"]
}

// resolve makes each foreign key {"id": ...} and refuses one that leads
// nowhere.
func (e *entities) resolve(kind string, v entity) *apiError {
	for _, f := range e.schemas[kind].fields {
		m, ok := v[f.name].(map[string]any)
		if f.kind != "foreign" || !ok {
			continue
		}
		key, _ := m["id"].(string)
		if key == "" {
			key, _ = m["name"].(string)
		}
		if key == "" {
			return schemaViolation(map[string]any{f.name: map[string]any{"id": "missing primary key"}})
		}
		_, target := e.find(f.reference, key)
		if target == nil {
			return &apiError{http.StatusBadRequest, 4, "foreign key violation",
				fmt.Sprintf("the foreign key '{id=%q}' does not reference an existing '%s' entity.", key, f.reference),
				map[string]any{f.name: map[string]any{"id": key}}}
		}
		v[f.name] = map[string]any{"id": target["id"]}
	}
	return nil
}

func (e *entities) unique(kind string, v entity, self int) *apiError {
	clash := func(fields map[string]any, lua string) *apiError {
		return &apiError{http.StatusConflict, 5, "unique constraint violation", "UNIQUE violation detected on '" + lua + "'", fields}
	}
	for i, o := range e.all[kind] {
		if i == self {
			continue
		}
		if o["id"] == v["id"] {
			return &apiError{http.StatusBadRequest, 3, "primary key violation", fmt.Sprintf("primary key violation on key '{id=%q}'", v["id"]), map[string]any{"id": v["id"]}}
		}
		if kind == "plugins" {
			if foreignID(o, "route") == foreignID(v, "route") && foreignID(o, "service") == foreignID(v, "service") {
				show := func(field string) string {
					if id := foreignID(v, field); id != nil {
						return fmt.Sprintf("{id=%q}", id)
					}
					return "null"
				}
				return clash(map[string]any{"name": v["name"], "route": v["route"], "service": v["service"], "consumer": nil},
					fmt.Sprintf("{consumer=null,name=%q,route=%s,service=%s}", v["name"], show("route"), show("service")))
			}
			continue
		}
		if v["name"] != nil && o["name"] == v["name"] {
			return clash(map[string]any{"name": v["name"]}, fmt.Sprintf("{name=%q}", v["name"]))
		}
	}
	return nil
}

func mergeRecords(s *fieldSchema, old, v map[string]any) map[string]any {
	out := maps.Clone(old)
	for k, n := range v {
		f := s.field(k)
		o, isRecord := out[k].(map[string]any)
		m, given := n.(map[string]any)
		if f != nil && f.kind == "record" && isRecord && given {
			out[k] = mergeRecords(f, o, m)
			continue
		}
		out[k] = n
	}
	return out
}

// expandURL takes the shorthand "url" of a service apart.
func expandURL(kind string, v map[string]any) map[string]any {
	raw, ok := v["url"].(string)
	if kind != "services" || !ok {
		return v
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return v
	}
	out := maps.Clone(v)
	delete(out, "url")
	out["protocol"], out["host"] = u.Scheme, u.Hostname()
	port := 80.0
	if u.Scheme == "https" {
		port = 443
	}
	if p, err := strconv.Atoi(u.Port()); err == nil {
		port = float64(p)
	}
	out["port"] = port
	if u.Path != "" {
		out["path"] = u.Path
	}
	return out
}

func checkRoute(v entity, errs map[string]any) {
	some := false
	for _, name := range []string{"methods", "hosts", "paths"} {
		list, _ := v[name].([]any)
		some = some || len(list) > 0
	}
	if !some {
		protocol := "http"
		if list, _ := v["protocols"].([]any); slices.Contains(list, "https") {
			protocol = "https"
		}
		errs["@entity"] = sparse{1: "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is '" + protocol + "'"}
	}
	paths, _ := v["paths"].([]any)
	for i, p := range paths {
		if re, ok := strings.CutPrefix(p.(string), "~"); ok {
			if _, err := regexp.Compile(re); err != nil {
				errs["paths"] = sparse{i + 1: "invalid regex: '" + re + "'"}
			}
		}
	}
}

func checkCertificate(v entity, errs map[string]any) {
	cert, key := v["cert"].(string), v["key"].(string)
	if isReference(cert) || isReference(key) {
		return
	}
	if block, _ := pem.Decode([]byte(cert)); block == nil || block.Type != "CERTIFICATE" {
		errs["cert"] = "invalid certificate: it is no PEM certificate"
	}
	if block, _ := pem.Decode([]byte(key)); block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		errs["key"] = "invalid key: it is no PEM private key"
	}
	if len(errs) == 0 {
		if _, err := tls.X509KeyPair([]byte(cert), []byte(key)); err != nil {
			errs["@entity"] = sparse{1: "certificate does not match key"}
		}
	}
}
