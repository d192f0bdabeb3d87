package record

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"kafka-upstream/internal/request"
)

// Builder makes the records of the requests of one configuration. It is read-only once in
// use. Many goroutines use it at once.
type Builder struct {
	o          Options
	plain      bool        // a request is one record, with nothing but a topic, a message and a time
	transforms []Transform // in their order
	encoder    Encoder
	topics     *topics
	key        key
	headers    *headers // nil: none
	events     *events  // nil: records are no CloudEvents
	needs      request.Fields
}

// NewBuilder returns a Builder that makes values by e, after the transforms, in their order.
// The error says which option cannot be used, and why.
func NewBuilder(o Options, e Encoder, transforms ...Transform) (*Builder, error) {
	o.TimestampHeader = strings.ToLower(o.TimestampHeader)
	b := &Builder{o: o, encoder: e, transforms: transforms}
	var err error
	if b.topics, err = newTopics(&o); err != nil {
		return nil, err
	}
	if b.key, err = newKey(&o.Key); err != nil {
		return nil, err
	}
	if b.events, err = newEvents(&o); err != nil {
		return nil, err
	}
	var set []string // headers that records have anyway
	if b.hasContentType() {
		set = append(set, contentType, contentEncoding)
	}
	if o.TraceHeaders {
		set = append(set, traceparent, tracestate, baggage)
	}
	if b.headers, err = newHeaders(&o.Headers, set, b.events != nil); err != nil {
		return nil, err
	}
	switch o.Split {
	case "", SplitNone, SplitArray, SplitNDJSON:
	default:
		return nil, fmt.Errorf("split: %q must be %s, %s or %s", o.Split, SplitNone, SplitArray, SplitNDJSON)
	}
	if len(transforms) > 0 && (o.BodyValue || b.events != nil) {
		return nil, errors.New("message_by_lua_functions change the message: they cannot be used with value_format: body, or with cloudevents")
	}
	if b.serializes() && b.events != nil {
		return nil, errors.New("schema_registry encodes messages: it cannot be used with cloudevents")
	}
	b.plain = b.topics.fixed != nil && b.topics.arg == "" && len(b.key.parts) == 0 && b.headers == nil && b.events == nil &&
		!o.BodyValue && !b.splits() && !o.TraceHeaders && o.TimestampHeader == "" && len(transforms) == 0 &&
		!b.serializes()
	b.needs = b.allNeeds()
	return b, nil
}

// hasContentType reports whether records say what their values are: bodies as they are.
func (b *Builder) hasContentType() bool {
	return b.o.BodyValue && b.o.ValueSerializer == nil || b.events != nil
}

func (b *Builder) serializes() bool { return b.o.ValueSerializer != nil || b.o.KeySerializer != nil }

func (b *Builder) splits() bool { return b.o.Split != "" && b.o.Split != SplitNone }

func (b *Builder) allNeeds() request.Fields {
	o := &b.o
	f := request.Fields{MaxBody: o.Forward.MaxBody}
	switch {
	case b.events != nil:
		f = f.Merge(b.events.needs())
	case o.BodyValue:
		f.Body = true
	default:
		f = f.Merge(o.Forward)
	}
	f.Body = f.Body || b.splits()
	f.Headers = f.Headers || b.headers != nil || o.TraceHeaders || o.TimestampHeader != ""
	return f.Merge(b.topics.needs()).Merge(b.key.needs())
}

// Needs returns what Append reads of a request.
func (b *Builder) Needs() request.Fields { return b.needs }

// Topics returns all topics that a record can have.
func (b *Builder) Topics() []string { return b.topics.all(&b.o) }

// Memory is the memory limit for the values of large requests.
type Memory interface {
	// Reserve takes n bytes of the limit, and reports false if fewer are free. If there is a
	// method WillBlock as well, it is [Draft.Block].
	Reserve(n int64) bool
}

// maxRecords is how many records a request may become, over all of its topics: the largest
// split_limit. It bounds what a small request can cost.
const maxRecords = 10_000

// maxLog is how many lines a request may have for Kong's error log.
const maxLog = 100

// Append appends the records of r, which came at that time, to dst: one for each topic, of
// the request or of each element that it is split into. A record has memory of its own, of
// exactly its size, because it may wait in a buffer for long, with many others; those of
// several topics share it.
//
// The error is a [*BadRequest], a [*TopicError], [request.ErrTooLarge], [ErrTooMany],
// [memory.ErrFull], or that of a Transform, a [*TransformError]. With an error there are no
// records. No records and no error: a Transform skipped the request. The lines are what
// Transforms have for Kong's error log, with an error too.
func (b *Builder) Append(dst []Record, r *request.Request, at time.Time, m Memory) ([]Record, []LogLine, error) {
	s := scratches.Get().(*scratch)
	if !b.plain {
		defer s.freeAll()
		return b.appendAll(dst, s, r, at, m)
	}
	defer s.free()
	d := &s.draft
	*d = Draft{Record: Record{Topic: b.o.Topic, Time: at}, Request: r}
	var err error
	if d.Value, err = b.message(&s.value, d, m); err != nil {
		return dst, nil, err
	}
	return append(dst, d.Record), nil, nil
}

// appendAll is Append for any options.
func (b *Builder) appendAll(dst []Record, s *scratch, r *request.Request, at time.Time, m Memory) ([]Record, []LogLine, error) {
	first := len(dst)
	if b.o.TimestampHeader != "" {
		var err error
		if at, err = timestamp(r, b.o.TimestampHeader, at); err != nil {
			return dst, nil, err
		}
	}
	s.draft, s.time = Draft{}, at
	var err error
	if b.splits() {
		dst, err = b.appendElements(dst, s, r, m)
	} else {
		b.addHeaders(s, r)
		dst, err = b.appendOne(dst, s, r, m)
	}
	log := s.draft.Log
	if len(log) > maxLog {
		log = log[:maxLog]
	}
	if err != nil {
		return dst[:first], log, err
	}
	return dst, log, nil
}

// addHeaders adds the headers that all records of r have to s.headers.
func (b *Builder) addHeaders(s *scratch, r *request.Request) {
	if b.headers != nil {
		b.headers.add(s, r)
	}
	if b.o.TraceHeaders {
		s.addTrace(r)
	}
}

// appendOne appends the records of a request that is not split, or of one whose body is an
// element.
func (b *Builder) appendOne(dst []Record, s *scratch, r *request.Request, m Memory) ([]Record, error) {
	topics, err := b.topics.of(s, r, m)
	if err != nil {
		return dst, err
	}
	if len(dst)+len(topics) > maxRecords {
		return dst, ErrTooMany
	}
	s.element.buf = s.element.buf[:0]
	d := &s.draft
	*d = Draft{Record: Record{Topic: topics[0], Time: s.time, Headers: s.headers}, Request: r, Log: d.Log[:min(len(d.Log), maxLog)], Work: d.Work}
	if d.Key, err = b.key.of(s, r, m); err != nil {
		return dst, err
	}
	var value []byte
	owned := false // does the value have memory of its own?
	switch {
	case b.events != nil:
		value, err = b.events.value(s, d, r, m)
		if d.Key == nil && len(b.key.parts) == 0 {
			d.Key = s.event.get("partitionkey")
		}
	case b.o.BodyValue:
		value = r.Body
		if b.hasContentType() {
			s.addContent(d, r)
		}
	default:
		value, owned, err = b.transformed(s, d, m)
	}
	if err != nil || d.Skip {
		return dst, err
	}
	switch {
	case len(value) > 0:
	case b.o.Tombstones && len(b.transforms) == 0:
		value = nil
	default:
		value = []byte{}
	}
	if b.serializes() {
		if value, owned, err = b.serialized(s, d, value, owned, m); err != nil {
			return dst, err
		}
	}
	if err := b.pack(s, d, value, owned, m); err != nil {
		return dst, err
	}
	for _, topic := range topics {
		d.Topic = topic
		dst = append(dst, d.Record)
	}
	return dst, nil
}
