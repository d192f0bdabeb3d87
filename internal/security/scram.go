package security

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/xdg-go/scram"

	"kafka-upstream/internal/foreign"
)

// scramAlgorithm is one SCRAM mechanism: its name and its hash.
type scramAlgorithm struct {
	name string
	hash func() hash.Hash
}

var scramAlgorithms = map[string]scramAlgorithm{
	scram256Name: {scram256Name, sha256.New},
	scram512Name: {scram512Name, sha512.New},
}

// maxKeyFactors is how many (salt, iterations) a mechanism remembers keys for.
// A user has one salt, and a new one after a change of the password, so there
// is more only with a broker that makes them up.
const maxKeyFactors = 8

var errSignature = errors.New("the broker's signature is wrong: it does not know this user's password, so it is not the broker it should be")

// prover is one side's knowledge of the password, for one exchange.
type prover interface {
	// prove answers the challenge with the client-final-message.
	prove(challenge string, parsed serverFirst) (string, error)
	// verify returns errSignature unless the broker knows the password too.
	verify(final string, signature []byte) error
}

// exchange is the order of a SCRAM exchange, and all its checks of what the
// broker says, whoever computes the proofs.
type exchange struct {
	redacted
	prover
	mechanism string
	secrets   *foreign.Redactor
	nonce     string // ours
	step      int
}

var _ sasl.StateMachine = (*exchange)(nil)

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
		return false, nil, newSASLError(ctx, e.mechanism, err)
	}
	return done, response, nil
}

func (e *exchange) answer(challenge string) ([]byte, error) {
	parsed, err := parseServerFirst(challenge, e.nonce)
	if err != nil {
		return nil, err
	}
	response, err := e.prove(challenge, parsed)
	return []byte(response), err
}

func (e *exchange) finish(final string) error {
	signature, err := parseServerFinal(final)
	if refused, ok := errors.AsType[refusedError](err); ok {
		return refusedError(e.secrets.Redact(string(refused))) // before it is cut
	}
	if err != nil {
		return err
	}
	return e.verify(final, signature)
}

// scramMechanism is SCRAM with a user's password, over xdg-go's client. Its
// Client keeps the keys it derived, so PBKDF2 runs once, not per connection.
type scramMechanism struct {
	redacted
	algorithm scramAlgorithm
	secrets   *foreign.Redactor
	newClient func() *scram.Client

	mu     sync.Mutex
	client *scram.Client
	seen   map[keyFactors]struct{} // of client's keys
}

var _ sasl.Mechanism = (*scramMechanism)(nil)

func newScram(algorithm scramAlgorithm, user, password string) (*scramMechanism, error) {
	generator := scram.HashGeneratorFcn(algorithm.hash)
	// Unprepped: Kafka stores and compares plain UTF-8 (its ScramFormatter).
	client, err := generator.NewClientUnprepped(user, password, "")
	if err != nil {
		return nil, fmt.Errorf("the SASL credentials cannot be used for %s", algorithm.name)
	}
	return &scramMechanism{
		redacted:  redacted("SASL " + algorithm.name),
		algorithm: algorithm,
		secrets:   foreign.NewRedactor(password),
		newClient: func() *scram.Client {
			client, _ := generator.NewClientUnprepped(user, password, "")
			return client
		},
		client: client,
		seen:   map[keyFactors]struct{}{},
	}, nil
}

func (m *scramMechanism) Name() string { return m.algorithm.name }

func (m *scramMechanism) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	m.mu.Lock()
	conversation := m.client.NewConversation()
	m.mu.Unlock()
	first, err := conversation.Step("")
	if err != nil {
		return nil, nil, newSASLError(ctx, m.algorithm.name, errors.New("the exchange could not be started"))
	}
	// The nonce is last, and a comma in the user's name is escaped.
	nonce := first[strings.LastIndex(first, ",r=")+len(",r="):]
	return &exchange{
		redacted:  m.redacted,
		prover:    &scramProver{mechanism: m, conversation: conversation},
		mechanism: m.algorithm.name,
		secrets:   m.secrets,
		nonce:     nonce,
	}, []byte(first), nil
}

type scramProver struct {
	mechanism    *scramMechanism
	conversation *scram.ClientConversation
}

// prove holds the mechanism's mutex: of ten connections that start at once, one
// derives the keys and nine find them, and a broker with a new salt for each
// connection occupies one core at most.
func (p *scramProver) prove(challenge string, parsed serverFirst) (string, error) {
	m := p.mechanism
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.seen[parsed.keyFactors]; !ok {
		if len(m.seen) >= maxKeyFactors {
			m.client = m.newClient() // its cache has no bound of its own
			clear(m.seen)
		}
		m.seen[parsed.keyFactors] = struct{}{}
	}
	response, err := p.conversation.Step(challenge)
	if err != nil {
		return "", errors.New("the broker's SCRAM challenge cannot be answered")
	}
	return response, nil
}

func (p *scramProver) verify(final string, _ []byte) error {
	if _, err := p.conversation.Step(final); err != nil || !p.conversation.Valid() {
		return errSignature
	}
	return nil
}
