package kongsim

import (
	"bytes"
	"net"
	"strconv"
	"strings"
)

// exchange answers the PDK calls about one request as Kong 3.9.1 answers them.
type exchange struct {
	*httpRequest
	sim       *Sim
	route     *route
	remote    *net.TCPAddr
	local     *net.TCPAddr
	requestID string
	nginxID   string
}

var _ Answerer = (*exchange)(nil)

// Answer implements [Answerer].
func (x *exchange) Answer(method string, args []byte) ([]byte, bool) {
	switch method {
	case "kong.request.get_method":
		return stringReply(x.method), true
	case "kong.request.get_path_with_query":
		return stringReply(x.target), true
	case "kong.request.get_path":
		return stringReply(normalizePath(x.path())), true
	case "kong.request.get_raw_query":
		return stringReply(x.query()), true
	case "kong.request.get_query":
		limit, ok := limitArg(args)
		return structReply(group(parseArgs(x.query(), limit))), ok
	case "kong.request.get_query_arg":
		name, err := stringArg(args)
		for _, p := range parseArgs(x.query(), 100) {
			if p.name == name {
				// Kong puts the value into a String, and Lua's true is none.
				value, isText := p.value.(string)
				return stringReply(value), isText
			}
		}
		return nil, err == nil
	case "kong.request.get_headers":
		limit, ok := limitArg(args)
		var pairs []pair
		for i, h := range x.headers {
			if i == limit {
				break
			}
			pairs = append(pairs, pair{h.Name, h.Value})
		}
		return structReply(group(pairs)), ok
	case "kong.request.get_header":
		name, err := stringArg(args)
		value, _ := x.header(strings.ToLower(name))
		return stringReply(value), err == nil
	case "kong.request.get_raw_body":
		if x.file != "" {
			return stringField(2, x.file), true
		}
		return rawBodyReply(x.content), true
	case "kong.request.get_scheme", "kong.request.get_forwarded_scheme", "kong.nginx.get_subsystem":
		return stringReply("http"), true
	case "kong.request.get_host", "kong.request.get_forwarded_host":
		return stringReply(x.bareHost()), true
	case "kong.request.get_port", "kong.request.get_forwarded_port":
		return intReply(x.local.Port), true
	case "kong.request.get_http_version":
		return numberReply(x.version()), true
	case "kong.client.get_ip", "kong.client.get_forwarded_ip":
		return stringReply(x.remote.IP.String()), true
	case "kong.client.get_port", "kong.client.get_forwarded_port":
		return intReply(x.remote.Port), true
	case "kong.client.get_consumer", "kong.client.get_credential":
		return nil, true
	case "kong.router.get_route":
		return x.route.routeReply, true
	case "kong.router.get_service":
		return x.route.serviceReply, true
	case "kong.node.get_id":
		return stringReply(x.sim.nodeID), true
	case "kong.nginx.req_start_time":
		return numberReply(float64(x.start.UnixMilli()) / 1000), true
	case "kong.nginx.get_var":
		name, err := stringArg(args)
		return stringReply(x.variable(name)), err == nil
	}
	if level, ok := logLevel(method); ok {
		x.sim.log(level, logMessage(args), x)
		return nil, true
	}
	return nil, false
}

func (x *exchange) version() float64 { return 1 + float64(x.minor)/10 }

func (x *exchange) bareHost() string {
	if h, _, err := net.SplitHostPort(x.host); err == nil {
		return h
	}
	return x.host
}

// variable returns an nginx variable, "" for one that is unset or unknown.
func (x *exchange) variable(name string) string {
	switch name {
	case "request":
		return x.line
	case "kafka_upstream_request": // as docs/configuration.md has kong.conf define it
		return x.method + " " + x.target + "\n" + x.query()
	case "request_method":
		return x.method
	case "request_uri":
		return x.target
	case "args", "query_string":
		return x.query()
	case "uri", "document_uri":
		return decodedPath(x.path())
	case "is_args":
		if x.query() != "" {
			return "?"
		}
		return ""
	case "server_protocol":
		return "HTTP/1." + strconv.Itoa(x.minor)
	case "scheme":
		return "http"
	case "host":
		return x.bareHost()
	case "content_type", "content_length":
		name = "http_" + name
	case "request_length":
		return strconv.FormatInt(x.length, 10)
	case "request_id":
		return x.nginxID
	case "kong_request_id":
		return x.requestID
	case "remote_addr":
		return x.remote.IP.String()
	case "remote_port":
		return strconv.Itoa(x.remote.Port)
	case "server_addr":
		return x.local.IP.String()
	case "server_port":
		return strconv.Itoa(x.local.Port)
	}
	if header, ok := strings.CutPrefix(name, "http_"); ok {
		for _, h := range x.headers {
			if strings.ReplaceAll(h.Name, "-", "_") == header {
				return h.Value
			}
		}
	}
	return ""
}

// limitArg reads the argument of get_headers and get_query: 100 if there is
// none; below 1 or above 1000 Kong raises.
func limitArg(args []byte) (int, bool) {
	n, err := intArg(args)
	if n == 0 {
		n = 100
	}
	return n, err == nil && n >= 1 && n <= 1000
}

// group gathers the values of a repeated name into a list at its first place.
func group(pairs []pair) []pair {
	var out []pair
	at := map[string]int{}
	for _, p := range pairs {
		i, seen := at[p.name]
		if !seen {
			at[p.name] = len(out)
			out = append(out, p)
			continue
		}
		if list, ok := out[i].value.([]any); ok {
			out[i].value = append(list, p.value)
		} else {
			out[i].value = []any{out[i].value, p.value}
		}
	}
	return out
}

// parseArgs splits a query as ngx.req.get_uri_args does: true for an argument
// without "=", no pair with an empty name, at most limit pairs.
func parseArgs(query string, limit int) []pair {
	var pairs []pair
	for part := range strings.SplitSeq(query, "&") {
		if len(pairs) == limit {
			break
		}
		rawName, rawValue, hasValue := strings.Cut(part, "=")
		name := unescape(rawName, true)
		if name == "" {
			continue
		}
		if !hasValue {
			pairs = append(pairs, pair{name, true})
			continue
		}
		pairs = append(pairs, pair{name, unescape(rawValue, true)})
	}
	return pairs
}

// unescape decodes %XX, and "+" into a blank if plus is set. An invalid escape
// stays as it is.
func unescape(s string, plus bool) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	var b []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' && plus {
			c = ' '
		} else if v, ok := escaped(s, i); ok {
			c = v
			i += 2
		}
		b = append(b, c)
	}
	return string(b)
}

// escaped returns the byte that an escape at i stands for.
func escaped(s string, i int) (byte, bool) {
	if s[i] != '%' || i+2 >= len(s) {
		return 0, false
	}
	v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
	return byte(v), err == nil
}

// normalizePath returns the path as kong.request.get_path does: escapes
// decoded except those of reserved characters, dot segments and repeated
// slashes removed (RFC 3986, section 6).
func normalizePath(path string) string {
	var b []byte
	for i := 0; i < len(path); i++ {
		v, ok := escaped(path, i)
		if !ok {
			b = append(b, path[i])
			continue
		}
		if strings.IndexByte("!#$%&'()*+,/:;=?@[]", v) >= 0 {
			b = append(b, strings.ToUpper(path[i:i+3])...)
		} else {
			b = append(b, v)
		}
		i += 2
	}
	return string(removeDots(b))
}

// decodedPath returns nginx's $uri: all escapes decoded, dot segments and
// repeated slashes removed.
func decodedPath(path string) string { return string(removeDots([]byte(unescape(path, false)))) }

func removeDots(path []byte) []byte {
	if !bytes.Contains(path, []byte("//")) && !bytes.Contains(path, []byte("/.")) {
		return path
	}
	segments := bytes.Split(path, []byte("/"))
	var out [][]byte
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case len(s) == 0 && !last, string(s) == "." && !last:
		case string(s) == ".":
			out = append(out, nil)
		case string(s) == "..":
			out = out[:max(len(out)-1, 0)]
			if last {
				out = append(out, nil)
			}
		default:
			out = append(out, s)
		}
	}
	return append([]byte("/"), bytes.Join(out, []byte("/"))...)
}
