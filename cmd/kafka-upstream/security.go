package main

import (
	"context"
	"log/slog"

	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record/registry"
	"kafka-upstream/internal/security"
	"kafka-upstream/internal/security/certs"
)

// secure returns the function that gives producers access to their brokers, the schemas of
// registries, and the function that ends the background work of both. The error names a flag
// that cannot be used.
func (o *options) secure(log *slog.Logger) (producer.Security, *registry.Pool, func(), error) {
	p, err := security.NewProvider(certs.Options{
		Dir: o.certificates, AdminURL: o.adminURL, AdminTokenFile: o.token, CAFile: o.ca, Log: log,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	schemas := registry.NewPool(registry.Env{CAFile: o.ca, Certs: p.Certificates(), Log: log})
	release := func() {
		schemas.Close() // before the certificates, which it holds
		p.Close()
	}
	return func(ctx context.Context, o producer.Options) (producer.Access, error) {
		return p.Access(ctx, security.Settings{
			Servers: o.Servers, SASL: o.SASL, TLS: o.TLS, SkipVerify: o.SkipVerify, CertificateID: o.CertificateID,
		})
	}, schemas, release, nil
}
