package main

import (
	"context"
	"log/slog"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/security"
	"kafka-upstream/internal/security/certs"
	secsasl "kafka-upstream/internal/security/sasl"
)

// secure returns how producers reach their brokers, and what ends that. The error names a
// flag that cannot be used.
func (o *options) secure(log *slog.Logger) (producer.Security, func(), error) {
	p, err := security.NewProvider(certs.Options{
		Dir: o.certificates, AdminURL: o.adminURL, AdminTokenFile: o.token, CAFile: o.ca, Log: log,
	})
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, c *config.Config) (producer.Access, error) {
		s := security.Settings{
			SASL: secsasl.Credentials{
				Mechanism: c.Authentication.Mechanism, User: c.Authentication.User,
				Password: c.Authentication.Password, TokenAuth: c.Authentication.TokenAuth,
			},
			TLS: c.Security.SSL, SkipVerify: !c.Security.SSLVerify, CertificateID: c.Security.CertificateID,
		}
		for _, server := range c.BootstrapServers {
			s.Servers = append(s.Servers, server.Address())
		}
		a, err := p.Access(ctx, s)
		if err != nil {
			return producer.Access{}, err
		}
		return producer.Access{
			TLS: a.TLS, SASL: a.SASL, Redact: a.Redact,
			Failed: a.Failed, Refused: security.AuthenticationFailed, Release: a.Release,
		}, nil
	}, p.Close, nil
}
