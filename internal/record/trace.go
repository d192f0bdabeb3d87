package record

import (
	"crypto/rand"
	"encoding/hex"

	"kafka-upstream/internal/record/media"
	"kafka-upstream/internal/request"
)

// Headers of W3C Trace Context, level 1, and of W3C Baggage.
const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
	baggage     = "baggage"
)

// addTrace adds the trace context of r to s.headers. The Builder is no part of the trace: it
// passes the context on, and makes no span. A traceparent that is absent, repeated or not
// valid is replaced by a new one, and the tracestate is then left out (section 4.2).
func (s *scratch) addTrace(r *request.Request) {
	var parent, state, bag []byte
	parents := 0
	for i := range r.Headers {
		value := r.Headers[i].Value
		switch string(r.Headers[i].Name) {
		case traceparent:
			parent = value
			parents++
		case tracestate:
			state = s.joinValues(state, value)
		case baggage:
			bag = s.joinValues(bag, value)
		}
	}
	text := s.text.start()
	switch version := traceVersion(parent); {
	case parents != 1 || version < 0:
		text = appendNewTrace(text)
		state = nil
	case version == 0:
		text = append(text, parent...)
	default: // what this version knows of it, as that version (section 3.2.4)
		text = append(text, "00"...)
		text = append(text, parent[2:53]...)
		text = append(text, '0', '0'+media.Unhex[parent[54]]&1)
	}
	s.text.keep(text)
	s.headers = append(s.headers, Header{traceparent, text})
	if len(state) > 0 {
		s.headers = append(s.headers, Header{tracestate, state})
	}
	if len(bag) > 0 {
		s.headers = append(s.headers, Header{baggage, bag})
	}
}

// joinValues returns the list of both values (RFC 9110, section 5.3).
func (s *scratch) joinValues(x, y []byte) []byte {
	switch {
	case len(x) == 0:
		return y
	case len(y) == 0:
		return x
	}
	return s.text.join(x, y)
}

// traceVersion returns the version of a traceparent, -1 if it is not valid.
func traceVersion(s []byte) int {
	// version-traceid-parentid-flags, in lower-case hex
	const length = 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(s) < length || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return -1
	}
	if !isLowerHex(s[:2]) || !isID(s[3:35]) || !isID(s[36:52]) || !isLowerHex(s[53:55]) {
		return -1
	}
	version := int(media.Unhex[s[0]])<<4 | int(media.Unhex[s[1]])
	if version == 0xff || len(s) > length && (version == 0 || s[length] != '-') {
		return -1
	}
	return version
}

func isLowerHex(s []byte) bool {
	for _, c := range s {
		if c-'0' > 9 && c-'a' > 5 {
			return false
		}
	}
	return true
}

// isID reports whether s is in lower-case hex, and not all zeros.
func isID(s []byte) bool {
	for _, c := range s {
		if c != '0' {
			return isLowerHex(s)
		}
	}
	return false
}

// appendNewTrace appends the traceparent of a trace that begins here. It is not marked as
// sampled: nobody has recorded anything of it.
func appendNewTrace(dst []byte) []byte {
	var id [16 + 8]byte
	rand.Read(id[:]) // never fails
	id[15] |= 1      // no id is all zeros
	id[23] |= 1
	dst = append(dst, "00-"...)
	dst = hex.AppendEncode(dst, id[:16])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, id[16:])
	return append(dst, "-00"...)
}
