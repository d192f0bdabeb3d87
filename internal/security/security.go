// Package security makes what a producer needs to reach its brokers, from what the process
// and the configuration say about TLS and SASL.
package security

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"strings"
	"sync"

	kafkasasl "github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/security/certs"
	"kafka-upstream/internal/security/sasl"
)

// CertificateError is the error of [Provider.Access] if the certificate cannot be loaded.
type CertificateError = certs.Error

// TokenError is the error of a login for which there is no access token.
type TokenError = sasl.TokenError

// Settings are what a configuration says about the way to its brokers.
type Settings struct {
	Servers       []string         // bootstrap servers, for log lines
	SASL          sasl.Credentials // without a mechanism: none
	TLS           bool
	SkipVerify    bool   // of the brokers' certificates
	CertificateID string // of the client certificate in Kong; "" for none
}

// Access is how a producer reaches its brokers. The zero value is without TLS and SASL.
type Access struct {
	TLS     *tls.Config         // nil for none
	SASL    kafkasasl.Mechanism // nil for none
	Redact  *foreign.Redactor   // finds the secrets in what brokers send; nil if there are none
	Failed  func(error)         // to be told of each attempt that failed; nil if nobody needs it
	Release func()              // to be called when the producer is closed; nil for nothing
}

// Provider makes Access. Its methods may be called from many goroutines at once.
type Provider struct {
	caFile string
	certs  *certs.Store
	log    *slog.Logger
	warned sync.Map // servers and credentials with a secret that is sent in the clear
}

// NewProvider returns a provider for a process with these options, whose CAFile is also that
// of brokers. The error names the option that cannot be used.
func NewProvider(o certs.Options) (*Provider, error) {
	if _, err := tlsConfig(o.CAFile, false); err != nil {
		return nil, err
	}
	store, err := certs.New(o)
	if err != nil {
		return nil, err
	}
	return &Provider{caFile: o.CAFile, certs: store, log: o.Log}, nil
}

// Certificates returns the client certificates, for others that present them.
func (p *Provider) Certificates() *certs.Store { return p.certs }

// Close ends the background work. What is in use stays usable.
func (p *Provider) Close() { p.certs.Close() }

// Offer is [certs.Store.Offer].
func (p *Provider) Offer(id string, cert, key []byte) { p.certs.Offer(id, cert, key) }

// Access returns the way to the brokers of a configuration, to be released. It may wait for
// the certificate, until ctx ends; not for an access token. After an error another call may
// succeed.
func (p *Provider) Access(ctx context.Context, s Settings) (a Access, err error) {
	if s.TLS {
		if err := p.addTLS(ctx, s, &a); err != nil {
			return Access{}, err
		}
	}
	if s.SASL.Mechanism != "" {
		if err := p.addSASL(s, &a); err != nil {
			if a.Release != nil {
				a.Release()
			}
			return Access{}, err
		}
	}
	return a, nil
}

func (p *Provider) addTLS(ctx context.Context, s Settings, a *Access) (err error) {
	a.TLS, err = tlsConfig(p.caFile, s.SkipVerify)
	if err != nil || s.CertificateID == "" {
		return err
	}
	certificate, err := p.certs.Acquire(ctx, s.CertificateID)
	if err != nil {
		return err
	}
	a.TLS.GetClientCertificate, a.Release = certificate.Present, certificate.Release
	a.Failed = func(err error) {
		// With TLS 1.3, a broker that rejects the certificate may show only as a disconnect.
		if kafkaerr.IsAuthentication(err) || kafkaerr.IsDisconnected(err) {
			certificate.Recheck()
		}
	}
	return nil
}

func (p *Provider) addSASL(s Settings, a *Access) (err error) {
	a.SASL, err = sasl.New(s.SASL, sasl.Env{CAFile: p.caFile, Log: p.log})
	if err != nil {
		return err
	}
	a.Redact = s.SASL.Redactor()
	if m, ok := a.SASL.(sasl.TokenMechanism); ok {
		certificate := a.Release
		a.Release = func() {
			m.Close()
			if certificate != nil {
				certificate()
			}
		}
		a.Redact = a.Redact.With(m.Secrets)
	}
	if secret := s.SASL.Sends(); secret != "" && !s.TLS {
		p.warn(s, secret)
	}
	return nil
}

// warn logs once for the credentials of a cluster that their secret is sent in the clear.
func (p *Provider) warn(s Settings, secret string) {
	servers := strings.Join(s.Servers, ",")
	if _, again := p.warned.LoadOrStore([2]string{servers, s.SASL.Name()}, true); again {
		return
	}
	// With, so that the logger does not count it as a repetition for another cluster.
	p.log.With("servers", servers).Warn(secret + " goes to the brokers in the clear: set security.ssl, or use a SCRAM mechanism")
}

// tlsConfig returns how to speak TLS with brokers: version 1.2 or newer, and without a
// ServerName, which the dialer sets to the host. Without a session cache each connection
// presents the client certificate anew. caFile is read at each call.
func tlsConfig(caFile string, skipVerify bool) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: skipVerify}
	if caFile != "" && !skipVerify {
		config.RootCAs = x509.NewCertPool() // instead of the system's
		if err := certs.AddCAFile(config.RootCAs, caFile); err != nil {
			return nil, err
		}
	}
	return config, nil
}
