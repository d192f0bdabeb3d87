// Package awsiam makes what Amazon MSK's SASL mechanism AWS_MSK_IAM sends: a request for
// kafka-cluster:Connect, signed with Signature Version 4 by the credentials of an IAM role or
// user. Nothing in it prints a secret key or a session token: not in an error, not in a log,
// not when a value is formatted.
package awsiam

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"kafka-upstream/internal/foreign"
)

// Options are what a configuration says about AWS. Credentials come from the first of these
// sources that it names. No other is tried, because it may be a role with other permissions.
//
//  1. keys: AccessKeyID, SecretAccessKey, and SessionToken for temporary ones
//  2. a web identity, as EKS gives service accounts (IRSA): RoleARN and WebIdentityTokenFile
//  3. a container endpoint, of ECS or of EKS Pod Identity: ContainerURI
//  4. the instance's role, from EC2's metadata service (IMDSv2)
//
// Where no field of the first three is set, the environment variables that AWS names for them
// stand in. Options print as "[redacted]", except in an unexported field of a struct without
// methods, where fmt calls none.
type Options struct {
	// Region of the cluster, such as eu-central-1; "": AWS_REGION or AWS_DEFAULT_REGION.
	Region string

	AccessKeyID, SecretAccessKey, SessionToken string

	RoleARN              string
	WebIdentityTokenFile string // read at each renewal
	RoleSessionName      string // "": kafka-upstream

	// ContainerURI is a path at 169.254.170.2, or a URL with http whose host is that of ECS,
	// of EKS Pod Identity or of this machine.
	ContainerURI       string
	ContainerTokenFile string // with what is sent as Authorization; read at each renewal
}

// Env is what a process gives its Signers.
type Env struct {
	CAFile string // authorities to trust for STS, in addition to the system's; "" for none
	Log    *slog.Logger
}

// Signer signs payloads, with credentials that it keeps and renews. Its methods may be called
// from many goroutines at once.
type Signer struct {
	redacted
	region string
	kept   *renewer

	mu   sync.Mutex
	sent [16]string // what of the latest payloads must not be shown
	next int        // index in sent
}

// New returns a Signer, which opens nothing before it is asked for a payload. The error says
// what is wrong with the options, without their secrets.
func New(o Options, env Env) (*Signer, error) {
	if problems := o.Check("authentication.aws."); len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "; "))
	}
	if err := o.addEnvironment(); err != nil {
		return nil, err
	}
	source, err := o.source(env.CAFile)
	if err != nil {
		return nil, err
	}
	return &Signer{region: o.Region, kept: newRenewer(source, env.Log)}, nil
}

// Ready waits for valid credentials: only if there are none, for five seconds at most, and
// not longer than ctx. The error is a *[CredentialsError].
func (s *Signer) Ready(ctx context.Context) error {
	_, err := s.credentials(ctx)
	return err
}

func (s *Signer) credentials(ctx context.Context) (credentials, error) {
	c, err := s.kept.get(ctx)
	if err != nil {
		return c, &CredentialsError{err}
	}
	return c, nil
}

// Payload returns the message that logs in at a broker, given by its host name without a port.
// Anyone who has it can log in at that broker until 15 minutes after now. It waits as Ready does.
func (s *Signer) Payload(ctx context.Context, host string, now time.Time) ([]byte, error) {
	c, err := s.credentials(ctx)
	if err != nil {
		return nil, err
	}
	b, signature := payload(c, s.region, strings.TrimSuffix(strings.ToLower(host), "."), now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range []string{signature, c.sessionToken} {
		if !slices.Contains(s.sent[:], secret) {
			s.sent[s.next] = secret
			s.next = (s.next + 1) % len(s.sent)
		}
	}
	return b, nil
}

// Secrets returns the session tokens and the signatures of the latest payloads, for
// [foreign.NewRedactor].
func (s *Signer) Secrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent[:])
}

// Renew has the credentials renewed soon, at most once a minute, and returns at once. It is for
// a broker that refused them: the session of the role may have been revoked.
func (s *Signer) Renew() { s.kept.renew() }

// Close ends the renewal of the credentials and waits for that. Those that are valid can
// still be used. Close may be called again.
func (s *Signer) Close() { s.kept.close() }

// CredentialsError says that there are no valid credentials. Its text names the cause and
// the cure in one sentence. A later attempt may succeed.
type CredentialsError struct{ Err error }

func (e *CredentialsError) Error() string {
	return "could not get AWS credentials: " + foreign.Text(e.Err.Error())
}

// Unwrap returns the cause.
func (e *CredentialsError) Unwrap() error { return e.Err }
