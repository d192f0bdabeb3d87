package kongpdk

import "bytes"

// A variable of nginx can replace three calls, for the method, the target and the query. The
// operator names it.
//
// nginx's own is $request, the request line as the client has sent it. It is right unless a
// plugin before this one has changed the method or the query, or nginx does not take the line
// literally.
//
// A variable that kong.conf defines (docs/configuration.md) is always right: it holds
// "$request_method $request_uri\n$args", as these are at the time of the call, and as Kong's
// own calls return them. nginx rejects a target with a line feed in it.

// parseVariable splits the value of either variable. It reports false if the parts may differ
// from what Kong's own calls return.
func parseVariable(value []byte) (method, target, query []byte, certain bool) {
	if head, query, ok := bytes.Cut(value, []byte("\n")); ok {
		method, target, certain = bytes.Cut(head, []byte(" "))
		return method, target, query, certain && len(method) > 0
	}
	return parseLine(value)
}

// parseLine splits a request line, such as "GET /a?b=c HTTP/1.1".
func parseLine(line []byte) (method, target, query []byte, certain bool) {
	method, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || !isMethod(method) {
		return nil, nil, nil, false
	}
	target, version, ok := bytes.Cut(rest, []byte(" "))
	if !ok || !isVersion(version) {
		return nil, nil, nil, false // a blank in the target, or HTTP/0.9
	}
	if len(target) == 0 || target[0] != '/' || bytes.IndexByte(target, '#') >= 0 {
		return nil, nil, nil, false // in absolute form, or with a fragment
	}
	_, query, _ = bytes.Cut(target, []byte("?"))
	return method, target, query, true
}

// isMethod reports whether b is a method that nginx accepts: capital letters, "_" and "-".
func isMethod(b []byte) bool {
	for _, c := range b {
		if (c < 'A' || c > 'Z') && c != '_' && c != '-' {
			return false
		}
	}
	return len(b) > 0
}

func isVersion(b []byte) bool {
	switch string(b) {
	case "HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3.0":
		return true
	}
	return false
}
