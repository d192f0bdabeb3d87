package config

import (
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

// Record returns what the records of the configuration are made of.
func (c *Config) Record() record.Options {
	maxBody := c.BytesPerRequest - producer.Overhead
	return record.Options{
		Topic:          c.Topic,
		TopicsQueryArg: c.TopicsQueryArg,
		AllowedTopics:  c.AllowedTopics,
		Key:            c.key(),
		Forward: request.Fields{
			Method: c.ForwardMethod, URI: c.ForwardURI, Headers: c.ForwardHeaders, Body: c.ForwardBody,
			MaxBody: maxBody,
		},
		ExcludeHeaders: c.ExcludeHeaders,
		Headers: record.HeaderOptions{
			Forward: c.Headers.Forward, All: c.Headers.All, Include: c.Headers.Include, Exclude: c.Headers.Exclude,
			Names: c.Headers.Names, Repeated: c.Headers.Repeated,
		},
		BodyValue:         c.ValueFormat == bodyValue,
		Tombstones:        c.Tombstones,
		Split:             record.Split(c.Split),
		SplitLimit:        c.SplitLimit,
		TraceHeaders:      c.TraceHeaders,
		TimestampHeader:   c.TimestampHeader,
		CloudEvents:       record.CloudEvents(c.CloudEvents),
		CloudEventsSource: c.CloudEventsSource,
		CloudEventsType:   c.CloudEventsType,
		MaxValue:          maxBody,
	}
}

// bodyValue is the value_format of records whose value is the body.
const bodyValue = "body"

// hasMessage reports whether the value of a record is a message, of which forward_* says what
// it contains.
func (c *Config) hasMessage() bool {
	return c.ValueFormat != bodyValue && record.CloudEvents(c.CloudEvents) == record.CloudEventsOff
}

// key returns what keys are made of: key_query_arg is a key of one part.
func (c *Config) key() record.KeyOptions {
	if c.KeyQueryArg != "" {
		return record.KeyOptions{Parts: []record.KeyPart{{From: record.FromQuery, Name: c.KeyQueryArg}}}
	}
	k := record.KeyOptions{Separator: c.RecordKey.Separator, Required: c.RecordKey.Required}
	for _, part := range c.RecordKey.Parts {
		k.Parts = append(k.Parts, record.KeyPart{From: record.Source(part.From), Name: part.Name})
	}
	return k
}
