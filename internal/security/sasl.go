package security

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/foreign"
)

// The mechanisms, by the names they have in Kafka and in Kong's configuration.
const (
	plainName    = "PLAIN"
	scram256Name = "SCRAM-SHA-256"
	scram512Name = "SCRAM-SHA-512"
)

// Credentials are what one configuration says about SASL. They print as the
// name of the mechanism alone. (In an unexported field of a struct without own
// methods, fmt would still print them: it calls no methods there.)
type Credentials struct {
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
	Mechanism string
	// User is the user's name, or the id of a delegation token.
	User string
	// Password is the user's password, or a delegation token's HMAC in base64,
	// as Kafka's tools print it and its brokers take it: not decoded.
	Password string
	// TokenAuth says that User and Password are a delegation token (KIP-48),
	// which takes a SCRAM mechanism.
	TokenAuth bool
}

func (c Credentials) redacted() redacted { return redacted("SASL " + c.Mechanism) }

// String returns the name of the mechanism.
func (c Credentials) String() string { return c.redacted().String() }

// GoString returns the name of the mechanism.
func (c Credentials) GoString() string { return c.redacted().GoString() }

// Format writes the name of the mechanism, whatever the verb.
func (c Credentials) Format(f fmt.State, verb rune) { c.redacted().Format(f, verb) }

// LogValue returns the name of the mechanism.
func (c Credentials) LogValue() slog.Value { return c.redacted().LogValue() }

// MarshalText returns the name of the mechanism: it keeps the password out of
// JSON.
func (c Credentials) MarshalText() ([]byte, error) { return c.redacted().MarshalText() }

// Redactor returns what keeps c out of texts of others: the password, what PLAIN sends
// of user and password, and the id of a delegation token. The name of a user is no
// secret: it would be found in the names of hosts and topics.
func (c Credentials) Redactor() *foreign.Redactor {
	if c.Password == "" {
		return nil
	}
	secrets := []string{c.Password, "\x00" + c.User + "\x00" + c.Password}
	if c.TokenAuth {
		secrets = append(secrets, c.User)
	}
	return foreign.NewRedactor(secrets...)
}

// NewMechanism returns what kafka.Transport takes as SASL, or an error that says
// in one sentence what is wrong with the credentials, without telling them. It
// prints as the name of the mechanism, may be used by many connections at once,
// and should be kept: it remembers the keys derived from the password.
//
// User and password are sent as they are, in UTF-8 and without SASLprep, which
// Kafka does not apply either. The SCRAM of Apache Kafka takes user names in
// ASCII only (its ScramMessages); others are for the broker to refuse.
func NewMechanism(c Credentials) (sasl.Mechanism, error) {
	switch c.Mechanism {
	case plainName, scram256Name, scram512Name:
	default:
		return nil, fmt.Errorf("the SASL mechanism %.32q is not known: use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", c.Mechanism)
	}
	for _, field := range []struct{ name, value string }{{"user", c.User}, {"password", c.Password}} {
		switch {
		case field.value == "":
			// A reference to a vault that cannot be resolved arrives as "".
			return nil, fmt.Errorf("the SASL %s is empty: set it, or mend the reference that it comes from", field.name)
		case !utf8.ValidString(field.value):
			return nil, fmt.Errorf("the SASL %s is not UTF-8, which Kafka needs", field.name)
		case strings.Contains(field.value, "\x00"):
			// RFC 4616 and RFC 5802 both exclude it, and in PLAIN it would
			// end the field.
			return nil, fmt.Errorf("the SASL %s holds a NUL character, which SASL cannot send", field.name)
		}
	}
	switch {
	case c.Mechanism != plainName && c.TokenAuth:
		return newToken(scramAlgorithms[c.Mechanism], c.User, c.Password), nil
	case c.Mechanism != plainName:
		return newScram(scramAlgorithms[c.Mechanism], c.User, c.Password)
	case c.TokenAuth:
		return nil, errors.New("a delegation token (tokenauth) needs the SASL mechanism SCRAM-SHA-256 or SCRAM-SHA-512, not PLAIN")
	}
	return &plain{redacted: c.redacted(), response: []byte("\x00" + c.User + "\x00" + c.Password)}, nil
}

// plain is the PLAIN mechanism (RFC 4616): one message, which the broker answers
// with success, or with an error that kafka-go reports.
type plain struct {
	redacted
	response []byte
}

var (
	_ sasl.Mechanism    = (*plain)(nil)
	_ sasl.StateMachine = (*plain)(nil)
)

func (p *plain) Name() string { return plainName }

func (p *plain) Start(context.Context) (sasl.StateMachine, []byte, error) {
	return p, p.response, nil
}

func (p *plain) Next(context.Context, []byte) (bool, []byte, error) { return true, nil, nil }

// saslError is an exchange that we ended, not the broker.
type saslError struct {
	mechanism string
	broker    string // host:port, if known
	err       error
}

func newSASLError(ctx context.Context, mechanism string, err error) error {
	e := &saslError{mechanism: mechanism, err: err}
	if m := sasl.MetadataFromContext(ctx); m != nil {
		e.broker = net.JoinHostPort(m.Host, fmt.Sprint(m.Port))
	}
	return e
}

func (e *saslError) Error() string {
	with := ""
	if e.broker != "" {
		with = " with broker " + e.broker
	}
	return "SASL " + e.mechanism + with + ": " + e.err.Error()
}

func (e *saslError) Unwrap() error { return e.err }

// AuthenticationFailed classifies the error for kafkaerr.
func (e *saslError) AuthenticationFailed() bool { return true }
