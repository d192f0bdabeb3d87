package record

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kafka-upstream/internal/record/media"
	"kafka-upstream/internal/request"
)

// maxTopics is how many topics a request may name.
const maxTopics = 100

// What of the topics that are not allowed goes into the log.
const (
	maxNamed     = 10
	maxTopicName = 249 // Kafka's own limit, in bytes
)

var (
	errTopicPart     error = &BadRequest{Reason: "the request lacks a part of its topic"}
	errTooManyTopics error = &BadRequest{Reason: "too many topics"}
)

// topics says which topics the records of a request go to.
type topics struct {
	fixed    []string // the topic, if it is no template
	template []part   // of the topic, with constants between its placeholders
	arg      string   // the query argument that names topics; "": none
	allowed  map[string]string
}

func newTopics(o *Options) (*topics, error) {
	t := &topics{fixed: []string{o.Topic}, arg: o.TopicsQueryArg, allowed: make(map[string]string)}
	for _, topic := range o.AllowedTopics {
		t.allowed[topic] = topic
	}
	if !strings.Contains(o.Topic, "{") {
		t.allowed[o.Topic] = o.Topic
		return t, nil
	}
	t.fixed = nil
	if len(o.AllowedTopics) == 0 {
		return nil, errors.New("topic: placeholders need allowed_topics")
	}
	rest := o.Topic
	for rest != "" {
		literal, after, found := strings.Cut(rest, "{")
		if literal != "" {
			t.template = append(t.template, part{from: Constant, name: literal})
		}
		if !found {
			break
		}
		placeholder, after, closed := strings.Cut(after, "}")
		if !closed {
			return nil, fmt.Errorf("topic: the placeholder {%s is not closed", placeholder)
		}
		rest = after
		source, name, _ := strings.Cut(placeholder, ".")
		p, err := newPart(Source(source), name)
		if err == nil && (p.from == Constant || name == "") {
			err = errors.New("it must be {SOURCE.NAME}")
		}
		if err != nil {
			return nil, fmt.Errorf("topic: the placeholder {%s} cannot be used: %w. Allowed are {query_arg.NAME}, {header.NAME}, {body.NAME}, {consumer.id}, {consumer.username}, {consumer.custom_id} and {uri_capture.NAME}", placeholder, err)
		}
		t.template = append(t.template, p)
	}
	return t, nil
}

// all returns the topics that a record can have.
func (t *topics) all(o *Options) []string {
	all := slices.Clone(t.fixed)
	if t.fixed != nil && t.arg == "" {
		return all
	}
	for _, topic := range o.AllowedTopics {
		if !slices.Contains(all, topic) {
			all = append(all, topic)
		}
	}
	return all
}

func (t *topics) needs() (f request.Fields) {
	f.Query = t.arg != ""
	for i := range t.template {
		f = f.Merge(t.template[i].needs())
	}
	return f
}

// of returns the topics of r. They are good until the next call.
func (t *topics) of(s *scratch, r *request.Request, m Memory) ([]string, error) {
	if t.arg != "" {
		named, err := t.named(s, r)
		if err != nil || len(named) > 0 {
			return named, err
		}
	}
	if t.fixed != nil {
		return t.fixed, nil
	}
	s.name = s.name[:0]
	for i := range t.template {
		var ok bool
		var err error
		if s.name, ok, err = t.template[i].append(s.name, r, m); err != nil {
			return nil, err
		}
		if !ok {
			return nil, errTopicPart
		}
	}
	topic, ok := t.allowed[string(s.name)]
	if !ok {
		return nil, &TopicError{Topics: []string{cut(s.name)}}
	}
	s.topics = append(s.topics[:0], topic)
	return s.topics, nil
}

// named returns the topics that the query names, each once; none if it names none. A
// repeated argument adds to the list.
func (t *topics) named(s *scratch, r *request.Request) ([]string, error) {
	s.topics = s.topics[:0]
	var bad []string
	n, more := 0, 0
	query := r.Query
	for pairs := 0; pairs < media.MaxPairs && len(query) > 0; pairs++ {
		var name, list []byte
		name, list, _, query = media.CutPair(query)
		if len(list) == 0 || !isName(name, t.arg) {
			continue
		}
		s.name = media.AppendDecoded(s.name[:0], list)
		for list, found := s.name, true; found; {
			var topic []byte
			topic, list, found = bytes.Cut(list, comma)
			if topic = bytes.TrimSpace(topic); len(topic) == 0 {
				continue
			}
			if n++; n > maxTopics {
				return nil, errTooManyTopics
			}
			switch allowed, ok := t.allowed[string(topic)]; {
			case !ok && len(bad) < maxNamed:
				bad = append(bad, cut(topic))
			case !ok:
				more++
			case !slices.Contains(s.topics, allowed):
				s.topics = append(s.topics, allowed)
			}
		}
	}
	if more > 0 {
		bad = append(bad, fmt.Sprintf("%d more", more))
	}
	if len(bad) > 0 {
		return nil, &TopicError{Topics: bad}
	}
	return s.topics, nil
}

// cut returns the beginning of a name.
func cut(name []byte) string { return string(name[:min(len(name), maxTopicName)]) }

var comma = []byte{','}
