package request

import (
	"iter"
	"maps"
	"slices"
)

// Fact names something that Kong knows about a request beside what a [Request] has
// anyway, such as its consumer. [KnownFact] reports which there are. Their values:
//
//   - string: the calls of kong.client, kong.request, kong.nginx and kong.node that are not
//     listed below. It may be empty, and hold any bytes.
//   - number: get_port, get_forwarded_port, get_http_version (such as 1.1), req_start_time
//     (seconds since 1970, with a fraction).
//   - kong.client.get_protocol: "http" or "https", nil without a route.
//   - get_consumer, get_uri_captures, get_var: see the constants.
//   - get_credential: a map with "id", and "consumer_id" of some; nothing else reaches a
//     plugin server, and so no key and no user name. It is nil without one.
//   - get_route, get_service: a map with Kong's names of the fields, those that Kong's
//     protocol has: no expression of a route, and no headers. A list is a list of strings;
//     "service" and "client_certificate" are maps with "id". An empty text, an empty list
//     and a number that is 0 are left out, as what is not set is. get_service is nil for a
//     route without a service.
//   - kong.ctx.shared.get, kong.nginx.get_ctx: what an earlier plugin, or Kong, has put there.
//     An empty Lua table is an empty map. Numbers may be infinite, or no number. Functions and
//     userdata, JSON's null with them, are nil.
type Fact struct {
	// Call is Kong's name of the call that returns it, such as
	// "kong.client.get_consumer".
	Call string
	// Name is the argument of a call that takes a name, such as "kong.nginx.get_var". It is
	// empty for other calls.
	Name string
}

// Calls whose facts are used beside message functions.
const (
	// CallConsumer returns the consumer that a plugin before this one has found: a map with
	// the strings "id", "username" and "custom_id", the number "created_at" (seconds since
	// 1970) and the list "tags". What the consumer does not have is left out. It is nil if
	// there is no consumer.
	CallConsumer = "kong.client.get_consumer"
	// CallURICaptures returns what the path of a route has captured, if it is a regular
	// expression: a map with "named", a map of strings, and "unnamed", a list of strings,
	// that of the first group first. Both are there, and may be empty. A named group is in
	// both. The list ends before the first group that took no part in the match.
	CallURICaptures = "kong.request.get_uri_captures"
	// CallVariable returns a variable of nginx: a string, nil if it is unknown, not set or
	// empty.
	CallVariable = "kong.nginx.get_var"
	// CallIsTrusted returns whether Kong trusts an address, which is the name: a bool.
	CallIsTrusted = "kong.ip.is_trusted"
)

// calls are the calls that a [Fact] may name, and whether each takes a name: those of the
// plugin protocol's service, in Kong's pluginsocket.proto, that return something about a
// request. Before 3.1 it has no get_uri_captures, and Kong answers 500 to each request for
// which that is called.
var calls = map[string]bool{
	"kong.client.get_ip":             false,
	"kong.client.get_forwarded_ip":   false,
	"kong.client.get_port":           false,
	"kong.client.get_forwarded_port": false,
	"kong.client.get_credential":     false,
	CallConsumer:                     false,
	"kong.client.get_protocol":       false,

	"kong.request.get_scheme":           false,
	"kong.request.get_host":             false,
	"kong.request.get_port":             false,
	"kong.request.get_forwarded_scheme": false,
	"kong.request.get_forwarded_host":   false,
	"kong.request.get_forwarded_port":   false,
	"kong.request.get_http_version":     false,
	"kong.request.get_path":             false,
	CallURICaptures:                     false,

	"kong.router.get_route":   false,
	"kong.router.get_service": false,

	"kong.ctx.shared.get": true,

	CallVariable:                true,
	"kong.nginx.get_ctx":        true,
	"kong.nginx.req_start_time": false,
	"kong.nginx.get_subsystem":  false,

	"kong.node.get_id": false,
	CallIsTrusted:      true,
}

// KnownFact reports whether a door can find out f: whether Kong's plugin protocol has the
// call, and f has a name exactly if the call takes one. Kong answers 500 to a request for
// which a call is made that it does not have, so no door makes one.
func KnownFact(f Fact) bool {
	named, ok := calls[f.Call]
	return ok && named == (f.Name != "")
}

// KnownCalls returns the calls that a [Fact] may name, in no order, and whether each takes a
// name.
func KnownCalls() iter.Seq2[string, bool] { return maps.All(calls) }

// FactValue is the value of a fact.
type FactValue struct {
	Fact
	// Value is nil, a bool, a float64, a string, a []any of these, or a map[string]any of
	// these. It is read-only. It is nil, too, if Kong's reply cannot be used.
	Value any
}

// Fact returns the value of a fact, nil if there is none.
func (r *Request) Fact(f Fact) any {
	for i := range r.Facts {
		if r.Facts[i].Fact == f {
			return r.Facts[i].Value
		}
	}
	return nil
}

// Merge returns the fields that f or g wants. It changes neither.
func (f Fields) Merge(g Fields) Fields {
	f.Method = f.Method || g.Method
	f.URI = f.URI || g.URI
	f.Query = f.Query || g.Query
	f.Headers = f.Headers || g.Headers
	f.Body = f.Body || g.Body
	f.MaxBody = max(f.MaxBody, g.MaxBody)
	facts := f.Facts[:len(f.Facts):len(f.Facts)]
	for _, fact := range g.Facts {
		if !slices.Contains(facts, fact) {
			facts = append(facts, fact)
		}
	}
	f.Facts = facts
	return f
}
