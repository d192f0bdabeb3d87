package record

import "kafka-upstream/internal/request"

// Options say what the records of one configuration are made of. Names are those of
// docs/configuration.md.
type Options struct {
	// Topic is the topic, or a template of it with placeholders such as
	// {uri_capture.region}, which is checked against AllowedTopics.
	Topic          string
	TopicsQueryArg string // "": none
	AllowedTopics  []string

	Key KeyOptions

	Forward        request.Fields // what the message has of the request, and the largest body
	ExcludeHeaders []string       // from the message; not case-sensitive. It is for who makes the Encoder

	Headers HeaderOptions

	BodyValue  bool // the value is the request's body, without a message around it
	Tombstones bool // with BodyValue: no body is a null value

	Split      Split
	SplitLimit int // in records

	TraceHeaders    bool
	TimestampHeader string // "": the time of the request

	CloudEvents       CloudEvents
	CloudEventsSource string
	CloudEventsType   string

	// The serializers of values and of keys; nil: they stay as they are.
	ValueSerializer, KeySerializer Serializer

	MaxValue int // in bytes; a request whose value would surely be larger is rejected
}

// KeyOptions say what the keys of records are made of.
type KeyOptions struct {
	Parts     []KeyPart // none: no key
	Separator string    // between several parts
	Required  bool      // reject a request that lacks a part; otherwise its records have no key
}

// KeyPart is a part of a key.
type KeyPart struct {
	From Source
	// Name says which: of the argument or header, a JSON pointer (RFC 6901) or the name of
	// a form field for FromBody, a field of the consumer, the name or number of a capture,
	// or the text of a Constant.
	Name string
}

// Source is where a part of a key or of a topic comes from, by its name in the
// configuration.
type Source string

// The sources.
const (
	FromQuery      Source = "query_arg"
	FromHeader     Source = "header"
	FromBody       Source = "body"
	FromConsumer   Source = "consumer"
	FromURICapture Source = "uri_capture"
	Constant       Source = "constant"
)

// HeaderOptions say which headers of the request become headers of its records. The zero
// value is none.
type HeaderOptions struct {
	Forward  bool              // the main switch
	All      bool              // all but Exclude; otherwise those in Include
	Include  []string          // not case-sensitive, as Exclude is
	Exclude  []string          //
	Names    map[string]string // the name of the record's header for a name of the request's
	Repeated string            // retain_duplicates, concatenate_by_comma or take_first
}

// Split says how a body becomes several records, by its name in the configuration.
type Split string

// The ways to split a body. The zero value is SplitNone.
const (
	SplitNone   Split = "none"
	SplitArray  Split = "json_array"
	SplitNDJSON Split = "ndjson"
)

// CloudEvents is the content mode of events, by its name in the configuration.
type CloudEvents string

// The content modes of the CloudEvents Kafka protocol binding 1.0.2. The zero value is
// CloudEventsOff.
const (
	CloudEventsOff        CloudEvents = "off"
	CloudEventsBinary     CloudEvents = "binary"
	CloudEventsStructured CloudEvents = "structured"
)
