// Package request reads one HTTP request, as Kong tells it, into a [Request].
package request

// Request is one HTTP request, whichever door it came through. Its bytes are
// the client's own: nothing is decoded, and nothing needs to be UTF-8. They may
// lie in a buffer that is used again once the request is answered, so whoever
// keeps any of them copies them.
type Request struct {
	Method []byte
	// URI is the request target in origin form, path and query as the client
	// sent them.
	URI []byte
	// Query is the query without its "?", after what earlier plugins made of
	// it: it may differ from the query in URI.
	Query []byte
	// Headers have lower-case names. The values of a repeated header stand one
	// after another, in order of arrival.
	Headers []Header
	Body    []byte

	file []byte // what Body lies in where Kong had it in a file
}

// Header is one value of a header.
type Header struct{ Name, Value []byte }

// Header returns the first value of the header with that lower-case name, nil
// if there is none.
func (r *Request) Header(name string) []byte {
	for i := range r.Headers {
		if string(r.Headers[i].Name) == name {
			return r.Headers[i].Value
		}
	}
	return nil
}

// Reset empties r for another request, and keeps the memory that is worth it.
func (r *Request) Reset() {
	const keep = 256 << 10 // a body file's buffer above that goes
	file := r.file
	if cap(file) > keep {
		file = nil
	}
	clear(r.Headers)
	*r = Request{Headers: r.Headers[:0], file: file[:0]}
}

// Parts are the parts of a request that somebody wants.
type Parts struct {
	Method  bool
	URI     bool // and the query
	Headers bool
	Body    bool // and the headers that say what it is
}
