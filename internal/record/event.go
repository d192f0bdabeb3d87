package record

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/record/media"
	"kafka-upstream/internal/request"
)

// maxAttributes is how many attributes an event may have.
const maxAttributes = 100

// event is a CloudEvent. Its bytes are those of the request, or in a scratch.
type event struct {
	attributes []attribute // without datacontenttype
	mediaType  []byte      // the datacontenttype; nil: none
	data       []byte
	hasData    bool
}

// attribute is an attribute in its string encoding.
type attribute struct {
	name  string
	value []byte
}

func (e *event) reset() {
	clear(e.attributes)
	*e = event{attributes: e.attributes[:0]}
}

// get returns the value of an attribute, nil if there is none.
func (e *event) get(name string) []byte {
	for i := range e.attributes {
		if e.attributes[i].name == name {
			return e.attributes[i].value
		}
	}
	return nil
}

// add adds an attribute that the client has named.
func (e *event) add(name, value []byte) error {
	if len(name) == 0 || string(name) == "data" {
		return errEventName
	}
	for _, c := range name {
		if c-'a' > 'z'-'a' && c-'0' > 9 {
			return errEventName
		}
	}
	if len(e.attributes) >= maxAttributes || e.get(string(name)) != nil {
		return errEventRepeats
	}
	if !isEventText(value) {
		return errEventValue
	}
	if value == nil {
		value = []byte{}
	}
	e.attributes = append(e.attributes, attribute{attributeName(name), value})
	return nil
}

// isEventText reports whether s may be the text of an attribute: UTF-8 without control
// characters.
func isEventText(s []byte) bool {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRune(s[i:])
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError && n == 1 {
			return false
		}
		i += n
	}
	return true
}

// check checks the attributes that CloudEvents 1.0.2 knows.
func (e *event) check() error {
	if version := e.get("specversion"); version != nil && string(version) != "1.0" {
		return errEventVersion
	}
	for _, name := range [...]string{"specversion", "id", "source", "type"} {
		if len(e.get(name)) == 0 {
			return errEventNeeds
		}
	}
	for _, name := range [...]string{"subject", "dataschema", "partitionkey"} {
		if value := e.get(name); value != nil && len(value) == 0 {
			return errEventValue
		}
	}
	if t := e.get("time"); t != nil {
		if _, ok := parseRFC3339(t); !ok {
			return errEventValue
		}
	}
	return nil
}

// read reads the attributes of an event in binary mode.
func (e *event) read(s *scratch, r *request.Request) error {
	const prefix = "ce-"
	for i := range r.Headers {
		name := r.Headers[i].Name
		if len(name) < len(prefix) || string(name[:len(prefix)]) != prefix {
			continue
		}
		if name = name[len(prefix):]; string(name) == "datacontenttype" {
			return errEventName // the binding has Content-Type for it
		}
		value := appendEventText(s.element.start(), r.Headers[i].Value)
		s.element.keep(value)
		if err := e.add(name, value); err != nil {
			return err
		}
	}
	return e.check()
}

// appendEventText appends the text of a header: one in double quotes is unquoted, then it
// is percent-decoded once (HTTP protocol binding, section 3.1.3.2).
func appendEventText(dst, s []byte) []byte {
	quoted := len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"'
	from := len(dst)
	if quoted {
		s = s[1 : len(s)-1]
		for i := 0; i < len(s); i++ {
			if s[i] == '\\' && i+1 < len(s) {
				i++
			}
			dst = append(dst, s[i])
		}
	} else {
		dst = append(dst, s...)
	}
	text := dst[from:]
	n := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' && i+2 < len(text) {
			if high, low := media.Unhex[text[i+1]], media.Unhex[text[i+2]]; high|low < 16 {
				c = high<<4 | low
				i += 2
			}
		}
		text[n] = c
		n++
	}
	return dst[:from+n]
}

// parse reads an event in the JSON format.
func (e *event) parse(s *scratch, body []byte, m Memory) error {
	text, err := pointer(nil).find(body)
	if err != nil {
		return err
	}
	if text[0] != '{' {
		return errEvent
	}
	var data, data64 []byte
	c := newCursor(text, 0, MaxNesting)
	for {
		name, value, ok := c.next()
		if !ok {
			break
		}
		switch string(name) {
		case "data":
			if data != nil {
				return errEventRepeats
			}
			data = value
			continue
		case "data_base64":
			if data64 != nil {
				return errEventRepeats
			}
			data64 = value
			continue
		}
		if value[0] == 'n' {
			continue // not set
		}
		if err := e.addJSON(s, name, value); err != nil {
			return err
		}
	}
	if err := e.check(); err != nil {
		return err
	}
	return e.setData(s, data, data64, m)
}

// addJSON adds an attribute that has a value in JSON.
func (e *event) addJSON(s *scratch, name, value []byte) error {
	text, _, ok := scalar(value)
	switch {
	case !ok, value[0] != '"' && isTextAttribute(name):
		return errEventValue
	case value[0] == '"':
		if len(text) > large {
			return errEventValue
		}
		text = appendUnescaped(s.element.start(), text)
		s.element.keep(text)
	case value[0] != 't' && value[0] != 'f':
		if _, err := strconv.ParseInt(string(text), 10, 32); err != nil {
			return errEventValue
		}
	}
	if string(name) != "datacontenttype" {
		return e.add(name, text)
	}
	switch {
	case e.mediaType != nil:
		return errEventRepeats
	case len(text) == 0 || !isEventText(text):
		return errEventValue
	}
	e.mediaType = text
	return nil
}

// textAttributes are the attributes that are known to be texts.
var textAttributes = [...]string{"specversion", "id", "source", "type", "time", "subject", "dataschema", "partitionkey", "datacontenttype"}

// isTextAttribute reports whether an attribute is known to be a text.
func isTextAttribute(name []byte) bool {
	for _, known := range textAttributes {
		if string(name) == known {
			return true
		}
	}
	return false
}

// attributeName returns the name as a string, which costs nothing if it is known.
func attributeName(name []byte) string {
	for _, known := range textAttributes {
		if string(name) == known {
			return known
		}
	}
	return string(name)
}

// setData sets the data of an event in the JSON format: what its members data and
// data_base64 hold (JSON event format, section 3.1).
func (e *event) setData(s *scratch, data, data64 []byte, m Memory) error {
	if data64 != nil && data64[0] == 'n' {
		data64 = nil
	}
	e.hasData = data != nil || data64 != nil
	if n := max(len(data), len(data64)); n > large && !m.Reserve(int64(n)) {
		return memory.ErrFull
	}
	switch {
	case data != nil && data64 != nil:
		return errEvent
	case data64 != nil:
		if data64[0] != '"' {
			return errEventData
		}
		s.value = appendUnescaped(s.value[:0], data64[1:len(data64)-1])
		n, err := base64.StdEncoding.Decode(s.value, s.value)
		if err != nil {
			return errEventData
		}
		e.data = s.value[:n]
	case data != nil && e.mediaType == nil:
		e.mediaType = jsonType
		e.data = data
	case data != nil && media.IsJSON(media.Type(e.mediaType)):
		e.data = data
	case data != nil:
		if data[0] != '"' {
			return errEventData
		}
		s.value = appendUnescaped(s.value[:0], data[1:len(data)-1])
		e.data = s.value
	}
	return nil
}

// appendJSON returns the event in the JSON format, in the buffer of s. Its data is the body
// of a request.
func (e *event) appendJSON(s *scratch, r *request.Request, m Memory) ([]byte, error) {
	if n := 2 * len(e.data); n > large && !m.Reserve(int64(n)) {
		return nil, memory.ErrFull
	}
	dst := append(s.value[:0], '{')
	for i := range e.attributes {
		a := &e.attributes[i]
		dst = append(dst, '"')
		dst = append(dst, a.name...)
		dst = append(dst, `":`...)
		dst = append(appendQuoted(dst, a.value), ',')
	}
	if len(e.mediaType) > 0 {
		dst = append(dst, `"datacontenttype":`...)
		dst = append(appendQuoted(dst, e.mediaType), ',')
	}
	switch {
	case !e.hasData:
		dst = dst[:len(dst)-1]
	case media.IsJSON(media.Type(e.mediaType)):
		data, err := pointer(nil).find(e.data)
		if err != nil {
			return nil, err
		}
		dst = append(append(dst, `"data":`...), data...)
	case media.KindOf(r.Headers) != media.Binary && utf8.Valid(e.data):
		dst = appendQuoted(append(dst, `"data":`...), e.data)
	default:
		dst = append(dst, `"data_base64":"`...)
		dst = append(base64.StdEncoding.AppendEncode(dst, e.data), '"')
	}
	s.value = append(dst, '}')
	return s.value, nil
}
