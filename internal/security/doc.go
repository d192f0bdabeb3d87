// Package security makes what a kafka.Transport needs to reach brokers that
// want TLS, a client certificate, or SASL: a *tls.Config from [TLSConfig], a
// sasl.Mechanism from [NewMechanism], and certificates by their id in Kong from
// a [Certificates] store, which takes up rotated ones without a restart.
//
// Nothing here prints a password, a token's HMAC or a private key: not in an
// error, not in a log, and not when a value is formatted.
package security
