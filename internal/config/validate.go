package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"kafka-upstream/internal/record"

	"kafka-upstream/internal/kongschema"
	"kafka-upstream/internal/security/certs"
)

// Limits that the schema has as len_max, in bytes. A password may be a token sent with
// PLAIN, such as a JWT of several kilobytes.
const (
	maxServers     = 128
	maxUser        = 4096 // and all names and URLs of a login
	maxPassword    = 65536
	maxOAuthBearer = 100 // scopes, and extensions
	maxClusterName = 1024
)

// Validate reports the [Config.Problems] in one error, nil if there are none.
func (c *Config) Validate() error { return problems(c.Problems()).err() }

// Problems returns everything that keeps the configuration from being used, in
// sentences. Kong has checked most of it by the schema before;
// what it cannot know is checked here: that a forward_* flag is true, what placeholders
// of topic mean, that references to a vault could be resolved (an unresolved one arrives
// empty) into something of bounded length. Whatever a Kong that was given an older schema
// let pass is checked, too. Texts of the configuration are quoted and cut, secrets are not
// shown.
func (c *Config) Problems() []string {
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
			host := s.Host
			if i := strings.LastIndexByte(host, '@'); i >= 0 {
				host = "…" + host[i:] // a password may stand before it
			}
			errs.add("bootstrap_servers host %s %s", shown(host), problem)
		}
		if s.Port < 1 || s.Port > 65535 {
			errs.add("bootstrap_servers has port %d: it must be between 1 and 65535", s.Port)
		}
	}
	if c.Topic == "" {
		errs.add("topic is empty")
	} else if problem := templateProblem(c.Topic); problem != "" {
		errs.add("topic %s %s", shown(c.Topic), problem)
	}
	if n := len(c.ClusterName); n > maxClusterName {
		errs.add("cluster_name has %d bytes: it may have %d", n, maxClusterName)
	}
	if c.hasMessage() && !c.ForwardMethod && !c.ForwardURI && !c.ForwardHeaders && !c.ForwardBody {
		errs.add("at least one of forward_method, forward_uri, forward_headers and forward_body must be true")
	}
	c.Authentication.validate(&errs)
	if m := c.Authentication.Mechanism; !c.Security.SSL && c.Authentication.credentials().NeedsTLS() {
		errs.add("security.ssl must be true when authentication.mechanism is %s", m)
	}
	if id := c.Security.CertificateID; id != "" {
		if !c.Security.SSL {
			errs.add("security.ssl must be true when security.certificate_id is set")
		}
		if !certs.IsID(id) {
			errs.add("security.certificate_id is not a UUID")
		}
	}
	if o, ok := c.Schemas(); ok {
		for _, problem := range o.Check("schema_registry.confluent") {
			errs.add("%s", problem)
		}
		if record.CloudEvents(c.CloudEvents) != record.CloudEventsOff {
			errs.add("schema_registry cannot be used with cloudevents")
		}
	}
	for _, violation := range c.violations {
		errs.add("%s", violation)
	}
	return errs
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
	c := a.credentials()
	if kongschema.IsReference(c.OAuth.TokenURL) { // in a file: Kong hands over what it refers to
		c.OAuth.TokenURL = "https://vault"
	}
	c.AWS = a.AWS.resolved().options()
	for _, problem := range c.Check() {
		errs.add("%s", problem)
	}
	o := &a.OAuthBearer
	for _, field := range []struct {
		name, value string
		limit       int
	}{
		{"user", a.User, maxUser}, {"password", a.Password, maxPassword},
		{"oauthbearer.token_endpoint_url", o.TokenEndpointURL, maxUser}, {"oauthbearer.client_id", o.ClientID, maxUser},
		{"oauthbearer.client_secret", o.ClientSecret, maxPassword}, {"oauthbearer.token_file", o.TokenFile, maxUser},
	} {
		if n := len(field.value); n > field.limit {
			errs.add("authentication.%s has %d bytes: it may have %d", field.name, n, field.limit)
		}
	}
	if len(o.Scopes) > maxOAuthBearer || len(o.Extensions) > maxOAuthBearer {
		errs.add("authentication.oauthbearer has more than %d scopes or extensions", maxOAuthBearer)
	}
	if a.Mechanism == "AWS_MSK_IAM" {
		a.AWS.validate(errs)
	}
}

// placeholder is a part of a topic that is known with the request. The Builder checks what
// is in the braces.
var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// templateProblem is topicProblem for a topic that may have placeholders, such as
// orders.{uri_capture.region}.
func templateProblem(topic string) string {
	if len(topic) > maxTopic {
		return topicProblem(topic)
	}
	return topicProblem(placeholder.ReplaceAllString(topic, "a"))
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
