package config

import (
	"time"

	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/security/awsiam"
	"kafka-upstream/internal/security/oauth"
	"kafka-upstream/internal/security/sasl"
)

// keepalive is how long an idle connection is kept where keepalive_enabled is false.
const keepalive = 10 * time.Second

// Producer returns the settings of the configuration's producer. What goes into the
// message (forward_*) is not among them, nor is the topic, nor cluster_name, which Kong
// makes up anew with each declarative configuration it loads.
func (c *Config) Producer() producer.Options {
	o := producer.Options{
		TLS:            c.Security.SSL,
		SkipVerify:     !c.Security.SSLVerify,
		CertificateID:  c.Security.CertificateID,
		SASL:           c.Authentication.credentials(),
		Acks:           c.Acks,
		Idempotent:     c.Acks == -1 && (c.Idempotent == nil || *c.Idempotent),
		RequestTimeout: c.RequestTimeout.Duration(),
		Timeout:        c.Timeout.Duration(),
		Keepalive:      keepalive,
		MaxAttempts:    max(c.MaxAttempts, 1),
		Backoff:        c.Backoff.Duration(),
		BatchRecords:   c.MessagesPerRequest,
		BatchBytes:     c.BytesPerRequest,
		Compression:    c.Compression,
		Partitioner:    c.Partitioner,
		Async:          c.Async,
		Durable:        c.Durable,
		Linger:         c.FlushTimeout.Duration(),
		BufferRecords:  c.BufferedMessages,
		BufferBytes:    c.BufferedBytes,
	}
	for _, s := range c.BootstrapServers {
		o.Servers = append(o.Servers, s.Address())
		if o.SASL.AWS.Region == "" {
			o.SASL.AWS.Region = awsiam.RegionOf(s.Host)
		}
	}
	if c.HealthGating {
		o.HealthGating = producer.HealthGating{Failures: c.HealthFailures, ProbeInterval: c.HealthProbe.Duration(), Recoveries: c.HealthRecoveries}
	}
	if c.KeepaliveEnabled {
		o.Keepalive = max(c.Keepalive.Duration(), time.Millisecond)
	}
	return o
}

func (a Authentication) credentials() sasl.Credentials {
	o := &a.OAuthBearer
	return sasl.Credentials{
		Mechanism: a.Mechanism, User: a.User, Password: a.Password, TokenAuth: a.TokenAuth,
		OAuth: oauth.Options{
			TokenURL: o.TokenEndpointURL, ClientID: o.ClientID, ClientSecret: o.ClientSecret, Scopes: o.Scopes, SkipVerify: !o.TLSVerify,
		},
		TokenFile: o.TokenFile, Extensions: o.Extensions,
		AWS: a.AWS.options(),
	}
}
