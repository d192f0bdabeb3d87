package main

import (
	"context"
	"log/slog"

	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/security"
	"kafka-upstream/internal/security/certs"
)

// secure returns what knows the secrets of the way to brokers. The error names a flag that
// cannot be used.
func (o *options) secure(log *slog.Logger) (*security.Provider, error) {
	return security.NewProvider(certs.Options{
		Dir: o.certificates, AdminURL: o.adminURL, AdminTokenFile: o.token, CAFile: o.ca, Log: log,
	})
}

// access returns the function that gives producers access to their brokers.
func access(p *security.Provider) producer.Security {
	return func(ctx context.Context, o producer.Options) (producer.Access, error) {
		return p.Access(ctx, security.Settings{
			Servers: o.Servers, SASL: o.SASL, TLS: o.TLS, SkipVerify: o.SkipVerify, CertificateID: o.CertificateID,
		})
	}
}
