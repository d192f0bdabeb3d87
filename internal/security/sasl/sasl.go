// Package sasl holds the SASL mechanisms that producers log in with. Nothing in it prints a
// password, a token or its HMAC: not in an error, not in a log, not when a value is formatted.
package sasl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/security/awsiam"
	"kafka-upstream/internal/security/oauth"
)

// mechanism is a row of the table of mechanisms.
type mechanism struct {
	name string // as Kafka and Kong's configuration have it
	// sends is the secret that the mechanism sends as it is; "" for none.
	sends string
	// needsTLS says that the mechanism is not used without TLS.
	needsTLS bool
	// check returns what is wrong with credentials, a sentence each.
	check func(Credentials) []string
	// secrets returns what of the credentials must never be shown.
	secrets func(Credentials) []string
	// new returns the mechanism with credentials that check found nothing wrong with. It is a
	// [TokenMechanism] if it logs in with what it gets from elsewhere.
	new func(Credentials, Env) (sasl.Mechanism, error)
}

// mechanisms are all mechanisms there are. A new one is a row here, and a value of
// authentication.mechanism in schema/kafka-upstream.json.
var mechanisms = []mechanism{
	{name: plainName, sends: "the password", check: checkPlain, secrets: loginSecrets, new: newPlain},
	{name: scram256.name, check: checkLogin, secrets: loginSecrets, new: scram256.new},
	{name: scram512.name, check: checkLogin, secrets: loginSecrets, new: scram512.new},
	{name: oauthBearerName, sends: "the access token", check: checkOAuthBearer, secrets: oauthBearerSecrets, new: newOAuthBearer},
	{name: awsMSKIAMName, needsTLS: true, check: checkAWSMSKIAM, secrets: awsMSKIAMSecrets, new: newAWSMSKIAM},
}

// Env is what a process gives its mechanisms.
type Env struct {
	CAFile string // authorities that are trusted in addition to the system's; "" for none
	Log    *slog.Logger
}

// TokenMechanism is a mechanism that logs in with what it gets from elsewhere, such as an access
// token. Its methods may be called from many goroutines at once.
type TokenMechanism interface {
	sasl.Mechanism
	// Ready waits, until ctx ends, for what a login needs. It is called before a connection for
	// the login is opened. The error is a [*TokenError], or that of ctx if it was cancelled.
	Ready(ctx context.Context) error
	// Rejected is told the error of a login that failed, and returns it with what is known of
	// the broker's reason. The mechanism uses nothing again that a broker refused.
	Rejected(err error) error
	// Secrets returns what it has sent lately, and must not be shown.
	Secrets() []string
	// Close ends the background work.
	Close()
}

// TokenError is the error of a login for which there is no token. It counts as an outage, not as
// a rejected login, because nothing was sent to a broker. It does not unwrap to its cause, which
// would be classified as an error of the connection to the broker.
type TokenError struct{ cause error }

// NewTokenError returns the error with its cause, whose text has no secrets.
func NewTokenError(cause error) *TokenError { return &TokenError{cause} }

func (e *TokenError) Error() string { return e.cause.Error() }

// Unsent classifies the error for package kafkaerr.
func (e *TokenError) Unsent() bool { return true }

// NoToken classifies the error for package kafkaerr.
func (e *TokenError) NoToken() bool { return true }

// names returns the names of the mechanisms.
func names() []string {
	var names []string
	for _, m := range mechanisms {
		names = append(names, m.name)
	}
	return names
}

// Credentials are what a configuration says about SASL. They print as "[redacted]", except
// in an unexported field of a struct without methods, where fmt calls none.
type Credentials struct {
	// Mechanism is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM;
	// "" for no SASL.
	Mechanism string
	// User is the name of the user, or the ID of a delegation token.
	User string
	// Password is the user's password, or the HMAC of a delegation token in base64, as
	// Kafka's tools print it. Brokers expect it in that form, not decoded.
	Password string
	// TokenAuth says that User and Password are a delegation token (KIP-48).
	TokenAuth bool

	// OAuth says where OAUTHBEARER gets its access tokens, unless TokenFile is set.
	OAuth oauth.Options
	// TokenFile is the path of a file with the access token, which is read at each login.
	TokenFile string
	// Extensions are sent with the access token (KIP-342).
	Extensions map[string]string

	// AWS says where AWS_MSK_IAM gets its credentials.
	AWS awsiam.Options
}

// Format implements fmt.Formatter; see [Credentials].
func (Credentials) Format(f fmt.State, verb rune) { redacted{}.Format(f, verb) }

// MarshalText implements encoding.TextMarshaler; see [Credentials].
func (Credentials) MarshalText() ([]byte, error) { return redacted{}.MarshalText() }

func (c Credentials) mechanism() mechanism {
	for _, m := range mechanisms {
		if m.name == c.Mechanism {
			return m
		}
	}
	return mechanism{check: checkUnknown}
}

// Sends returns the secret that the mechanism sends as it is, so that it needs TLS, such as "the
// password"; "" for none.
func (c Credentials) Sends() string { return c.mechanism().sends }

// NeedsTLS reports whether the mechanism is not to be used without TLS.
func (c Credentials) NeedsTLS() bool { return c.mechanism().needsTLS }

// Name returns who the credentials are for, which is no secret: a user, a client or a file.
func (c Credentials) Name() string { return c.User + c.OAuth.ClientID + c.TokenFile }

// Check returns what is wrong with the credentials, in sentences that name the fields of the
// plugin's configuration and show none of their values.
func (c Credentials) Check() []string { return c.mechanism().check(c) }

func checkUnknown(c Credentials) []string {
	all := names()
	last := len(all) - 1
	return append(checkLogin(c), "authentication.mechanism must be "+strings.Join(all[:last], ", ")+" or "+all[last])
}

// checkLogin checks what a mechanism with a user and a password needs.
func checkLogin(c Credentials) (problems []string) {
	for _, field := range []struct{ name, value string }{{"user", c.User}, {"password", c.Password}} {
		switch {
		case field.value == "":
			problems = append(problems, "authentication."+field.name+" is empty: it is required when authentication.mechanism is set (a vault reference that cannot be resolved arrives empty)")
		case !utf8.ValidString(field.value):
			problems = append(problems, "authentication."+field.name+" is not UTF-8, which Kafka requires")
		case strings.Contains(field.value, "\x00"):
			// RFC 4616 and RFC 5802 both exclude it. In PLAIN it would end the field.
			problems = append(problems, "authentication."+field.name+" contains a NUL character, which SASL cannot send")
		}
	}
	return problems
}

// New returns the mechanism with these credentials. It may be used by many connections at
// once, and should be kept: it remembers the keys that it derived from the password.
//
// User and password are sent as they are, in UTF-8 and without SASLprep, which Kafka does
// not apply either. The SCRAM of Apache Kafka accepts only user names in ASCII; others are
// for the broker to refuse.
func New(c Credentials, env Env) (sasl.Mechanism, error) {
	if problems := c.Check(); len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "; "))
	}
	return c.mechanism().new(c, env)
}

// Redactor returns what keeps c out of texts of others; nil if there is nothing to be kept out.
// What a [TokenMechanism] sends is not known yet.
func (c Credentials) Redactor() *foreign.Redactor {
	if secrets := c.mechanism().secrets; secrets != nil {
		return foreign.NewRedactor(secrets(c)...)
	}
	return nil
}

// loginSecrets returns the password, what PLAIN sends of user and password, and the ID of a
// delegation token. A user's name is not a secret; it would be found in the names of hosts and
// topics.
func loginSecrets(c Credentials) []string {
	if c.Password == "" {
		return nil
	}
	secrets := []string{c.Password, c.plain()}
	if c.TokenAuth {
		secrets = append(secrets, c.User)
	}
	return secrets
}

// exchangeError is the error of an exchange that this side ended, not the broker.
type exchangeError struct {
	mechanism string
	broker    string // host:port, if known
	err       error
}

func newExchangeError(ctx context.Context, mechanism string, err error) error {
	e := &exchangeError{mechanism: mechanism, err: err}
	if m := sasl.MetadataFromContext(ctx); m != nil {
		e.broker = net.JoinHostPort(m.Host, strconv.Itoa(m.Port))
	}
	return e
}

func (e *exchangeError) Error() string {
	with := ""
	if e.broker != "" {
		with = " with broker " + e.broker
	}
	return "SASL " + e.mechanism + with + ": " + e.err.Error()
}

func (e *exchangeError) Unwrap() error { return e.err }

// AuthenticationFailed classifies the error for package kafkaerr.
func (e *exchangeError) AuthenticationFailed() bool { return true }
