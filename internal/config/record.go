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
		Topic: c.Topic,
		Forward: request.Fields{
			Method: c.ForwardMethod, URI: c.ForwardURI, Headers: c.ForwardHeaders, Body: c.ForwardBody,
			MaxBody: maxBody,
		},
		MaxValue: maxBody,
	}
}
