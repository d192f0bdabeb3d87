package record

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/record/media"
	"kafka-upstream/internal/request"
)

var (
	consumerFact = request.Fact{Call: request.CallConsumer}
	capturesFact = request.Fact{Call: request.CallURICaptures}
)

// part is a KeyPart, or a placeholder of a topic, made ready for use.
type part struct {
	from    Source
	name    string  // of a header: in lower case
	pointer pointer // into a JSON body
	capture int     // the number of a group, from one on; 0: it has a name
}

func newPart(from Source, name string) (part, error) {
	p := part{from: from, name: name}
	var err error
	switch from {
	case Constant:
		return p, nil
	case FromBody:
		p.pointer, err = newPointer(name)
		return p, err
	case FromQuery, FromHeader, FromConsumer, FromURICapture:
	default:
		return p, fmt.Errorf("there is no source %q: use %s, %s, %s, %s, %s or %s", from, FromQuery, FromHeader, FromBody, FromConsumer, FromURICapture, Constant)
	}
	if name == "" {
		return p, fmt.Errorf("%s needs a name", from)
	}
	switch from {
	case FromHeader:
		p.name = strings.ToLower(name)
	case FromConsumer:
		if !slices.Contains([]string{"id", "username", "custom_id"}, name) {
			return p, fmt.Errorf("a consumer has no %q: use id, username or custom_id", name)
		}
	case FromURICapture:
		if n, err := strconv.Atoi(name); err == nil {
			if n < 1 {
				return p, errors.New("the captures of a URI are numbered from 1")
			}
			p.capture = n
		}
	}
	return p, nil
}

// needs returns what append reads of a request.
func (p *part) needs() (f request.Fields) {
	switch p.from {
	case FromQuery:
		f.Query = true
	case FromHeader:
		f.Headers = true
	case FromBody:
		f.Body = true
	case FromConsumer:
		f.Facts = []request.Fact{consumerFact}
	case FromURICapture:
		f.Facts = []request.Fact{capturesFact}
	}
	return f
}

// append appends the value that r has. It is not ok if r has none. The error is that of a
// body that is not JSON, or [memory.ErrFull].
func (p *part) append(dst []byte, r *request.Request, m Memory) (_ []byte, ok bool, err error) {
	switch p.from {
	case FromQuery:
		value, ok := queryArg(r.Query, p.name)
		if !ok {
			return dst, false, nil
		}
		return media.AppendDecoded(dst, value), true, nil
	case FromHeader:
		value, ok := header(r, p.name)
		return append(dst, value...), ok, nil
	case FromBody:
		return p.appendOfBody(dst, r, m)
	case FromConsumer:
		consumer, _ := r.Fact(consumerFact).(map[string]any)
		return appendText(dst, consumer[p.name])
	case FromURICapture:
		captures, _ := r.Fact(capturesFact).(map[string]any)
		if p.capture == 0 {
			named, _ := captures["named"].(map[string]any)
			return appendText(dst, named[p.name])
		}
		unnamed, _ := captures["unnamed"].([]any)
		if p.capture > len(unnamed) {
			return dst, false, nil
		}
		return appendText(dst, unnamed[p.capture-1])
	}
	return append(dst, p.name...), true, nil
}

// appendText appends a fact that is a text.
func appendText(dst []byte, fact any) ([]byte, bool, error) {
	text, ok := fact.(string)
	return append(dst, text...), ok, nil
}

// appendOfBody appends a value of a JSON body, or a field of a form.
func (p *part) appendOfBody(dst []byte, r *request.Request, m Memory) (_ []byte, ok bool, err error) {
	contentType, coded := media.Of(r.Headers)
	if coded || len(r.Body) == 0 {
		return dst, false, nil
	}
	var text []byte
	var escaped bool
	unescape := appendUnescaped
	switch t := media.Type(contentType); {
	case media.IsJSON(t):
		value, err := p.pointer.find(r.Body)
		if err != nil {
			return dst, false, err
		}
		text, escaped, ok = scalar(value)
	case media.EqualFold(t, "application/x-www-form-urlencoded"):
		text, ok = queryArg(r.Body, p.name)
		escaped, unescape = media.Encoded(text), media.AppendDecoded
	case media.EqualFold(t, "multipart/form-data"):
		text, ok = formPart(r.Body, contentType, p.name)
	}
	if !ok {
		return dst, false, nil
	}
	if len(text) > large && !m.Reserve(int64(2*len(text))) { // dst grows by less
		return dst, false, memory.ErrFull
	}
	if escaped {
		return unescape(dst, text), true, nil
	}
	return append(dst, text...), true, nil
}

// queryArg returns the first value of an argument, still encoded. It is not ok if the query
// does not have the argument, or has it without "=" first.
func queryArg(query []byte, arg string) (value []byte, ok bool) {
	for n := 0; n < media.MaxPairs && len(query) > 0; n++ {
		var name []byte
		var hasValue bool
		name, value, hasValue, query = media.CutPair(query)
		if isName(name, arg) {
			return value, hasValue
		}
	}
	return nil, false
}

// isName reports whether a name is text once it is decoded.
func isName(name []byte, text string) bool {
	if !media.Encoded(name) {
		return string(name) == text
	}
	if len(name) > 3*len(text) {
		return false
	}
	var buffer [64]byte
	return string(media.AppendDecoded(buffer[:0], name)) == text
}

// header returns the first value of a header, by its lower-case name.
func header(r *request.Request, name string) (value []byte, ok bool) {
	for i := range r.Headers {
		if string(r.Headers[i].Name) == name {
			return r.Headers[i].Value, true
		}
	}
	return nil, false
}

// formPart returns the content of the first part of a multipart body with that name.
func formPart(body, contentType []byte, want string) (content []byte, ok bool) {
	boundary := media.Boundary(contentType)
	if boundary == nil {
		return nil, false
	}
	var parts media.Parts
	if !parts.Start(body, media.AppendDelimiter(nil, boundary)) {
		return nil, false
	}
	for n := 0; n < media.MaxPairs && !parts.Closed(); n++ {
		name, content, ok := parts.Next()
		if !ok {
			return nil, false
		}
		if string(name) == want {
			return content, true
		}
	}
	return nil, false
}
