// Package request has the one form in which every door hands over an HTTP request.
package request

import "errors"

// Request is one HTTP request. Its bytes are the client's own: nothing is decoded, and
// nothing needs to be UTF-8. They may lie in a buffer that is used again once the request
// is answered, so what is kept for longer has to be copied.
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
	// Facts has the values of [Fields.Facts], in their order.
	Facts []FactValue
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

// Reset empties r for another request. It keeps the memory of the lists of headers
// and facts.
func (r *Request) Reset() {
	clear(r.Headers)
	clear(r.Facts)
	*r = Request{Headers: r.Headers[:0], Facts: r.Facts[:0]}
}

// Fields says which fields of a request are wanted.
type Fields struct {
	Method  bool
	URI     bool // and the query
	Query   bool // the query alone
	Headers bool
	Body    bool   // and the headers that say what it is
	Facts   []Fact // without duplicates, each a KnownFact

	// MaxBody is the largest body that is wanted, in bytes. A door refuses a larger one
	// with ErrTooLarge.
	MaxBody int
}

// ErrTooLarge is the error of a body above the limit. No more of it than the limit was
// read into memory.
var ErrTooLarge = errors.New("request body above the limit")

// BodyError is the error of a body that cannot be read. Reason says for the operator why,
// and what to do.
type BodyError struct{ Reason string }

func (e *BodyError) Error() string { return e.Reason }
