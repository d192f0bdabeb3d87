package config

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"kafka-upstream/internal/record/registry"
	"kafka-upstream/internal/security/oauth"
)

// SchemaRegistry says which schemas values and keys are encoded by.
type SchemaRegistry struct {
	Confluent Confluent `json:"confluent"` // with Confluent's REST API
}

// Confluent is a registry, and the schemas of values and keys in it. Without a URL there is
// none.
type Confluent struct {
	URL            string         `json:"url"`
	TTL            *float64       `json:"ttl"` // in seconds
	SSLVerify      bool           `json:"ssl_verify"`
	CertificateID  string         `json:"certificate_id"`
	ValueSchema    RegistrySchema `json:"value_schema"`
	KeySchema      RegistrySchema `json:"key_schema"`
	Authentication RegistryAuth   `json:"authentication"`
}

// RegistrySchema is a schema of a registry.
type RegistrySchema struct {
	SubjectName     string `json:"subject_name"`
	SchemaVersion   string `json:"schema_version"`
	PayloadEncoding string `json:"payload_encoding"` // avro_json or simple_json: both are read, whichever it is
}

// RegistryAuth says who we are to a registry. It prints without its secrets.
type RegistryAuth struct {
	Mode             string       `json:"mode"` // none, basic or oauth2
	Basic            Basic        `json:"basic"`
	LogicalClusterID string       `json:"logical_cluster_id"`
	IdentityPoolID   string       `json:"identity_pool_id"`
	OAuth2           OAuth2       `json:"oauth2"`
	OAuth2Client     OAuth2Client `json:"oauth2_client"`
}

// Basic is a user.
type Basic struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// OAuth2 is a token request.
type OAuth2 struct {
	TokenEndpoint string            `json:"token_endpoint"`
	GrantType     string            `json:"grant_type"`
	ClientID      string            `json:"client_id"`
	ClientSecret  string            `json:"client_secret"`
	Username      string            `json:"username"`
	Password      string            `json:"password"`
	Scopes        []string          `json:"scopes"`
	Audience      []string          `json:"audience"`
	TokenHeaders  map[string]string `json:"token_headers"`
	TokenPostArgs map[string]string `json:"token_post_args"`
}

// OAuth2Client is the way to a token endpoint.
type OAuth2Client struct {
	AuthMethod              string  `json:"auth_method"`
	ClientSecretJWTAlg      string  `json:"client_secret_jwt_alg"`
	HTTPProxy               string  `json:"http_proxy"`
	HTTPProxyAuthorization  string  `json:"http_proxy_authorization"`
	HTTPSProxy              string  `json:"https_proxy"`
	HTTPSProxyAuthorization string  `json:"https_proxy_authorization"`
	NoProxy                 string  `json:"no_proxy"`
	HTTPVersion             float64 `json:"http_version"`
	KeepAlive               bool    `json:"keep_alive"`
	SSLVerify               bool    `json:"ssl_verify"`
	Timeout                 Millis  `json:"timeout"`
}

var (
	_ slog.LogValuer = RegistryAuth{}
	_ fmt.Formatter  = RegistryAuth{}
)

// LogValue is what a log shows: the mode alone.
func (a RegistryAuth) LogValue() slog.Value {
	return slog.StringValue(cmp.Or(a.Mode, "none") + " (credentials redacted)")
}

// Format prints LogValue, whatever the verb, so that no %+v shows a secret.
func (a RegistryAuth) Format(s fmt.State, _ rune) {
	_, _ = s.Write([]byte(a.LogValue().String()))
}

// Schemas returns the schemas of the configuration, and false if it has none.
func (c *Config) Schemas() (registry.Options, bool) {
	r := &c.SchemaRegistry.Confluent
	if r.URL == "" {
		return registry.Options{}, false
	}
	a := &r.Authentication
	ttl := registry.DefaultTTL
	if r.TTL != nil {
		ttl = time.Duration(*r.TTL * float64(time.Second))
	}
	return registry.Options{
		URL:           r.URL,
		TTL:           ttl,
		SkipVerify:    !r.SSLVerify,
		CertificateID: r.CertificateID,
		Auth: registry.Auth{
			Mode: a.Mode, User: a.Basic.Username, Password: a.Basic.Password,
			OAuth: a.oauth(), ClusterID: a.LogicalClusterID, IdentityPoolID: a.IdentityPoolID,
		},
		Value:    registry.Subject{Name: r.ValueSchema.SubjectName, Version: r.ValueSchema.SchemaVersion},
		Key:      registry.Subject{Name: r.KeySchema.SubjectName, Version: r.KeySchema.SchemaVersion},
		MaxValue: 2 * c.BytesPerRequest, // what is between is answered as any record that is too large
	}, true
}

func (a *RegistryAuth) oauth() oauth.Options {
	o, h := &a.OAuth2, &a.OAuth2Client
	return oauth.Options{
		TokenURL: o.TokenEndpoint, GrantType: o.GrantType, ClientID: o.ClientID, ClientSecret: o.ClientSecret,
		Username: o.Username, Password: o.Password, Scopes: o.Scopes, Audience: o.Audience, Headers: o.TokenHeaders, Form: o.TokenPostArgs,
		AuthMethod: h.AuthMethod, JWTAlgorithm: h.ClientSecretJWTAlg,
		HTTPProxy: h.HTTPProxy, HTTPSProxy: h.HTTPSProxy, NoProxy: h.NoProxy,
		HTTPProxyAuthorization: h.HTTPProxyAuthorization, HTTPSProxyAuthorization: h.HTTPSProxyAuthorization,
		HTTP10: h.HTTPVersion == 1, NoKeepAlive: !h.KeepAlive, SkipVerify: !h.SSLVerify, Timeout: h.Timeout.Duration(),
	}
}
