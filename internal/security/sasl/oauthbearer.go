package sasl

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/security/oauth"
)

const oauthBearerName = "OAUTHBEARER"

// oauthBearer is the mechanism OAUTHBEARER (RFC 7628, as KIP-255 has it): one message with an
// access token, which the broker accepts with an empty answer, or refuses with a reason in JSON.
type oauthBearer struct {
	redacted
	source     tokenSource
	extensions string // as they are sent, with a \x01 before each
	redactor   *foreign.Redactor

	mu        sync.Mutex
	sent      [2]string // the latest token that was sent, and the one before
	refusal   *refusal  // the latest since a broker accepted a token; nil for none
	dropped   string    // the token that was dropped last
	droppedAt time.Time
	pause     time.Duration // until another one may be dropped
}

// tokenSource is where access tokens come from.
type tokenSource interface {
	// Token returns a token that may be sent, and waits for it until ctx ends.
	Token(ctx context.Context) (string, error)
	// Drop has the source get another token in place of this one, if it still has it.
	Drop(token string)
	Close()
}

var _ TokenMechanism = (*oauthBearer)(nil)

// The shortest and the longest time between two tokens that are dropped because brokers refused
// them. If brokers refuse one token after the other, further ones are unlikely to help. The time
// doubles, until none was refused for dropRest; that a broker accepts one does not end it, because
// another may still refuse each.
const (
	minDropPause = time.Second
	maxDropPause = 30 * time.Second
	dropRest     = 2 * maxDropPause
)

func newOAuthBearer(c Credentials, env Env) (sasl.Mechanism, error) {
	var source tokenSource = tokenFile(c.TokenFile)
	if c.TokenFile == "" {
		s, err := oauth.New(c.OAuth, oauth.Env{CAFile: env.CAFile, Log: env.Log})
		if err != nil {
			return nil, err
		}
		source = s
	}
	m := &oauthBearer{source: source, extensions: extensionPairs(c.Extensions)}
	m.redactor = foreign.NewRedactor(oauthBearerSecrets(c)...).With(m.Secrets)
	return m, nil
}

func oauthBearerSecrets(c Credentials) []string {
	if c.TokenFile != "" {
		return nil
	}
	return c.OAuth.Secrets()
}

const oauthBearerFields = "authentication.oauthbearer"

func checkOAuthBearer(c Credentials) (problems []string) {
	switch {
	case c.TokenFile == "":
		problems = c.OAuth.Check(oauthBearerFields)
	case c.OAuth.TokenURL != "":
		problems = append(problems, oauthBearerFields+" has both token_file and token_endpoint_url: remove one of them")
	}
	for _, field := range []struct{ name, value string }{
		{"token_endpoint_url", c.OAuth.TokenURL}, {"client_id", c.OAuth.ClientID}, {"client_secret", c.OAuth.ClientSecret}, {"token_file", c.TokenFile},
	} {
		if !utf8.ValidString(field.value) || strings.Contains(field.value, "\x00") {
			problems = append(problems, oauthBearerFields+"."+field.name+" is not UTF-8, or contains a NUL character")
		}
	}
	for name, value := range c.Extensions {
		switch {
		case !extensionName.MatchString(name):
			problems = append(problems, oauthBearerFields+".extensions has a name with other characters than letters, which SASL cannot send")
		case name == "auth":
			problems = append(problems, oauthBearerFields+".extensions contains auth, which is reserved for the token")
		case !extensionValue.MatchString(value):
			problems = append(problems, oauthBearerFields+".extensions has a value that is empty, or has characters other than printable ASCII, which SASL cannot send")
		}
	}
	if c.TokenAuth {
		problems = append(problems, "authentication.tokenauth is only valid with a SCRAM mechanism")
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

// RFC 7628, section 3.1, and Kafka's OAuthBearerClientInitialResponse.
var (
	extensionName  = regexp.MustCompile(`^[A-Za-z]+$`)
	extensionValue = regexp.MustCompile(`^[\x21-\x7E \t\r\n]+$`)
	bearerToken    = regexp.MustCompile(`^[-._~+/A-Za-z0-9]+=*$`) // RFC 6750, section 2.1
)

// extensionPairs returns the extensions as they are sent, sorted by their names.
func extensionPairs(extensions map[string]string) string {
	var pairs []string
	for name, value := range extensions {
		pairs = append(pairs, "\x01"+name+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "")
}

// Name implements sasl.Mechanism.
func (m *oauthBearer) Name() string { return oauthBearerName }

// Ready implements TokenMechanism.
func (m *oauthBearer) Ready(ctx context.Context) error {
	_, err := m.token(ctx)
	return err
}

// token returns the token of a login.
func (m *oauthBearer) token(ctx context.Context) (string, error) {
	token, err := m.source.Token(ctx)
	switch {
	case err == nil && !bearerToken.MatchString(token):
		err = errors.New("could not get token: what the token endpoint sent has characters that no bearer token has")
	case err == nil:
		return token, nil
	case errors.Is(ctx.Err(), context.Canceled):
		return "", context.Cause(ctx)
	}
	return "", &TokenError{err}
}

// Start implements sasl.Mechanism.
func (m *oauthBearer) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	token, err := m.token(ctx)
	if err != nil {
		return nil, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if token != m.sent[0] {
		m.sent = [2]string{token, m.sent[0]}
	}
	return &oauthExchange{mechanism: m}, []byte("n,,\x01auth=Bearer " + token + m.extensions + "\x01\x01"), nil
}

// Secrets implements TokenMechanism.
func (m *oauthBearer) Secrets() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.sent[:])
}

// Rejected implements TokenMechanism. Kafka gives its reason twice: in its answer to the token,
// and with the error code that ends the exchange. kafka-go's error has only the latter, as it
// came.
func (m *oauthBearer) Rejected(err error) error {
	_, ours := errors.AsType[*exchangeError](err)
	if !ours && !errors.Is(err, kafka.SASLAuthenticationFailed) {
		return err // such as that of a broker's certificate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if since := now.Sub(m.droppedAt); m.sent[0] != m.dropped && since >= m.pause {
		if since >= dropRest {
			m.pause = 0
		}
		m.dropped, m.droppedAt, m.pause = m.sent[0], now, min(max(2*m.pause, minDropPause), maxDropPause)
		m.source.Drop(m.dropped)
	}
	switch r := m.refusal; {
	case ours || r == nil:
		return err
	case strings.Contains(err.Error(), r.challenge):
		return &refusedLogin{r.login.Error(), err}
	default:
		return &refusedLogin{r.login.Error() + "; " + err.Error(), err}
	}
}

// Close implements TokenMechanism.
func (m *oauthBearer) Close() { m.source.Close() }

// oauthExchange is one exchange.
type oauthExchange struct {
	redacted
	mechanism *oauthBearer
	refused   error // what the broker's answer to the token says
}

var _ sasl.StateMachine = (*oauthExchange)(nil)

// Next implements sasl.StateMachine. A broker that refuses the token ends the exchange with an
// error code, once it has our answer, which RFC 7628, section 3.2.3, requires.
func (e *oauthExchange) Next(ctx context.Context, challenge []byte) (done bool, response []byte, err error) {
	m := e.mechanism
	switch {
	case e.refused != nil:
		return false, nil, e.refused
	case len(challenge) == 0:
		m.mu.Lock()
		defer m.mu.Unlock()
		m.refusal = nil
		return true, nil, nil
	}
	e.refused = newExchangeError(ctx, oauthBearerName, parseRefusal(challenge, m.redactor))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refusal = &refusal{string(challenge), e.refused}
	return false, []byte{1}, nil
}

// refusal is a broker's refusal of a token, before it ended the exchange.
type refusal struct {
	challenge string
	login     error
}

// refusedLogin is the error of a login that ended with an error code of the broker's.
type refusedLogin struct {
	text string
	code error
}

func (e *refusedLogin) Error() string { return e.text }
func (e *refusedLogin) Unwrap() error { return e.code }

const (
	maxRefusal       = 4096 // bytes of a broker's reason that are read
	maxRefusalMember = 200  // bytes of a member of it that are shown
)

// parseRefusal returns the error for a broker's reason for its refusal of a token: JSON as in
// RFC 7628, section 3.2.2. What is none is shown as it is. redactor knows the secrets.
func parseRefusal(challenge []byte, redactor *foreign.Redactor) error {
	quote := func(s string) string { return `"` + foreign.Cut(redactor.Redact(s), maxRefusalMember) + `"` }
	var reason struct {
		Status string `json:"status"`
		Scope  string `json:"scope"`
		OpenID string `json:"openid-configuration"`
	}
	if len(challenge) > maxRefusal || json.Unmarshal(challenge, &reason) != nil || reason.Status == "" {
		return errors.New("the broker refused the token: " + quote(string(challenge)))
	}
	text := "the broker refused the token: status " + quote(reason.Status)
	if reason.Scope != "" {
		text += ", scope " + quote(reason.Scope)
	}
	if reason.OpenID != "" {
		text += ", openid-configuration " + quote(reason.OpenID)
	}
	return errors.New(text)
}
