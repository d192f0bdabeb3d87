package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/security/certs"
	"kafka-upstream/internal/security/oauth"
)

const (
	// maxAnswer is how long the body of an answer may be, in bytes. A schema's text is escaped
	// in it, and has rules and metadata around it.
	maxAnswer = 4 << 20
	// requestTimeout is that of one request, answer included.
	requestTimeout = 10 * time.Second
)

// Env is what a process gives its [Pool].
type Env struct {
	// CAFile is a PEM file of authorities that the certificates of registries and token
	// endpoints may be from, in addition to the system's (the flag -ca-file). "" for none.
	CAFile string
	Certs  *certs.Store // of client certificates
	Log    *slog.Logger

	transport roundTripper // instead of the network, in tests
}

type roundTripper interface {
	http.RoundTripper
	CloseIdleConnections()
}

// client is the way to one registry with one set of credentials. Its methods may be called from
// many goroutines at once.
type client struct {
	id    key
	shown string // the URL
	o     Options
	env   Env
	http  roundTripper
	sr    *sr.Client
	token *oauth.Source // nil for none

	mu          sync.Mutex
	certificate *certs.Certificate // nil until a registry has asked for it
	bearer      string             // the token that was sent last

	refs int // guarded by Pool.mu
}

func newClient(o Options, env Env) (*client, error) {
	c := &client{id: o.connection(), shown: strings.TrimRight(o.URL, "/"), o: o, env: env}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.SkipVerify}
	if env.CAFile != "" && !o.SkipVerify {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if err := certs.AddCAFile(roots, env.CAFile); err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	if o.CertificateID != "" {
		config.GetClientCertificate = c.present
	}
	c.http = &http.Transport{
		TLSClientConfig:        config, // which also keeps the Transport from HTTP/2
		TLSHandshakeTimeout:    requestTimeout,
		DisableCompression:     true, // an answer could be of any size then
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        time.Minute,
	}
	if env.transport != nil {
		c.http = env.transport
	}
	var err error
	c.sr, err = sr.NewClient(sr.URLs(c.shown), sr.UserAgent("kafka-upstream"), sr.HTTPClient(&http.Client{
		Transport: c,
		Timeout:   requestTimeout,
		// A redirect would carry the credentials to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}))
	if err != nil {
		return nil, err
	}
	if o.Auth.Mode == authOAuth2 {
		if c.token, err = oauth.New(o.Auth.OAuth, oauth.Env{CAFile: env.CAFile, Log: env.Log}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// present is a [tls.Config.GetClientCertificate].
func (c *client) present(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.certificate == nil {
		held, err := c.env.Certs.Acquire(info.Context(), c.o.CertificateID)
		if err != nil {
			return nil, err
		}
		c.certificate = held
	}
	return c.certificate.Present(info)
}

// RoundTrip implements http.RoundTripper: it authenticates the request, and bounds the answer.
func (c *client) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	a := &c.o.Auth
	if a.ClusterID != "" {
		r.Header.Set("target-sr-cluster", a.ClusterID)
	}
	if a.IdentityPoolID != "" {
		r.Header.Set("Confluent-Identity-Pool-Id", a.IdentityPoolID)
	}
	if a.Mode == authBasic {
		r.SetBasicAuth(a.User, a.Password)
	}
	answer, err := c.send(r)
	if err != nil {
		c.recheck()
		return nil, err
	}
	answer.Body = http.MaxBytesReader(nil, answer.Body, maxAnswer)
	return answer, nil
}

// send sends the request, with a token if there is to be one, and once more with another token
// if that one is refused.
func (c *client) send(r *http.Request) (*http.Response, error) {
	if c.token == nil {
		return c.http.RoundTrip(r)
	}
	for again := false; ; again = true {
		token, err := c.token.Token(r.Context())
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		c.bearer = token
		c.mu.Unlock()
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := c.http.RoundTrip(r)
		if err != nil || answer.StatusCode != http.StatusUnauthorized || again {
			return answer, err
		}
		answer.Body.Close()
		c.token.Drop(token)
	}
}

// recheck has the certificate loaded again: the registry may not accept it any longer.
func (c *client) recheck() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.certificate != nil {
		c.certificate.Recheck()
	}
}

// get asks for a schema. The error shows no secret.
func (c *client) get(ctx context.Context, subject string, version int) (sr.SubjectSchema, error) {
	s, err := c.sr.SchemaByVersion(ctx, subject, version)
	if err == nil && (s.ID <= 0 || s.ID > 1<<31-1 || s.Version <= 0 || s.Schema.Schema == "") {
		err = errors.New("the answer lacks the id, the version or the text of a schema")
	}
	if err != nil {
		return s, c.failure(ctx, err)
	}
	return s, nil
}

// failure returns why a request has failed, in the words of an operator.
func (c *client) failure(ctx context.Context, err error) error {
	refusal, refused := errors.AsType[*sr.ResponseError](err)
	token, noToken := errors.AsType[*oauth.TokenError](err)
	certificate, noCertificate := errors.AsType[*certs.Error](err)
	tooLong, isTooLong := errors.AsType[*http.MaxBytesError](err)
	inURL, isURL := errors.AsType[*url.Error](err)
	_, isSyntax := errors.AsType[*json.SyntaxError](err)
	_, isType := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case ctx.Err() != nil && !noToken:
		err = fmt.Errorf("there was no answer in time: %w", context.Cause(ctx))
	case noToken:
		return token
	case noCertificate:
		return certificate
	case refused && refusal.StatusCode < 400:
		err = fmt.Errorf("the answer has status %d, a redirect, which is not followed because the credentials would go with it: set the url of the registry itself", refusal.StatusCode)
	case refused && refusal.ErrorCode != 0:
		err = fmt.Errorf("the answer has status %d: %s (error code %d)", refusal.StatusCode, foreign.Cut(c.redact(refusal.Message), 300), refusal.ErrorCode)
	case refused:
		err = fmt.Errorf("the answer has status %d", refusal.StatusCode)
	case isTooLong:
		err = fmt.Errorf("the answer is longer than %d bytes", tooLong.Limit)
	case isURL && inURL.Timeout():
		err = fmt.Errorf("there was no answer within %v", requestTimeout)
	case isURL:
		err = fmt.Errorf("it cannot be reached: %w", inURL.Err) // inURL repeats the URL
	case isSyntax, isType:
		err = errors.New("the answer is not what a Schema Registry sends for a schema")
	}
	return errors.New(foreign.Text(c.redact(err.Error())))
}

// redact returns a text without what the registry was sent that is secret.
func (c *client) redact(text string) string {
	c.mu.Lock()
	secrets := append(c.o.Auth.secrets(), c.bearer)
	c.mu.Unlock()
	return foreign.NewRedactor(secrets...).Redact(text)
}

func (c *client) close() {
	if c.token != nil {
		c.token.Close()
	}
	c.http.CloseIdleConnections()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.certificate != nil {
		c.certificate.Release()
		c.certificate = nil
	}
}
