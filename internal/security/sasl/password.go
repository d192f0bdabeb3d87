package sasl

import (
	"errors"
	"strings"
	"sync"

	"github.com/xdg-go/scram"
)

// passwordClient is SCRAM with a user's password, over xdg-go's client.
type passwordClient struct {
	redacted
	newClient func() *scram.Client

	mu     sync.Mutex
	client *scram.Client           // caches keys without a limit
	seen   map[keyFactors]struct{} // of the keys that client caches
}

var _ client = (*passwordClient)(nil)

func newPasswordClient(a algorithm, user, password string) (*passwordClient, error) {
	generator := scram.HashGeneratorFcn(a.hash)
	// Unprepped: Kafka stores and compares plain UTF-8 (its ScramFormatter).
	first, err := generator.NewClientUnprepped(user, password, "")
	if err != nil {
		return nil, errors.New("the SASL credentials cannot be used for " + a.name)
	}
	return &passwordClient{
		newClient: func() *scram.Client {
			client, _ := generator.NewClientUnprepped(user, password, "")
			return client
		},
		client: first,
		seen:   map[keyFactors]struct{}{},
	}, nil
}

func (c *passwordClient) begin() (p prover, first, nonce string, err error) {
	c.mu.Lock()
	conversation := c.client.NewConversation()
	c.mu.Unlock()
	first, err = conversation.Step("")
	if err != nil {
		return nil, "", "", err
	}
	// The nonce comes last, and a comma in the user's name is escaped.
	nonce = first[strings.LastIndex(first, ",r=")+len(",r="):]
	return &passwordProver{c, conversation}, first, nonce, nil
}

type passwordProver struct {
	client       *passwordClient
	conversation *scram.ClientConversation
}

func (p *passwordProver) prove(challenge string, parsed serverFirst) (string, error) {
	c := p.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.seen[parsed.keyFactors]; !ok {
		if len(c.seen) >= maxKeys {
			c.client = c.newClient()
			clear(c.seen)
		}
		c.seen[parsed.keyFactors] = struct{}{}
	}
	return p.conversation.Step(challenge)
}

func (p *passwordProver) verify(final string, _ []byte) error {
	if _, err := p.conversation.Step(final); err != nil || !p.conversation.Valid() {
		return errSignature
	}
	return nil
}
