package sasl

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/security/awsiam"
)

const awsMSKIAMName = "AWS_MSK_IAM"

// awsMSKIAM is the mechanism AWS_MSK_IAM of Amazon MSK: one message, signed with AWS credentials
// for the broker's name, which the broker accepts with an answer, or refuses with an error that
// kafka-go returns.
type awsMSKIAM struct {
	redacted
	signer *awsiam.Signer
}

var (
	_ TokenMechanism    = (*awsMSKIAM)(nil)
	_ sasl.StateMachine = (*awsMSKIAM)(nil)
)

func checkAWSMSKIAM(c Credentials) []string {
	problems := c.AWS.Check("authentication.aws.")
	if c.TokenAuth {
		problems = append(problems, "authentication.tokenauth is only valid with a SCRAM mechanism")
	}
	return problems
}

func newAWSMSKIAM(c Credentials, env Env) (sasl.Mechanism, error) {
	signer, err := awsiam.New(c.AWS, awsiam.Env{CAFile: env.CAFile, Log: env.Log})
	if err != nil {
		return nil, err
	}
	return &awsMSKIAM{signer: signer}, nil
}

func awsMSKIAMSecrets(c Credentials) []string { return c.AWS.Secrets() }

// Name implements sasl.Mechanism.
func (m *awsMSKIAM) Name() string { return awsMSKIAMName }

// Ready implements TokenMechanism.
func (m *awsMSKIAM) Ready(ctx context.Context) error { return noCredentials(ctx, m.signer.Ready(ctx)) }

// Start implements sasl.Mechanism.
func (m *awsMSKIAM) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	broker := sasl.MetadataFromContext(ctx)
	if broker == nil {
		return nil, nil, newExchangeError(ctx, awsMSKIAMName, errors.New("the broker's name is not known"))
	}
	payload, err := m.signer.Payload(ctx, broker.Host, time.Now())
	if err != nil {
		return nil, nil, noCredentials(ctx, err)
	}
	return m, payload, nil
}

// noCredentials returns the error of a login for which there are no credentials; nil stays nil.
func noCredentials(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Cause(ctx)
	}
	return NewTokenError(err)
}

// Next implements sasl.StateMachine.
func (m *awsMSKIAM) Next(ctx context.Context, answer []byte) (bool, []byte, error) {
	if err := awsiam.CheckAnswer(answer); err != nil {
		return false, nil, newExchangeError(ctx, awsMSKIAMName, err)
	}
	return true, nil, nil
}

// Rejected implements TokenMechanism.
func (m *awsMSKIAM) Rejected(err error) error {
	if errors.Is(err, kafka.SASLAuthenticationFailed) {
		m.signer.Renew()
	}
	return err
}

// Secrets implements TokenMechanism.
func (m *awsMSKIAM) Secrets() []string { return m.signer.Secrets() }

// Close implements TokenMechanism.
func (m *awsMSKIAM) Close() { m.signer.Close() }
