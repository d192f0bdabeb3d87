package companion

import (
	"encoding/binary"

	"kafka-upstream/internal/request"
)

// A request's payload begins with eight numbers (uint32): its id, the number of its
// configuration, the lengths of the method, the URI, the query, the facts and the body, and
// how many headers there are. Each header's two lengths (uint32) follow. Then come the bytes:
// method, URI, query, the headers' names and values, facts, body.
const requestSize = 8 * 4

// requestID is what must be known of a request to answer it, and where its parts are.
type requestID struct{ id, config uint32 }

func parseRequestID(b []byte) requestID {
	return requestID{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])}
}

// frameRequest is a request as its frame has it.
type frameRequest struct {
	flags uint8
	facts []byte
	body  []byte // what flags say that it is
}

// parseRequest fills r, which must be new or reset, from a payload, whose bytes it refers to.
// The facts and the body are in the result.
func parseRequest(payload []byte, flags uint8, r *request.Request) (f frameRequest, err error) {
	p := reader{b: payload}
	p.bytes(8) // its id
	var lengths [5]int
	for i := range lengths {
		lengths[i] = int(p.uint32())
	}
	headers := int(p.uint32())
	if headers > len(p.b)/8 {
		return f, p.fail("request")
	}
	table := p.bytes(8 * headers)
	r.Method, r.URI, r.Query = p.bytes(lengths[0]), p.bytes(lengths[1]), p.bytes(lengths[2])
	for ; len(table) >= 8; table = table[8:] {
		name := p.bytes(int(binary.LittleEndian.Uint32(table)))
		value := p.bytes(int(binary.LittleEndian.Uint32(table[4:])))
		r.Headers = append(r.Headers, request.Header{Name: name, Value: value})
	}
	f = frameRequest{flags, p.bytes(lengths[3]), p.bytes(lengths[4])}
	return f, p.err("request")
}

// fail returns the error of a payload that is not read on.
func (r *reader) fail(what string) error {
	r.failed = true
	return r.err(what)
}
