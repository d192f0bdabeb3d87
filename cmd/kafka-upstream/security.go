package main

import (
	"context"
	"log/slog"
	"strings"
	"sync"

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
	var warned sync.Map // keys of settings: several workers ask at the same time
	return func(ctx context.Context, p producer.Options) (producer.Access, error) {
		var a producer.Access
		if p.SASL.Mechanism == "PLAIN" && !p.TLS {
			if _, again := warned.LoadOrStore(p.Key(), true); !again {
				// With is for a line of its own: the logger leaves out what it has just said.
				log.With("servers", strings.Join(p.Servers, ",")).Warn("the password goes to the brokers in the clear: set security.ssl, or use a SCRAM mechanism")
			}
		}
		if p.SASL.Mechanism != "" {
			a.Redact = p.SASL.Redactor()
			var err error
			if a.SASL, err = security.NewMechanism(p.SASL); err != nil {
				return a, err
			}
		}
		if !p.TLS {
			return a, nil
		}
		tls := security.TLSOptions{CAFile: o.ca, SkipVerify: p.SkipVerify}
		if id := p.CertificateID; id != "" {
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
