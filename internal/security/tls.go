package security

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// TLSOptions says how to speak TLS with brokers. Its zero value is the strict
// way: the broker's certificate must come from one of the system's CAs and be
// for the host that was dialed.
type TLSOptions struct {
	// CAFile names a PEM file with the CA certificates to trust instead of the
	// system's (the flag -ca-file).
	CAFile string
	// SkipVerify is ssl_verify=false: any certificate of a broker will do.
	SkipVerify bool
	// Certificate is presented to brokers that ask for one, in its newest
	// version at each connection. It may be nil.
	Certificate *Certificate
}

// TLSConfig returns how to speak TLS with brokers: version 1.2 or newer, and no
// ServerName, which whoever dials sets to the host. There is no
// session cache, so each connection presents the certificate anew. CAFile is
// read at each call; the error says in one sentence why it cannot be used.
func TLSConfig(o TLSOptions) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.SkipVerify}
	if o.CAFile != "" && !o.SkipVerify {
		roots := x509.NewCertPool()
		if err := addCAFile(roots, o.CAFile); err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	if o.Certificate != nil {
		config.GetClientCertificate = o.Certificate.newest
	}
	return config, nil
}

// addCAFile adds the CA certificates of a PEM file to the pool. As with the
// system's own bundles, a certificate that cannot be parsed is passed over as
// long as there are others.
func addCAFile(pool *x509.CertPool, file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the CA file %s cannot be read: %w", file, cause(err))
	}
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("the CA file %s holds no PEM certificate that can be used", file)
	}
	return nil
}

// cause takes off what an error of package os repeats: the operation and the
// path that our own sentence names.
func cause(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}
