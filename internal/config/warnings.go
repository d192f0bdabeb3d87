package config

import (
	"slices"
	"strings"
)

// credentials are the headers that often have secrets, by which a consumer of the topic could
// pass for the client.
var credentials = []string{"authorization", "cookie", "proxy-authorization", "apikey"}

// Warnings returns what is valid and probably not meant, in sentences for the log.
func (c *Config) Warnings() []string {
	var all []string
	if c.ForwardHeaders && c.hasMessage() {
		if names := forwarded(c.ExcludeHeaders); names != "" {
			all = append(all, "messages may contain the headers "+names+", which consumers of the topic can read: add them to exclude_headers")
		}
	}
	if c.Headers.Forward && c.Headers.All {
		if names := forwarded(c.Headers.Exclude); names != "" {
			all = append(all, "records may have the headers "+names+", which consumers of the topic can read: add them to headers.exclude_headers")
		}
	}
	if c.TopicsQueryArg != "" && len(c.AllowedTopics) == 0 {
		all = append(all, "topics_query_arg has no effect without allowed_topics: add the topics that requests may name to it")
	}
	if c.Durable && c.Acks == 0 {
		all = append(all, "producer_async_durable keeps records on disk only until they are sent, because producer_request_acks is 0: set it to 1 or -1, so that brokers acknowledge them first")
	}
	if a := &c.Authentication; a.Mechanism != "" && a.Strategy == "" {
		all = append(all, "authentication.mechanism is used although authentication.strategy is not set: set it to sasl, or remove the mechanism")
	}
	return all
}

// forwarded returns the credentials that are not excluded, separated by commas.
func forwarded(excluded []string) string {
	var names []string
	for _, name := range credentials {
		if !slices.ContainsFunc(excluded, func(e string) bool { return strings.EqualFold(e, name) }) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
