package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"kafka-upstream/internal/security/certs"
	"kafka-upstream/schema"
)

// Limits that the schema has as len_max, in bytes. A password may be a token sent with
// PLAIN, such as a JWT of several kilobytes.
const (
	maxServers     = 128
	maxUser        = 4096
	maxPassword    = 65536
	maxClusterName = 1024
)

// Validate reports everything that keeps the configuration from being used, in
// sentences joined by "; ". Kong has checked most of it by the schema before;
// what it cannot know is checked here: that a forward_* flag is true, that
// references to a vault could be resolved (an unresolved one arrives empty) into
// something of bounded length, and whatever a Kong that was given an older schema
// let pass. Texts of the configuration are quoted and cut, secrets are not shown.
func (c *Config) Validate() error {
	var errs problems
	if len(c.BootstrapServers) == 0 {
		errs.add("bootstrap_servers is empty: name at least one broker")
	}
	if n := len(c.BootstrapServers); n > maxServers {
		errs.add("bootstrap_servers has %d elements: it may have %d, and one that answers is enough", n, maxServers)
	}
	for _, s := range c.BootstrapServers[:min(len(c.BootstrapServers), maxServers)] {
		if s.Host == "" {
			errs.add("bootstrap_servers has an element without a host")
		} else if problem := hostProblem(s.Host); problem != "" {
			errs.add("bootstrap_servers host %s %s", shown(s.Host), problem)
		}
		if s.Port < 1 || s.Port > 65535 {
			errs.add("bootstrap_servers has port %d: it must be between 1 and 65535", s.Port)
		}
	}
	if c.Topic == "" {
		errs.add("topic is empty")
	} else if problem := topicProblem(c.Topic); problem != "" {
		errs.add("topic %s %s", shown(c.Topic), problem)
	}
	if n := len(c.ClusterName); n > maxClusterName {
		errs.add("cluster_name has %d bytes: it may have %d", n, maxClusterName)
	}
	if !c.ForwardMethod && !c.ForwardURI && !c.ForwardHeaders && !c.ForwardBody {
		errs.add("at least one of forward_method, forward_uri, forward_headers and forward_body must be true")
	}
	c.Authentication.validate(&errs)
	if id := c.Security.CertificateID; id != "" {
		if !c.Security.SSL {
			errs.add("security.ssl must be true when security.certificate_id is set")
		}
		if !certs.IsID(id) {
			errs.add("security.certificate_id is not a UUID")
		}
	}
	c.limits(&errs)
	return errs.err()
}

func (a Authentication) validate(errs *problems) {
	if a.Strategy != "" && a.Strategy != "sasl" {
		errs.add("authentication.strategy must be sasl or unset")
	}
	if a.Mechanism == "" {
		if a.Strategy != "" {
			errs.add("authentication.mechanism is required when authentication.strategy is sasl")
		}
		if a.TokenAuth {
			errs.add("authentication.tokenauth is only valid with a SCRAM mechanism")
		}
		return
	}
	for _, problem := range a.credentials().Check() {
		errs.add("%s", problem)
	}
	if n := len(a.User); n > maxUser {
		errs.add("authentication.user has %d bytes: it may have %d", n, maxUser)
	}
	if n := len(a.Password); n > maxPassword {
		errs.add("authentication.password has %d bytes: it may have %d", n, maxPassword)
	}
}

// limits holds every number against the schema's between and one_of.
func (c *Config) limits(errs *problems) {
	values := map[string]int64{
		"timeout":                  int64(c.Timeout),
		"keepalive":                int64(c.Keepalive),
		"producer_request_acks":    int64(c.Acks),
		"producer_request_timeout": int64(c.RequestTimeout),
		"producer_request_limits_messages_per_request":       int64(c.MessagesPerRequest),
		"producer_request_limits_bytes_per_request":          int64(c.BytesPerRequest),
		"producer_request_retries_max_attempts":              int64(c.MaxAttempts),
		"producer_request_retries_backoff_timeout":           int64(c.Backoff),
		"producer_async_flush_timeout":                       int64(c.FlushTimeout),
		"producer_async_buffering_limits_messages_in_memory": int64(c.BufferedMessages),
		"producer_async_buffering_limits_bytes_in_memory":    c.BufferedBytes,
	}
	for _, f := range schema.Config() {
		v, ok := values[f.Name]
		if !ok {
			continue
		}
		if len(f.Between) == 2 {
			low, _ := f.Between[0].Int64()
			high, _ := f.Between[1].Int64()
			if v < low || v > high {
				errs.add("%s is %d: it must be between %d and %d", f.Name, v, low, high)
			}
		}
		if len(f.OneOf) > 0 && !oneOf(f.OneOf, v) {
			errs.add("%s is %d: it must be one of %v", f.Name, v, f.OneOf)
		}
	}
}

func oneOf(allowed []any, v int64) bool {
	for _, a := range allowed {
		if fmt.Sprint(a) == fmt.Sprint(v) {
			return true
		}
	}
	return false
}

// problems are sentences without duplicates.
type problems []string

func (p *problems) add(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(*p, s) {
		*p = append(*p, s)
	}
}

// maxProblems is how many problems an error lists.
const maxProblems = 10

func (p problems) err() error {
	switch more := len(p) - maxProblems; {
	case len(p) == 0:
		return nil
	case more > 0:
		p = append(p[:maxProblems:maxProblems], fmt.Sprintf("and %d more", more))
	}
	return errors.New(strings.Join(p, "; "))
}
