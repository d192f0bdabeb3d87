package sasl

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"

	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/foreign"
)

// algorithm is one of the SCRAM mechanisms: its name and its hash.
type algorithm struct {
	name string
	hash func() hash.Hash
}

var (
	scram256 = algorithm{"SCRAM-SHA-256", sha256.New}
	scram512 = algorithm{"SCRAM-SHA-512", sha512.New}
)

// new returns the mechanism: over xdg-go with a user's password, over the own client with a
// delegation token.
func (a algorithm) new(c Credentials, _ Env) (sasl.Mechanism, error) {
	m := &scramMechanism{name: a.name}
	if c.TokenAuth {
		m.client, m.secrets = newTokenClient(a, c.User, c.Password), foreign.NewRedactor(c.User, c.Password)
		return m, nil
	}
	client, err := newPasswordClient(a, c.User, c.Password)
	if err != nil {
		return nil, err
	}
	m.client, m.secrets = client, foreign.NewRedactor(c.Password)
	return m, nil
}

// scramMechanism is SCRAM (RFC 5802, RFC 7677) with the credentials of its client.
type scramMechanism struct {
	redacted
	name    string
	client  client
	secrets *foreign.Redactor
}

// client is the part of SCRAM that knows the secret. It computes the messages of all
// exchanges, and remembers the keys that it derived: PBKDF2 takes milliseconds, and each
// connection needs the same keys. It derives them under a mutex: of connections that start
// at once, one derives and the others find the keys, and a broker that sends a new salt to
// each connection keeps at most one core busy.
type client interface {
	// begin returns an exchange, its client-first-message, and the nonce in that.
	begin() (p prover, first, nonce string, err error)
}

// prover is the part of one exchange that knows the secret.
type prover interface {
	// prove returns the client-final-message, the answer to the broker's challenge.
	prove(challenge string, parsed serverFirst) (string, error)
	// verify returns errSignature if the server-final-message, or the signature in it, is
	// not of a broker that knows the secret too.
	verify(final string, signature []byte) error
}

// maxKeys is how many (salt, iterations) a client remembers keys for. A user has one salt,
// and another after a change of the password; only a false broker sends more.
const maxKeys = 8

var errSignature = errors.New("the broker's signature is wrong: the broker does not know this user's password, so it may not be the one that it should be")

var _ sasl.Mechanism = (*scramMechanism)(nil)

// Name implements sasl.Mechanism.
func (m *scramMechanism) Name() string { return m.name }

// Start implements sasl.Mechanism.
func (m *scramMechanism) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	p, first, nonce, err := m.client.begin()
	if err != nil {
		return nil, nil, newExchangeError(ctx, m.name, errors.New("the exchange cannot be started"))
	}
	return &exchange{mechanism: m, prover: p, nonce: nonce}, []byte(first), nil
}

// exchange is the order of one SCRAM exchange, and all checks of what the broker sends,
// whichever client computes the proofs.
type exchange struct {
	redacted
	prover
	mechanism *scramMechanism
	nonce     string // of the client
	step      int
}

var _ sasl.StateMachine = (*exchange)(nil)

// Next implements sasl.StateMachine.
func (e *exchange) Next(ctx context.Context, challenge []byte) (done bool, response []byte, err error) {
	switch e.step++; e.step {
	case 1:
		response, err = e.answer(string(challenge))
	case 2:
		done, err = true, e.finish(string(challenge))
	default:
		err = errors.New("the exchange is over")
	}
	if err != nil {
		e.step = 2
		return false, nil, newExchangeError(ctx, e.mechanism.name, err)
	}
	return done, response, nil
}

func (e *exchange) answer(challenge string) ([]byte, error) {
	parsed, err := parseServerFirst(challenge, e.nonce)
	if err != nil {
		return nil, err
	}
	response, err := e.prove(challenge, parsed)
	if err != nil {
		return nil, errors.New("the broker's SCRAM challenge cannot be answered")
	}
	return []byte(response), nil
}

func (e *exchange) finish(final string) error {
	signature, err := parseServerFinal(final)
	if refused, ok := errors.AsType[refusedError](err); ok {
		return refusedError(e.mechanism.secrets.Redact(string(refused))) // before it is cut
	}
	if err != nil {
		return err
	}
	return e.verify(final, signature)
}
