package oauth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"kafka-upstream/internal/foreign"
)

// Options are what a configuration says about its access tokens: Kong's fields
// authentication.oauthbearer, and schema_registry.confluent.authentication.oauth2 and
// oauth2_client. They print as "[redacted]", except in an unexported field of a struct without
// methods, where fmt calls none.
type Options struct {
	// TokenURL is the token endpoint: http://host/path or https://host/path.
	TokenURL string
	// GrantType is "client_credentials", which "" is, too (RFC 6749, section 4.4), or
	// "password" (section 4.3).
	GrantType string

	ClientID, ClientSecret string
	Username, Password     string // with GrantType "password"

	Scopes   []string // sent as one field scope, with spaces between them
	Audience []string // sent as a field audience each

	// Headers and Form are sent in addition. They replace nothing that the other options
	// set: Check refuses those that would.
	Headers, Form map[string]string

	// AuthMethod is how the client authenticates, by its name in OpenID Connect:
	// "client_secret_basic", "client_secret_post", "client_secret_jwt" (RFC 7523), or
	// "none". "" is client_secret_basic, and then client_secret_post if that is refused;
	// the one that worked is the first to be tried from then on.
	AuthMethod string
	// JWTAlgorithm is that of client_secret_jwt: "HS512", which "" is, too, or "HS256".
	JWTAlgorithm string

	// HTTPProxy and HTTPSProxy are the proxies for token endpoints under http and https, as
	// http://host:port; "" for none. The environment has no say.
	HTTPProxy, HTTPSProxy string
	// NoProxy lists hosts that are reached without them, as the variable NO_PROXY does:
	// names with their subdomains, addresses, networks, with or without a port; or "*".
	// Loopback addresses are always reached without a proxy.
	NoProxy string
	// HTTPProxyAuthorization and HTTPSProxyAuthorization are the Proxy-Authorization
	// headers for these proxies; "" for none.
	HTTPProxyAuthorization, HTTPSProxyAuthorization string

	HTTP10      bool          // speak HTTP/1.0, and not 1.1
	NoKeepAlive bool          // a connection for each request
	SkipVerify  bool          // of the token endpoint's certificate
	Timeout     time.Duration // of one request, answer included; 0 for 10 s
}

// Values of AuthMethod.
const (
	methodBasic = "client_secret_basic"
	methodPost  = "client_secret_post"
	methodJWT   = "client_secret_jwt"
	methodNone  = "none"
)

// Values of GrantType.
const (
	grantClient   = "client_credentials"
	grantPassword = "password"
)

var _ fmt.Formatter = Options{}

// Format implements fmt.Formatter for all verbs; see [Options].
func (Options) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, foreign.Redacted) }

// LogValue implements slog.LogValuer.
func (Options) LogValue() slog.Value { return slog.StringValue(foreign.Redacted) }

// digestKey makes digests of this process worthless outside it.
var digestKey = rand.Text()

// MarshalText implements encoding.TextMarshaler: in JSON, Options are a digest. Within a
// process it is the same for equal Options and differs for others, so that owners can put it
// into the keys by which they share what they make with Options. Nobody can test guesses of
// a secret with it.
func (o Options) MarshalText() ([]byte, error) {
	type plain Options // without methods
	b, err := json.Marshal(plain(o))
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, []byte(digestKey))
	mac.Write(b)
	return fmt.Appendf(nil, "%s %x", foreign.Redacted, mac.Sum(nil)), nil
}

// Secrets returns what must never be shown. Names, URLs and scopes are no secrets, but the
// query of a URL, and the values of further headers and form fields, may be.
func (o Options) Secrets() []string {
	all := []string{o.ClientSecret, o.Password, o.HTTPProxyAuthorization, o.HTTPSProxyAuthorization}
	if u, err := url.Parse(o.TokenURL); err == nil {
		all = append(all, u.RawQuery)
	}
	if o.ClientSecret != "" { // as in Basic
		all = append(all, o.ClientID+":"+o.ClientSecret, url.QueryEscape(o.ClientID)+":"+url.QueryEscape(o.ClientSecret))
	}
	for _, more := range []map[string]string{o.Headers, o.Form} {
		for _, value := range more {
			all = append(all, value)
		}
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// Check returns what is wrong with the options, in sentences that name the fields of the
// plugin's configuration and show none of their values. prefix is the name of the record
// with the token endpoint, such as "authentication.oauthbearer"; Kong has the fields of the
// HTTP client in a record beside it, whose name ends in "_client".
func (o Options) Check(prefix string) []string {
	c := checker{prefix: prefix}
	endpoint, missing := ".token_endpoint", "is empty: set the URL of the token endpoint"
	if strings.HasSuffix(prefix, "oauthbearer") {
		endpoint, missing = ".token_endpoint_url", missing+" (a vault reference that cannot be resolved arrives empty)"
	}
	switch u, err := url.Parse(o.TokenURL); {
	case o.TokenURL == "":
		c.add(endpoint, missing)
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		c.add(endpoint, "must be a URL such as https://host/path")
	case u.User != nil:
		c.add(endpoint, "contains a user: set client_id and client_secret instead")
	case strings.Contains(o.TokenURL, "#"):
		c.add(endpoint, "contains a fragment, which RFC 6749 forbids")
	}
	c.oneOf(".grant_type", o.GrantType, grantClient, grantPassword)
	c.oneOf("_client.auth_method", o.AuthMethod, methodBasic, methodPost, methodJWT, methodNone)
	c.oneOf("_client.client_secret_jwt_alg", o.JWTAlgorithm, "HS256", "HS512")
	if o.AuthMethod != methodNone {
		c.required(".client_id", o.ClientID)
		// With the grant "password" a client may be public: RFC 6749, section 4.3.2.
		if o.GrantType != grantPassword || o.AuthMethod == methodJWT {
			c.required(".client_secret", o.ClientSecret)
		}
	}
	if o.GrantType == grantPassword {
		c.required(".username", o.Username)
		c.required(".password", o.Password)
	}
	c.proxy("_client.http_proxy", o.HTTPProxy, o.HTTPProxyAuthorization)
	c.proxy("_client.https_proxy", o.HTTPSProxy, o.HTTPSProxyAuthorization)
	o.checkHeaders(&c)
	o.checkForm(&c)
	return c.problems
}

// ownHeaders are the headers that belong to the HTTP client.
var ownHeaders = []string{"Accept-Encoding", "Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

func (o Options) checkHeaders(c *checker) {
	for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
		value := o.Headers[name]
		switch canonical := http.CanonicalHeaderKey(name); {
		case !httpguts.ValidHeaderFieldName(name):
			c.add(".token_headers", "has a name that cannot be that of a header")
		case !httpguts.ValidHeaderFieldValue(value):
			c.add(".token_headers", "has a value that no header can have")
		case slices.Contains(ownHeaders, canonical):
			c.add(".token_headers", "contains "+canonical+", which is for the HTTP client to set")
		case canonical == "Authorization" && o.AuthMethod != methodNone:
			c.add(".token_headers", "contains Authorization, which needs auth_method none")
		}
	}
}

// ownFields are the form fields that other options set, with these options.
var ownFields = map[string]string{
	"grant_type": "grant_type", "username": "username", "password": "password",
	"client_id": "client_id", "client_secret": "client_secret",
	"client_assertion": "auth_method", "client_assertion_type": "auth_method",
	"scope": "scopes", "audience": "audience",
}

func (o Options) checkForm(c *checker) {
	for _, name := range slices.Sorted(maps.Keys(o.Form)) {
		instead, own := ownFields[name]
		switch {
		case name == "":
			c.add(".token_post_args", "has a field without a name")
		case name == "scope" && len(o.Scopes) == 0, name == "audience" && len(o.Audience) == 0:
			// Nothing is replaced.
		case own:
			c.add(".token_post_args", "contains "+name+": set "+instead+" instead")
		}
	}
}

// checker collects what is wrong.
type checker struct {
	prefix   string
	problems []string
}

// add adds a problem once.
func (c *checker) add(field, problem string) {
	if sentence := c.prefix + field + " " + problem; !slices.Contains(c.problems, sentence) {
		c.problems = append(c.problems, sentence)
	}
}

func (c *checker) required(field, value string) {
	if value == "" {
		c.add(field, "is empty (a vault reference that cannot be resolved arrives empty)")
	}
}

func (c *checker) oneOf(field, value string, values ...string) {
	if value != "" && !slices.Contains(values, value) {
		last := len(values) - 1
		c.add(field, "must be "+strings.Join(values[:last], ", ")+" or "+values[last])
	}
}

func (c *checker) proxy(field, proxy, authorization string) {
	if proxy != "" {
		u, err := url.Parse(proxy)
		if err != nil || u.Host == "" || u.Scheme != "http" {
			c.add(field, "must be a URL such as http://host:port")
		} else if u.User != nil {
			c.add(field, "contains a user: set "+strings.TrimPrefix(field, "_client.")+"_authorization instead")
		}
	}
	if !httpguts.ValidHeaderFieldValue(authorization) {
		c.add(field+"_authorization", "cannot be the value of a header")
	}
}
