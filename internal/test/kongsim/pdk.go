package kongsim

import (
	"net"
	"net/http"
	"strings"
	"time"
)

// exchange answers the PDK calls about one request as Kong 3.9.1 answers them: those of
// the door, and what a plugin may ask beside.
type exchange struct {
	*http.Request
	sim       *Sim
	target    string // origin form, as nginx's $request_uri
	headers   []Header
	content   []byte
	file      string // the temp file that holds the body, or ""
	remote    *net.TCPAddr
	local     *net.TCPAddr
	start     time.Time
	requestID string
	size      int64  // of the body
	route     *route // set before a plugin asks
	facts     Facts
}

var _ Answerer = (*exchange)(nil)

// Answer implements [Answerer].
func (x *exchange) Answer(method string, args []byte) ([]byte, bool) {
	switch method {
	case "kong.request.get_method":
		return stringReply(x.Method), true
	case "kong.request.get_path_with_query":
		return stringReply(x.target), true
	case "kong.request.get_raw_query":
		return stringReply(x.query()), true
	case "kong.request.get_headers":
		limit, err := intArg(args)
		if limit == 0 {
			limit = 100
		}
		return structReply(group(x.headers[:min(max(limit, 0), len(x.headers))])), err == nil && limit >= 1 && limit <= 1000
	case "kong.request.get_header":
		name, err := stringArg(args)
		return stringReply(x.header(name, "-")), err == nil
	case "kong.request.get_raw_body":
		if x.file != "" {
			return stringField(2, x.file), true
		}
		return rawBodyReply(x.content), true
	case "kong.request.get_scheme", "kong.request.get_forwarded_scheme", "kong.nginx.get_subsystem":
		return stringReply("http"), true
	case "kong.request.get_host", "kong.request.get_forwarded_host":
		host, _, err := net.SplitHostPort(x.Host)
		if err != nil {
			host = x.Host
		}
		return stringReply(strings.ToLower(host)), true
	case "kong.request.get_port", "kong.request.get_forwarded_port":
		return intReply(x.local.Port), true
	case "kong.client.get_ip", "kong.client.get_forwarded_ip":
		return stringReply(x.remote.IP.String()), true
	case "kong.client.get_port", "kong.client.get_forwarded_port":
		return intReply(x.remote.Port), true
	case "kong.nginx.get_var":
		name, err := stringArg(args)
		return stringReply(x.variable(name)), err == nil
	}
	if level, ok := logLevel(method); ok {
		x.sim.log(level, logMessage(args), x)
		return nil, true
	}
	return x.answerFact(method, args)
}

// line returns the request line.
func (x *exchange) line() string { return x.Method + " " + x.RequestURI + " " + x.Proto }

func (x *exchange) query() string {
	_, q, _ := strings.Cut(x.target, "?")
	return q
}

func (x *exchange) path() string {
	path, _, _ := strings.Cut(x.target, "?")
	return path
}

// header returns the first value of a header, whose name may have dash in place of "-".
func (x *exchange) header(name, dash string) string {
	for _, h := range x.headers {
		if strings.ReplaceAll(h.Name, "-", dash) == strings.ToLower(name) {
			return h.Value
		}
	}
	return ""
}

// variable returns an nginx variable, "" for one that is unset or unknown.
func (x *exchange) variable(name string) string {
	if v, ok := x.facts.Variables[name]; ok {
		return v
	}
	switch name {
	case "request":
		return x.line()
	case "kafka_upstream_request": // as docs/configuration.md has kong.conf define it
		return x.Method + " " + x.target + "\n" + x.query()
	case "request_method":
		return x.Method
	case "request_uri":
		return x.target
	case "args":
		return x.query()
	case "server_protocol":
		return x.Proto
	case "content_type", "content_length":
		return x.header(name, "_")
	case "request_id", "kong_request_id":
		return x.requestID
	case "uri":
		return nginxURI(x.path())
	case "request_length":
		return x.length()
	case "remote_addr":
		return x.remote.IP.String()
	}
	if header, ok := strings.CutPrefix(name, "http_"); ok {
		return x.header(header, "_")
	}
	return ""
}

// group gathers the values of a repeated name into a list at its first place.
func group(headers []Header) []pair {
	var out []pair
	at := map[string]int{}
	for _, h := range headers {
		i, seen := at[h.Name]
		if !seen {
			at[h.Name] = len(out)
			out = append(out, pair{h.Name, h.Value})
		} else if list, ok := out[i].value.([]any); ok {
			out[i].value = append(list, h.Value)
		} else {
			out[i].value = []any{out[i].value, h.Value}
		}
	}
	return out
}
