// Package registry has the schemas of Schema Registries with Confluent's REST API, and puts
// values and keys into the wire format of Confluent's serializers: a zero byte, the schema's id,
// and what package schemafmt makes of them. Schemas are fetched in the background, never on the
// way of a request. Nothing in it prints a secret.
package registry

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/security/certs"
	"kafka-upstream/internal/security/oauth"
)

// DefaultTTL is how old the schema of the version "latest" becomes before it is fetched again.
const DefaultTTL = 5 * time.Minute

// Options are what a configuration says about its schemas: Kong's fields
// schema_registry.confluent.
type Options struct {
	// URL is that of the registry: http or https, with a path or not.
	URL string
	// TTL is how old the schema of the version "latest" becomes before it is fetched again.
	// With less than a second that is when the schema is used, and at most once a second.
	TTL           time.Duration
	SkipVerify    bool   // of the registry's certificate
	CertificateID string // of the client certificate in Kong; "" for none
	Auth          Auth

	Value, Key Subject // the zero Subject: they stay as they are

	MaxValue int // bytes that an encoded value or key may have; 0 for the default of schemafmt
}

// Subject is a schema of a registry.
type Subject struct {
	Name    string
	Version string // a number, or "latest", which "" is, too
}

// latest is the version that changes.
const latest = "latest"

// Auth is how to authenticate to a registry. It prints as "[redacted]".
type Auth struct {
	Mode           string // "none", which "" is, too, "basic" or "oauth2"
	User, Password string // with "basic"
	OAuth          oauth.Options
	ClusterID      string // the header target-sr-cluster; "" for none
	IdentityPoolID string // the header Confluent-Identity-Pool-Id; "" for none
}

// Values of Mode.
const (
	authBasic  = "basic"
	authOAuth2 = "oauth2"
)

// Format implements fmt.Formatter for all verbs; see [Auth].
func (Auth) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, foreign.Redacted) }

// LogValue implements slog.LogValuer.
func (Auth) LogValue() slog.Value { return slog.StringValue(foreign.Redacted) }

// secrets returns what must never be shown.
func (a *Auth) secrets() []string {
	switch a.Mode {
	case authBasic:
		return []string{a.Password, a.User + ":" + a.Password}
	case authOAuth2:
		return a.OAuth.Secrets()
	}
	return nil
}

// Check returns what is wrong with o, in sentences that name the fields of the plugin's
// configuration and show none of their values. prefix is the name of the record with the
// registry, such as "schema_registry.confluent".
func (o *Options) Check(prefix string) []string {
	var problems []string
	add := func(field, problem string) { problems = append(problems, prefix+"."+field+" "+problem) }
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		add("url", "must be a URL such as https://host:8081")
	case u.User != nil:
		add("url", "contains a user: set authentication.basic instead")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(o.URL, "#"):
		add("url", "contains a query or a fragment, which the URL of a registry does not have")
	}
	if o.Value.Name == "" && o.Key.Name == "" {
		add("value_schema.subject_name", "is empty, and so is that of key_schema: name a subject, or remove the url")
	}
	for _, s := range []struct {
		field string
		Subject
	}{{"value_schema", o.Value}, {"key_schema", o.Key}} {
		if s.Name == "." || s.Name == ".." {
			add(s.field+".subject_name", "is not a valid name of a subject")
		}
		if _, ok := number(s.Version); !ok {
			add(s.field+".schema_version", "must be the number of a version, or latest")
		}
	}
	if o.CertificateID != "" {
		if !certs.IsID(o.CertificateID) {
			add("certificate_id", "is not a UUID")
		}
		if err == nil && u.Scheme != "https" {
			add("certificate_id", "needs a url that begins with https://")
		}
	}
	switch a := &o.Auth; a.Mode {
	case "", "none":
	case authBasic:
		if a.User == "" || a.Password == "" {
			add("authentication.basic", "needs a username and a password when authentication.mode is basic; a reference to a vault that cannot be resolved is empty")
		}
	case authOAuth2:
		problems = append(problems, a.OAuth.Check(prefix+".authentication.oauth2")...)
	default:
		add("authentication.mode", "must be none, basic or oauth2")
	}
	for field, value := range map[string]string{"logical_cluster_id": o.Auth.ClusterID, "identity_pool_id": o.Auth.IdentityPoolID} {
		if !httpguts.ValidHeaderFieldValue(value) {
			add("authentication."+field, "has characters that no header can have")
		}
	}
	return problems
}

// number returns a version as a number, -1 for the latest one.
func number(version string) (int, bool) {
	if version == "" || version == latest {
		return -1, true
	}
	n, err := strconv.ParseInt(version, 10, 32)
	return int(n), err == nil && n > 0
}

// key identifies what is shared by those who give the same options for it. It is made with
// secrets, so it is never shown.
type key [sha256.Size]byte

// connection returns the key of o's registry, and of the way to it.
func (o *Options) connection() key {
	a := o.Auth
	switch a.Mode {
	case authBasic:
		a.OAuth = oauth.Options{}
	case authOAuth2:
		a.User, a.Password = "", ""
	default:
		a = Auth{ClusterID: a.ClusterID, IdentityPoolID: a.IdentityPoolID}
	}
	return digest(strings.TrimRight(o.URL, "/"), o.SkipVerify, o.CertificateID, a.Mode, a.User, a.Password, a.OAuth, a.ClusterID, a.IdentityPoolID)
}

func digest(of ...any) key {
	b, err := json.Marshal(of)
	if err != nil {
		panic(err) // texts, numbers and what marshals to a text
	}
	return sha256.Sum256(b)
}

// UnavailableError says that a schema cannot be had. Its text names the cause in one sentence,
// without secrets.
type UnavailableError struct {
	Subject, Version string
	Registry         string // its URL
	Err              error
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("could not get schema %.200q, version %s, from %.300s: %s", e.Subject, e.Version, e.Registry, foreign.Text(e.Err.Error()))
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// SchemaError says that a schema cannot be used, whatever the request. Its text names the cause
// in one sentence.
type SchemaError struct {
	Subject  string
	Version  int
	Registry string // its URL
	Err      error
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("schema %.200q, version %d, of %.300s: %s", e.Subject, e.Version, e.Registry, foreign.Text(e.Err.Error()))
}

// Unwrap returns the cause.
func (e *SchemaError) Unwrap() error { return e.Err }
