package main

import (
	"context"
	"log/slog"
	"sync"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/security"
)

// secure returns how producers get at their brokers, and what ends that. The
// error names a flag that cannot be used.
func (o *options) secure(log *slog.Logger) (producer.Security, func(), error) {
	if _, err := security.TLSConfig(security.TLSOptions{CAFile: o.ca}); err != nil {
		return nil, nil, err
	}
	certificates, err := security.NewCertificates(security.CertificatesOptions{
		Dir: o.certificates, AdminURL: o.adminURL, AdminTokenFile: o.token, CAFile: o.ca, Logger: log,
	})
	if err != nil {
		return nil, nil, err
	}
	var warned sync.Map // digests of configurations: several workers ask at the same time
	return func(ctx context.Context, c *config.Config) (producer.Access, error) {
		var a producer.Access
		if c.Authentication.Mechanism == "PLAIN" && !c.Security.SSL {
			if _, again := warned.LoadOrStore(c.Digest(), true); !again {
				// With is for a line of its own: the logger leaves out what it has just said.
				log.With("topic", c.Topic).Warn("the password goes to the brokers in the clear: set security.ssl, or use a SCRAM mechanism")
			}
		}
		if auth := c.Authentication; auth.Mechanism != "" {
			credentials := security.Credentials{
				Mechanism: auth.Mechanism, User: auth.User, Password: auth.Password, TokenAuth: auth.TokenAuth,
			}
			a.Redact = credentials.Redactor()
			var err error
			if a.SASL, err = security.NewMechanism(credentials); err != nil {
				return a, err
			}
		}
		if !c.Security.SSL {
			return a, nil
		}
		tls := security.TLSOptions{CAFile: o.ca, SkipVerify: !c.Security.SSLVerify}
		if id := c.Security.CertificateID; id != "" {
			certificate, err := certificates.Acquire(ctx, id)
			if err != nil {
				return a, err
			}
			tls.Certificate = certificate
			a.Release = certificate.Release
			a.Failed = func(err error) {
				if kafkaerr.IsAuthentication(err) || kafkaerr.IsDisconnected(err) {
					certificate.Relook()
				}
			}
		}
		config, err := security.TLSConfig(tls)
		if err != nil && a.Release != nil {
			a.Release()
		}
		a.TLS = config
		return a, err
	}, certificates.Close, nil
}
