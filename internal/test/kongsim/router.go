package kongsim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

// snapshot is what requests see of a configuration. A change makes a new one,
// with another seq, and with that new instances of every plugin.
type snapshot struct {
	routes []*route
}

// route is a route with what it leads to.
type route struct {
	plugin       *Plugin // nil if none is configured for it
	routeReply   []byte  // kong.router.get_route
	serviceReply []byte  // kong.router.get_service

	methods       []string
	hosts         []string
	prefixes      []string
	regexes       []*regexp.Regexp
	regexPriority int
	order         int
}

// compile makes a snapshot. resolve gives the value of a vault reference.
func (e *entities) compile(seq uint64, resolve func(ref string) string) (*snapshot, error) {
	plugins := make([]*Plugin, len(e.all["plugins"]))
	for i, p := range e.all["plugins"] {
		var err error
		if plugins[i], err = e.plugin(p, seq, resolve); err != nil {
			return nil, err
		}
	}
	s := &snapshot{}
	for i, v := range e.all["routes"] {
		r := &route{order: i, regexPriority: int(number(v["regex_priority"]))}
		r.methods = stringList(v["methods"])
		for _, h := range stringList(v["hosts"]) {
			r.hosts = append(r.hosts, strings.ToLower(h))
		}
		for _, p := range stringList(v["paths"]) {
			if re, ok := strings.CutPrefix(p, "~"); ok {
				c, err := regexp.Compile("^(?:" + re + ")")
				if err != nil {
					return nil, fmt.Errorf("path %q: %w", p, err)
				}
				r.regexes = append(r.regexes, c)
				continue
			}
			r.prefixes = append(r.prefixes, p)
		}
		// The most specific plugin: of route and service, route, service, or all.
		best := -1
		for j, p := range e.all["plugins"] {
			if p["enabled"] != true {
				continue
			}
			weight := 0
			if id := foreignID(p, "route"); id != nil {
				if id != v["id"] {
					continue
				}
				weight += 2
			}
			if id := foreignID(p, "service"); id != nil {
				if id != foreignID(v, "service") {
					continue
				}
				weight++
			}
			if weight > best {
				best, r.plugin = weight, plugins[j]
			}
		}
		var err error
		if r.routeReply, err = routeMessage(v); err != nil {
			return nil, err
		}
		if id, ok := foreignID(v, "service").(string); ok {
			_, service := e.find("services", id)
			if r.serviceReply, err = serviceMessage(service); err != nil {
				return nil, err
			}
		}
		s.routes = append(s.routes, r)
	}
	return s, nil
}

// plugin returns what a worker needs of a plugin: its configuration as Kong
// hands it to START, without unset fields and with Kong's extra keys.
func (e *entities) plugin(p entity, seq uint64, resolve func(string) string) (*Plugin, error) {
	schema := e.schemas["plugins"].field("config")
	config := startValue(schema, p["config"], resolve).(map[string]any)
	id := p["id"].(string)
	for _, f := range []string{"route", "service"} {
		if fid := foreignID(p, f); fid != nil {
			config[f+"_id"] = fid
		}
	}
	if p["instance_name"] != nil {
		config["plugin_instance_name"] = p["instance_name"]
	}
	config["__seq__"] = seq
	config["__plugin_id"] = id
	config["__ws_id"] = stableUUID("workspace")
	config["__key__"] = fmt.Sprintf("plugins:%s:%v:%v:::%s", e.pluginName, orEmpty(foreignID(p, "route")), orEmpty(foreignID(p, "service")), stableUUID("workspace"))
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(config); err != nil {
		return nil, fmt.Errorf("the configuration of plugin %s: %w", id, err)
	}
	return &Plugin{ID: id, Name: e.pluginName, Seq: seq, Config: bytes.TrimSpace(buf.Bytes())}, nil
}

func orEmpty(v any) any {
	if v == nil {
		return ""
	}
	return v
}

// startValue copies v without its nils, and with references resolved; a record
// that held some keeps them under $refs.
func startValue(s *fieldSchema, v any, resolve func(string) string) any {
	switch v := v.(type) {
	case map[string]any:
		out, refs := map[string]any{}, map[string]any{}
		for k, e := range v {
			if e == nil {
				continue
			}
			var f *fieldSchema
			if s != nil {
				f = s.field(k)
			}
			if ref, ok := e.(string); ok && f != nil && f.referenceable && isReference(ref) {
				refs[k] = ref
				out[k] = resolve(ref)
				continue
			}
			out[k] = startValue(f, e, resolve)
		}
		if len(refs) > 0 {
			out["$refs"] = refs
		}
		return out
	case []any:
		var f *fieldSchema
		if s != nil {
			f = s.elements
		}
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = startValue(f, e, resolve)
		}
		return out
	}
	return v
}

func number(v any) float64 {
	n, _ := v.(float64)
	return n
}

func stringList(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

func routeMessage(v entity) ([]byte, error) {
	m := &kong_plugin_protocol.Route{
		Id: str(v["id"]), Name: str(v["name"]),
		CreatedAt: int64(number(v["created_at"])), UpdatedAt: int64(number(v["updated_at"])),
		Protocols: stringList(v["protocols"]), Methods: stringList(v["methods"]),
		Hosts: stringList(v["hosts"]), Paths: stringList(v["paths"]),
		HttpsRedirectStatusCode: int32(number(v["https_redirect_status_code"])),
		RegexPriority:           int32(number(v["regex_priority"])),
		StripPath:               v["strip_path"] == true, PreserveHost: v["preserve_host"] == true,
		Tags: stringList(v["tags"]),
	}
	if id, ok := foreignID(v, "service").(string); ok {
		m.Service = &kong_plugin_protocol.ServiceKey{Id: id}
	}
	return proto.Marshal(m)
}

func serviceMessage(v entity) ([]byte, error) {
	return proto.Marshal(&kong_plugin_protocol.Service{
		Id: str(v["id"]), Name: str(v["name"]),
		CreatedAt: int64(number(v["created_at"])), UpdatedAt: int64(number(v["updated_at"])),
		Retries: int32(number(v["retries"])), Protocol: str(v["protocol"]),
		Host: str(v["host"]), Port: int32(number(v["port"])), Path: str(v["path"]),
		ConnectTimeout: int32(number(v["connect_timeout"])), WriteTimeout: int32(number(v["write_timeout"])),
		ReadTimeout: int32(number(v["read_timeout"])), Tags: stringList(v["tags"]),
	})
}

// rank orders the routes that match a request: more kinds of attributes first,
// then whole hosts before wildcards, regular expressions before prefixes, the
// longer path, the older route.
type rank struct{ kinds, host, regex, priority, length, age int }

func (a rank) less(b rank) bool {
	return cmp.Or(cmp.Compare(a.kinds, b.kinds), cmp.Compare(a.host, b.host), cmp.Compare(a.regex, b.regex),
		cmp.Compare(a.priority, b.priority), cmp.Compare(a.length, b.length), cmp.Compare(a.age, b.age)) < 0
}

// match returns the route of a request, nil if there is none.
func (s *snapshot) match(method, host, path string) *route {
	var found *route
	var best rank
	for _, r := range s.routes {
		if k, ok := r.matches(method, host, path); ok && (found == nil || best.less(k)) {
			found, best = r, k
		}
	}
	return found
}

func (r *route) matches(method, host, path string) (rank, bool) {
	k := rank{age: -r.order}
	if len(r.methods) > 0 {
		if !slices.Contains(r.methods, method) {
			return k, false
		}
		k.kinds++
	}
	if len(r.hosts) > 0 {
		for _, pattern := range r.hosts {
			k.host = max(k.host, matchHost(pattern, host))
		}
		if k.host == 0 {
			return k, false
		}
		k.kinds++
	}
	if len(r.prefixes)+len(r.regexes) > 0 {
		hit := false
		for _, re := range r.regexes {
			if re.MatchString(path) {
				hit, k.regex, k.priority = true, 1, r.regexPriority
			}
		}
		for _, p := range r.prefixes {
			if strings.HasPrefix(path, p) {
				hit, k.length = true, max(k.length, len(p))
			}
		}
		if !hit {
			return k, false
		}
		k.kinds++
	}
	return k, k.kinds > 0
}

// matchHost returns 2 for the whole host, 1 for a wildcard, 0 for neither.
func matchHost(pattern, host string) int {
	bare := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		bare = h
	}
	if !strings.Contains(pattern, ":") {
		host = bare
	}
	switch {
	case pattern == host:
		return 2
	case strings.HasPrefix(pattern, "*."):
		if strings.HasSuffix(host, pattern[1:]) && len(host) > len(pattern)-1 {
			return 1
		}
	case strings.HasSuffix(pattern, ".*"):
		if strings.HasPrefix(host, pattern[:len(pattern)-1]) && len(host) > len(pattern)-1 {
			return 1
		}
	}
	return 0
}
