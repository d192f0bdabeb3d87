package security

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"sync"

	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/foreign"
)

// tokenExtension tells the broker that the user is a delegation token's id
// (KIP-48; ScramExtensions in Kafka). xdg-go can send no extension, and it is
// part of what the proof signs, so it cannot be added to xdg-go's messages.
const tokenExtension = ",tokenauth=true"

// escapeName makes a saslname of RFC 5802, section 5.1.
var escapeName = strings.NewReplacer("=", "=3D", ",", "=2C")

// tokenMechanism is SCRAM (RFC 5802, RFC 7677) with a delegation token.
type tokenMechanism struct {
	redacted
	algorithm scramAlgorithm
	id, hmac  string
	secrets   *foreign.Redactor
	extension string        // tokenExtension; "" to test against the RFCs
	newNonce  func() string // likewise

	mu   sync.Mutex
	keys map[keyFactors]scramKeys
}

// scramKeys are what an exchange needs of a password.
type scramKeys struct{ client, stored, server []byte }

var _ sasl.Mechanism = (*tokenMechanism)(nil)

func newToken(algorithm scramAlgorithm, id, hmac string) *tokenMechanism {
	return &tokenMechanism{
		redacted:  redacted("SASL " + algorithm.name + " with a delegation token"),
		algorithm: algorithm,
		id:        id,
		hmac:      hmac,
		secrets:   foreign.NewRedactor(id, hmac),
		extension: tokenExtension,
		newNonce:  rand.Text, // 130 bits, without a comma
		keys:      map[keyFactors]scramKeys{},
	}
}

func (m *tokenMechanism) Name() string { return m.algorithm.name }

func (m *tokenMechanism) Start(context.Context) (sasl.StateMachine, []byte, error) {
	nonce := m.newNonce()
	bare := "n=" + escapeName.Replace(m.id) + ",r=" + nonce + m.extension
	return &exchange{
		redacted:  m.redacted,
		prover:    &tokenProver{mechanism: m, bare: bare},
		mechanism: m.algorithm.name,
		secrets:   m.secrets,
		nonce:     nonce,
	}, []byte("n,," + bare), nil
}

type tokenProver struct {
	mechanism *tokenMechanism
	bare      string // client-first-message-bare
	signature []byte // what the broker must answer
}

func (p *tokenProver) prove(challenge string, parsed serverFirst) (string, error) {
	m := p.mechanism
	keys, err := m.derive(parsed.keyFactors)
	if err != nil {
		return "", errors.New("the keys for the broker's SCRAM challenge cannot be derived")
	}
	withoutProof := "c=biws,r=" + parsed.nonce // biws is base64 of "n,,"
	message := p.bare + "," + challenge + "," + withoutProof
	proof := m.mac(keys.stored, message)
	subtle.XORBytes(proof, proof, keys.client)
	p.signature = m.mac(keys.server, message)
	return withoutProof + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

func (p *tokenProver) verify(_ string, signature []byte) error {
	if !hmac.Equal(signature, p.signature) {
		return errSignature
	}
	return nil
}

// derive returns the keys for that salt and number of iterations, computed at
// their first use; see scramProver.prove for why it does so under the mutex.
func (m *tokenMechanism) derive(factors keyFactors) (scramKeys, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if keys, ok := m.keys[factors]; ok {
		return keys, nil
	}
	size := m.algorithm.hash().Size()
	salted, err := pbkdf2.Key(m.algorithm.hash, m.hmac, []byte(factors.salt), factors.iterations, size)
	if err != nil {
		return scramKeys{}, err
	}
	keys := scramKeys{client: m.mac(salted, "Client Key"), server: m.mac(salted, "Server Key")}
	h := m.algorithm.hash()
	h.Write(keys.client)
	keys.stored = h.Sum(nil)
	if len(m.keys) >= maxKeyFactors {
		clear(m.keys)
	}
	m.keys[factors] = keys
	return keys, nil
}

func (m *tokenMechanism) mac(key []byte, message string) []byte {
	h := hmac.New(m.algorithm.hash, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}
