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
