package record

import (
	"fmt"
	"strings"

	"kafka-upstream/internal/request"
)

// headers says which headers of a request become headers of its records.
type headers struct {
	all      bool
	names    map[string]string // by the name in the request: the name in the record, "": the same
	excluded map[string]bool   // by the name in the request
	set      map[string]bool   // names in the record that the Builder sets itself
	events   bool              // so are those that begin with ce_
	repeated string
}

// The values of HeaderOptions.Repeated. The zero value is retainDuplicates.
const (
	retainDuplicates   = "retain_duplicates"
	concatenateByComma = "concatenate_by_comma"
	takeFirst          = "take_first"
)

// newHeaders returns nil if no header is forwarded. set are the names of headers that a
// record has anyway.
func newHeaders(o *HeaderOptions, set []string, events bool) (*headers, error) {
	switch o.Repeated {
	case "", retainDuplicates, concatenateByComma, takeFirst:
	default:
		return nil, fmt.Errorf("headers.repeated_headers_behavior: %q must be %s, %s or %s", o.Repeated, retainDuplicates, concatenateByComma, takeFirst)
	}
	if !o.Forward || !o.All && len(o.Include) == 0 {
		return nil, nil
	}
	h := &headers{all: o.All, names: make(map[string]string), excluded: make(map[string]bool), set: make(map[string]bool), events: events, repeated: o.Repeated}
	for _, name := range set {
		h.set[name] = true
	}
	if !o.All {
		for _, name := range o.Include {
			name = strings.ToLower(name)
			h.names[name] = name
		}
	}
	for from, to := range o.Names {
		from = strings.ToLower(from)
		if _, ok := h.names[from]; ok || o.All {
			h.names[from] = to
		}
	}
	if o.All {
		for _, name := range o.Exclude {
			h.excluded[strings.ToLower(name)] = true
		}
	}
	return h, nil
}

// add adds the headers of r to s.headers. Values of one name stand together, in r as there.
func (h *headers) add(s *scratch, r *request.Request) {
	first := len(s.headers)
	unnamed := 0 // bytes of names that are not known beforehand
	var previous []byte
	taken := false // was the previous header?
	for i := range r.Headers {
		name, value := r.Headers[i].Name, r.Headers[i].Value
		if taken && string(name) == string(previous) && h.repeated != "" && h.repeated != retainDuplicates {
			if h.repeated == concatenateByComma {
				last := &s.headers[len(s.headers)-1]
				last.Value = s.text.join(last.Value, value)
			}
			continue
		}
		previous = name
		key, ok := h.names[string(name)]
		if taken = (ok || h.all) && !h.excluded[string(name)] && !h.isSet(name, key); !taken {
			continue
		}
		if key == "" {
			unnamed += len(name)
		}
		s.headers = append(s.headers, Header{Key: key, Value: value})
		s.from = append(s.from, int32(i))
	}
	if unnamed > 0 {
		s.nameHeaders(r, first, unnamed)
	}
	s.from = s.from[:0]
}

// isSet reports whether the Builder sets the header itself, under that name in the record.
func (h *headers) isSet(name []byte, key string) bool {
	if key == "" {
		return h.set[string(name)] || h.events && isEventName(string(name))
	}
	return h.set[key] || h.events && isEventName(key)
}

func isEventName(key string) bool {
	return strings.HasPrefix(key, "ce_") || strings.HasPrefix(key, "ce-")
}

// nameHeaders gives the headers that have no name yet that of the request, all of them in
// one string.
func (s *scratch) nameHeaders(r *request.Request, first, size int) {
	var all strings.Builder
	all.Grow(size)
	for i, from := range s.from {
		if s.headers[first+i].Key == "" {
			all.Write(r.Headers[from].Name)
		}
	}
	names := all.String()
	for i, from := range s.from {
		if h := &s.headers[first+i]; h.Key == "" {
			n := len(r.Headers[from].Name)
			h.Key, names = names[:n], names[n:]
		}
	}
}
