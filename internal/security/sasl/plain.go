package sasl

import (
	"context"

	"github.com/segmentio/kafka-go/sasl"
)

const plainName = "PLAIN"

// plain is the mechanism PLAIN (RFC 4616): one message, which the broker accepts, or refuses
// with an error that kafka-go returns.
type plain struct {
	redacted
	response []byte
}

var (
	_ sasl.Mechanism    = (*plain)(nil)
	_ sasl.StateMachine = (*plain)(nil)
)

func checkPlain(c Credentials) []string {
	problems := checkLogin(c)
	if c.TokenAuth {
		problems = append(problems, "authentication.tokenauth is only valid with a SCRAM mechanism")
	}
	return problems
}

func newPlain(c Credentials, _ Env) (sasl.Mechanism, error) {
	return &plain{response: []byte(c.plain())}, nil
}

// plain returns the message that PLAIN sends.
func (c Credentials) plain() string { return "\x00" + c.User + "\x00" + c.Password }

// Name implements sasl.Mechanism.
func (p *plain) Name() string { return plainName }

// Start implements sasl.Mechanism.
func (p *plain) Start(context.Context) (sasl.StateMachine, []byte, error) {
	return p, p.response, nil
}

// Next implements sasl.StateMachine.
func (p *plain) Next(context.Context, []byte) (bool, []byte, error) { return true, nil, nil }
