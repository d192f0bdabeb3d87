package sasl

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"sync"
)

// tokenExtension tells the broker that the user is the ID of a delegation token (KIP-48;
// ScramExtensions in Kafka). xdg-go cannot send an extension, and the proof signs it, so it
// cannot be added to xdg-go's messages.
const tokenExtension = ",tokenauth=true"

// escapeName makes a saslname of RFC 5802, section 5.1.
var escapeName = strings.NewReplacer("=", "=3D", ",", "=2C")

// tokenClient is SCRAM with a delegation token.
type tokenClient struct {
	redacted
	algorithm
	id, hmac  string
	extension string        // tokenExtension; "" to test against the RFCs
	newNonce  func() string // rand.Text; a constant to test against the RFCs

	mu   sync.Mutex
	keys map[keyFactors]scramKeys
}

// scramKeys are what an exchange needs of a secret.
type scramKeys struct{ client, stored, server []byte }

var _ client = (*tokenClient)(nil)

func newTokenClient(a algorithm, id, hmac string) *tokenClient {
	return &tokenClient{
		algorithm: a,
		id:        id,
		hmac:      hmac,
		extension: tokenExtension,
		newNonce:  rand.Text, // 130 bits, without a comma
		keys:      map[keyFactors]scramKeys{},
	}
}

func (c *tokenClient) begin() (p prover, first, nonce string, err error) {
	nonce = c.newNonce()
	bare := "n=" + escapeName.Replace(c.id) + ",r=" + nonce + c.extension
	return &tokenProver{client: c, bare: bare}, "n,," + bare, nonce, nil
}

type tokenProver struct {
	client    *tokenClient
	bare      string // client-first-message-bare
	signature []byte // what the broker must answer
}

func (p *tokenProver) prove(challenge string, parsed serverFirst) (string, error) {
	c := p.client
	keys, err := c.derive(parsed.keyFactors)
	if err != nil {
		return "", err
	}
	withoutProof := "c=biws,r=" + parsed.nonce // biws is "n,," in base64
	message := p.bare + "," + challenge + "," + withoutProof
	proof := c.mac(keys.stored, message)
	subtle.XORBytes(proof, proof, keys.client)
	p.signature = c.mac(keys.server, message)
	return withoutProof + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

func (p *tokenProver) verify(_ string, signature []byte) error {
	if !hmac.Equal(signature, p.signature) {
		return errSignature
	}
	return nil
}

// derive returns the keys for a salt and a number of iterations.
func (c *tokenClient) derive(factors keyFactors) (scramKeys, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if keys, ok := c.keys[factors]; ok {
		return keys, nil
	}
	salted, err := pbkdf2.Key(c.hash, c.hmac, []byte(factors.salt), factors.iterations, c.hash().Size())
	if err != nil {
		return scramKeys{}, err
	}
	keys := scramKeys{client: c.mac(salted, "Client Key"), server: c.mac(salted, "Server Key")}
	h := c.hash()
	h.Write(keys.client)
	keys.stored = h.Sum(nil)
	if len(c.keys) >= maxKeys {
		clear(c.keys)
	}
	c.keys[factors] = keys
	return keys, nil
}

func (c *tokenClient) mac(key []byte, message string) []byte {
	h := hmac.New(c.hash, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}
