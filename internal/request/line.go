package request

import "bytes"

// The request line, which is one ask, says what is three: the method, the target
// and the query in it. They are the same unless a plugin before this one has
// changed the method or the query, which nobody can tell from the line; and
// unless the line is one of those that nginx reads with some thought.

// parseLine takes a request line, such as "GET /a?b=c HTTP/1.1", apart. It reports
// false where the parts may differ from what Kong would have said of each.
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

// isMethod reports whether b is a method as nginx has them: capital letters, "_"
// and "-".
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
