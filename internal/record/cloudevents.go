package record

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"kafka-upstream/internal/record/media"
	"kafka-upstream/internal/request"
)

// defaultEventType is the type of an event that neither the request nor the configuration
// gives one.
const defaultEventType = "http.request"

// Errors of requests that claim to be an event, or several.
var (
	errEvent        error = &BadRequest{Reason: "invalid cloudevent"}
	errEventVersion error = &BadRequest{Reason: "the specversion of the cloudevent is not 1.0"}
	errEventNeeds   error = &BadRequest{Reason: "the cloudevent lacks id, source or type"}
	errEventName    error = &BadRequest{Reason: "the cloudevent has an attribute whose name is not valid"}
	errEventValue   error = &BadRequest{Reason: "the cloudevent has an attribute whose value is not valid"}
	errEventRepeats error = &BadRequest{Reason: "the cloudevent has too many attributes, or one of them twice"}
	errEventData    error = &BadRequest{Reason: "the data of the cloudevent is not what its content type says"}
	errEventFormat  error = &BadRequest{Reason: "cloudevents are accepted in binary mode, or as json"}
	errEventBatch   error = &BadRequest{Reason: "batched cloudevents are not accepted"}
	errEventCoded   error = &BadRequest{Reason: "a cloudevent with a content encoding is not accepted"}
)

// events makes records CloudEvents, by the Kafka protocol binding 1.0.2. Requests that are
// events, by the HTTP protocol binding 1.0.2, keep their attributes; others get some. The
// data is the body of the request.
type events struct {
	structured bool
	source     string // "": the path of the request
	kind       string // the type
}

func newEvents(o *Options) (*events, error) {
	e := &events{structured: o.CloudEvents == CloudEventsStructured, source: o.CloudEventsSource, kind: o.CloudEventsType}
	switch o.CloudEvents {
	case "", CloudEventsOff:
		return nil, nil
	case CloudEventsBinary, CloudEventsStructured:
	default:
		return nil, fmt.Errorf("cloudevents: %q must be %s, %s or %s", o.CloudEvents, CloudEventsOff, CloudEventsBinary, CloudEventsStructured)
	}
	if e.kind == "" {
		e.kind = defaultEventType
	}
	return e, nil
}

func (e *events) needs() request.Fields {
	return request.Fields{Headers: true, Body: true, URI: e.source == ""}
}

// eventMode is the content mode of a request, by the HTTP protocol binding.
type eventMode uint8

const (
	noEvent eventMode = iota
	binaryEvent
	structuredEvent
	batchedEvents
)

// modeOf returns the mode of r. A request is an event in binary mode if it has any of the
// attributes that an event must have.
func modeOf(r *request.Request) (eventMode, error) {
	mediaType, coded := media.Of(r.Headers)
	t := media.Type(mediaType)
	const prefix = "application/cloudevents"
	switch {
	case media.EqualFold(t, "application/cloudevents+json") && !coded:
		return structuredEvent, nil
	case media.EqualFold(t, "application/cloudevents-batch+json") && !coded:
		return batchedEvents, nil
	case len(t) >= len(prefix) && media.EqualFold(t[:len(prefix)], prefix):
		if coded {
			return noEvent, errEventCoded
		}
		return noEvent, errEventFormat
	}
	for i := range r.Headers {
		switch string(r.Headers[i].Name) {
		case "ce-id", "ce-source", "ce-type", "ce-specversion":
			return binaryEvent, nil
		}
	}
	return noEvent, nil
}

// value returns the value of an event, and adds its headers to the draft. s.event has the
// attributes until the next call.
func (e *events) value(s *scratch, d *Draft, r *request.Request, m Memory) ([]byte, error) {
	ev := &s.event
	ev.reset()
	mode, err := modeOf(r)
	if err != nil {
		return nil, err
	}
	coded := false
	switch mode {
	case batchedEvents:
		return nil, errEventBatch
	case structuredEvent:
		if err := ev.parse(s, r.Body, m); err != nil {
			return nil, err
		}
		if e.structured {
			s.addStructuredType(d)
			return r.Body, nil
		}
	default:
		ev.mediaType, coded = media.Of(r.Headers)
		if !isEventText(ev.mediaType) {
			return nil, errEventValue
		}
		ev.data, ev.hasData = r.Body, len(r.Body) > 0
		if mode == noEvent {
			e.make(s, d, r)
		} else if err := ev.read(s, r); err != nil {
			return nil, err
		}
		if e.structured {
			if coded {
				return nil, errEventCoded
			}
			s.addStructuredType(d)
			return ev.appendJSON(s, r, m)
		}
	}
	d.Headers = appendContent(d.Headers, r, ev.mediaType, coded)
	for i := range ev.attributes {
		a := &ev.attributes[i]
		d.Headers = append(d.Headers, Header{eventHeader(a.name), a.value})
	}
	s.headers = d.Headers[:len(s.headers)] // it may have grown
	return ev.data, nil
}

func (s *scratch) addStructuredType(d *Draft) {
	d.Headers = append(d.Headers, Header{contentType, structuredType})
	s.headers = d.Headers[:len(s.headers)] // it may have grown
}

var structuredType = []byte("application/cloudevents+json; charset=UTF-8")

// eventHeader returns the name of the header for an attribute.
func eventHeader(attribute string) string {
	switch attribute {
	case "specversion":
		return "ce_specversion"
	case "id":
		return "ce_id"
	case "source":
		return "ce_source"
	case "type":
		return "ce_type"
	case "time":
		return "ce_time"
	case "subject":
		return "ce_subject"
	}
	return "ce_" + attribute
}

// make gives an event the attributes that it must have, and the time.
func (e *events) make(s *scratch, d *Draft, r *request.Request) {
	add := func(name string, value []byte) {
		s.element.keep(value)
		s.event.attributes = append(s.event.attributes, attribute{name, value})
	}
	add("specversion", append(s.element.start(), "1.0"...))
	add("id", appendUUID(s.element.start()))
	if e.source != "" {
		add("source", append(s.element.start(), e.source...))
	} else {
		add("source", appendPath(s.element.start(), r.URI))
	}
	add("type", append(s.element.start(), e.kind...))
	at := d.Time
	if at.IsZero() {
		at = time.Now()
	}
	add("time", at.UTC().AppendFormat(s.element.start(), "2006-01-02T15:04:05.000Z"))
}

// appendUUID appends a random UUID (RFC 9562, version 4).
func appendUUID(dst []byte) []byte {
	var id [16]byte
	rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	for i, n := range [...]int{4, 6, 8, 10, 16} {
		if i > 0 {
			dst = append(dst, '-')
		}
		from := [...]int{0, 4, 6, 8, 10}[i]
		dst = hex.AppendEncode(dst, id[from:n])
	}
	return dst
}

// appendPath appends the path of a request target, with what no URI may have
// percent-encoded. An empty path is "/".
func appendPath(dst, target []byte) []byte {
	const hex = "0123456789ABCDEF"
	n := 0
	for ; n < len(target) && target[n] != '?' && target[n] != '#'; n++ {
		switch c := target[n]; {
		case c <= ' ' || c >= 0x7f, c == '"', c == '<', c == '>', c == '\\', c == '^', c == '`', c == '{', c == '|', c == '}':
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	if n == 0 {
		dst = append(dst, '/')
	}
	return dst
}
