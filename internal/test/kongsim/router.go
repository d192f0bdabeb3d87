package kongsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net"
	"regexp"
	"slices"
	"strings"

	"kafka-upstream/internal/kongschema"
)

// snapshot is what requests see of a configuration. A change makes a new one, with
// another seq, and with that new instances of every plugin.
type snapshot struct {
	routes []*route
}

// route is a route with what it leads to.
type route struct {
	plugin  *Plugin // nil if none is configured for it
	name    string
	methods []string
	hosts   []string
	paths   []string
	regexps []*regexp.Regexp // paths that are regular expressions
	entity  entity
	service entity // nil if there is none
}

// compile makes a snapshot.
func (e *entities) compile(seq uint64) (*snapshot, error) {
	s := &snapshot{}
	for _, v := range e.all["routes"] {
		r := &route{name: str(v["name"]), methods: stringList(v["methods"]), hosts: stringList(v["hosts"]), paths: stringList(v["paths"]), entity: v}
		if id := foreignID(v, "service"); id != nil {
			r.service = e.find("services", str(id))
		}
		for _, p := range r.paths {
			if pattern, ok := strings.CutPrefix(p, "~"); ok {
				re, err := compilePath(pattern)
				if err != nil {
					return nil, err
				}
				r.regexps = append(r.regexps, re)
			}
		}
		var plugin entity // the most specific one: of route and service, route, service, or all
		best := -1
		for _, p := range e.all["plugins"] {
			route, service := foreignID(p, "route"), foreignID(p, "service")
			weight := 0
			if route != nil {
				weight = 2
			}
			if service != nil {
				weight++
			}
			if p["enabled"] == true && (route == nil || route == v["id"]) && (service == nil || service == foreignID(v, "service")) && weight > best {
				best, plugin = weight, p
			}
		}
		if plugin != nil {
			var err error
			if r.plugin, err = e.plugin(plugin, seq); err != nil {
				return nil, err
			}
		}
		s.routes = append(s.routes, r)
	}
	return s, nil
}

// plugin returns what a worker needs of a plugin: its configuration as Kong hands it to
// START, without unset fields and with Kong's extra keys.
func (e *entities) plugin(p entity, seq uint64) (*Plugin, error) {
	config := startValue(e.schemas["plugins"].Field("config"), p["config"]).(map[string]any)
	id := str(p["id"])
	for _, f := range []string{"route", "service"} {
		if fid := foreignID(p, f); fid != nil {
			config[f+"_id"] = fid
		}
	}
	if p["instance_name"] != nil {
		config["plugin_instance_name"] = p["instance_name"]
	}
	maps.Copy(config, map[string]any{"__seq__": seq, "__plugin_id": id, "__ws_id": stableUUID("workspace"), "__key__": "plugins:" + e.pluginName + ":" + id})
	b, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("the configuration of plugin %s: %w", id, err)
	}
	return &Plugin{ID: id, Name: e.pluginName, Seq: seq, Config: b}, nil
}

// startValue copies v without its nils, and with "" for references: a vault that does not
// hold the secret gives that.
func startValue(s *kongschema.Field, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if e != nil {
				out[k] = startValue(member(s, k), e)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = startValue(s.Elements, e)
		}
		return out
	case string:
		if s.Referenceable && kongschema.IsReference(v) {
			return ""
		}
	}
	return v
}

func stringList(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, e := range list {
		out = append(out, str(e))
	}
	return out
}

// match returns the route of a request, nil if there is none: the one with more kinds of
// attributes, then with a whole host, then with the longer path, then the older one.
func (s *snapshot) match(method, host, path string) *route {
	var found *route
	var best [3]int
	for _, r := range s.routes {
		if rank, ok := r.matches(method, host, path); ok && (found == nil || slices.CompareFunc(best[:], rank[:], cmp.Compare[int]) < 0) {
			found, best = r, rank
		}
	}
	return found
}

// matches reports whether the route takes a request, and its rank: kinds of attributes,
// 2 for a whole host and 1 for a wildcard, the length of the path.
func (r *route) matches(method, host, path string) (rank [3]int, ok bool) {
	if len(r.methods) > 0 {
		if !slices.Contains(r.methods, method) {
			return rank, false
		}
		rank[0]++
	}
	if len(r.hosts) > 0 {
		for _, pattern := range r.hosts {
			rank[1] = max(rank[1], matchHost(strings.ToLower(pattern), host))
		}
		if rank[1] == 0 {
			return rank, false
		}
		rank[0]++
	}
	if len(r.paths) > 0 {
		for _, p := range r.paths {
			if strings.HasPrefix(path, p) {
				rank[2] = max(rank[2], len(p))
			}
		}
		if r.regexp(path) != nil {
			rank[2] = math.MaxInt // before all that are not
		}
		if rank[2] == 0 {
			return rank, false
		}
		rank[0]++
	}
	return rank, true
}

// compilePath compiles a path that is a regular expression. Go's and those of Kong's router, in
// Rust, have nearly the same syntax.
func compilePath(pattern string) (*regexp.Regexp, error) {
	return regexp.Compile("^(?:" + pattern + ")")
}

// regexp returns the regular expression that takes a path, nil if none does.
func (r *route) regexp(path string) *regexp.Regexp {
	for _, re := range r.regexps {
		if re.MatchString(path) {
			return re
		}
	}
	return nil
}

// captures returns what the route's path has captured, as it passes through Kong's protocol: a
// named group is in both, and the list ends before the first group that took no part.
func (r *route) captures(path string) (named map[string]string, unnamed []string) {
	re := r.regexp(path)
	if re == nil {
		return nil, nil
	}
	m := re.FindStringSubmatchIndex(path)
	named = map[string]string{}
	ended := false
	for i, name := range re.SubexpNames()[1:] {
		from, to := m[2*i+2], m[2*i+3]
		if from < 0 {
			ended = true
			continue
		}
		if !ended {
			unnamed = append(unnamed, path[from:to])
		}
		if name != "" {
			named[name] = path[from:to]
		}
	}
	return named, unnamed
}

// matchHost returns 2 for the whole host, 1 for a wildcard, 0 for neither.
func matchHost(pattern, host string) int {
	if bare, _, err := net.SplitHostPort(host); err == nil && !strings.Contains(pattern, ":") {
		host = bare
	}
	switch {
	case pattern == host:
		return 2
	case strings.HasPrefix(pattern, "*.") && strings.HasSuffix(host, pattern[1:]), strings.HasSuffix(pattern, ".*") && strings.HasPrefix(host, pattern[:len(pattern)-1]):
		return 1
	}
	return 0
}
