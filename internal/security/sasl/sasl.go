// Package sasl holds the SASL mechanisms that producers log in with. Nothing in it prints a
// password or a token's HMAC: not in an error, not in a log, not when a value is formatted.
package sasl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/foreign"
)

// mechanism is a row of the table of mechanisms.
type mechanism struct {
	name string // as Kafka and Kong's configuration have it
	// sendsSecret says that the mechanism sends a secret as it is.
	sendsSecret bool
	// check returns what is wrong with credentials, a sentence each.
	check func(Credentials) []string
	// new returns the mechanism with credentials that check found nothing wrong with.
	new func(Credentials) (sasl.Mechanism, error)
}

// mechanisms are all mechanisms there are. A new one is a row here, and a value of
// authentication.mechanism in schema/kafka-upstream.json.
var mechanisms = []mechanism{
	{name: plainName, sendsSecret: true, check: checkPlain, new: newPlain},
	{name: scram256.name, check: checkLogin, new: scram256.new},
	{name: scram512.name, check: checkLogin, new: scram512.new},
}

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
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; "" for no SASL.
	Mechanism string
	// User is the name of the user, or the ID of a delegation token.
	User string
	// Password is the user's password, or the HMAC of a delegation token in base64, as
	// Kafka's tools print it. Brokers expect it in that form, not decoded.
	Password string
	// TokenAuth says that User and Password are a delegation token (KIP-48).
	TokenAuth bool
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

// SendsSecret reports whether the mechanism sends the password as it is, so that it needs TLS.
func (c Credentials) SendsSecret() bool { return c.mechanism().sendsSecret }

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
func New(c Credentials) (sasl.Mechanism, error) {
	if problems := c.Check(); len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "; "))
	}
	return c.mechanism().new(c)
}

// Redactor returns what keeps c out of texts of others: the password, what PLAIN sends of
// user and password, and the ID of a delegation token. A user's name is not a secret; it
// would be found in the names of hosts and topics.
func (c Credentials) Redactor() *foreign.Redactor {
	if c.Password == "" {
		return nil
	}
	secrets := []string{c.Password, c.plain()}
	if c.TokenAuth {
		secrets = append(secrets, c.User)
	}
	return foreign.NewRedactor(secrets...)
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
