// Package testcert makes a certificate authority on the spot, and server and
// client certificates from it: for tests and the demo, never for production.
package testcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Lifetime is how long a certificate is valid unless Request says otherwise.
// It begins an hour ago, so that clocks may differ a little.
const Lifetime = 24 * time.Hour

// CA is a certificate authority. Its methods may be called concurrently. They
// panic where no certificate can be made, which takes a host name that no
// certificate can hold.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes a CA of that name.
func New(name string) *CA {
	key := newKey()
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(10 * Lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return &CA{cert: sign(template, template, key, key), key: key}
}

// PEM returns the CA's certificate, as -ca-file and truststores want it.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

// Pool returns a pool that trusts this CA alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Request says what certificate to issue.
type Request struct {
	// Name is the subject's common name: whom a broker sees.
	Name string
	// Hosts are the DNS names and IP addresses of a server. With none, the
	// certificate is good for a client only.
	Hosts []string
	// ClientOnly is for a certificate that is not good for a server, though it
	// has hosts.
	ClientOnly bool
	// NotBefore and NotAfter bound the validity; zero means as Lifetime says.
	NotBefore, NotAfter time.Time
}

// Issue returns a certificate and its key.
func (ca *CA) Issue(r Request) Pair {
	now := time.Now()
	if r.NotBefore.IsZero() {
		r.NotBefore = now.Add(-time.Hour)
	}
	if r.NotAfter.IsZero() {
		r.NotAfter = now.Add(Lifetime)
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: r.Name},
		NotBefore:    r.NotBefore,
		NotAfter:     r.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(r.Hosts) > 0 && !r.ClientOnly {
		// Brokers are each other's clients too.
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, host := range r.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	key := newKey()
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sign(template, ca.cert, key, ca.key).Raw}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))}),
	}
}

// Client issues a certificate for the client of that name.
func (ca *CA) Client(name string) Pair { return ca.Issue(Request{Name: name}) }

// Server issues a certificate for a server with these host names and addresses.
func (ca *CA) Server(hosts ...string) Pair {
	return ca.Issue(Request{Name: "server", Hosts: hosts})
}

// ServerConfig returns the TLS configuration of a server with these host names
// and addresses, which asks no certificate of its clients.
func (ca *CA) ServerConfig(hosts ...string) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{ca.Server(hosts...).TLS()},
	}
}

// MutualConfig is ServerConfig for a server whose clients must present a
// certificate of this CA.
func (ca *CA) MutualConfig(hosts ...string) *tls.Config {
	config := ca.ServerConfig(hosts...)
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = ca.Pool()
	return config
}

// Pair is a certificate and its key, both in PEM. The key is in PKCS #8, the
// one form that Kafka's own PEM stores read too.
type Pair struct{ Cert, Key []byte }

// TLS returns the pair as crypto/tls wants it. It panics on a pair that this
// package did not make.
func (p Pair) TLS() tls.Certificate { return must(tls.X509KeyPair(p.Cert, p.Key)) }

// Write puts the pair into dir as name.crt and name.key.
func (p Pair) Write(dir, name string) error {
	if err := os.WriteFile(filepath.Join(dir, name+".crt"), p.Cert, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".key"), p.Key, 0o600)
}

// must returns v, and panics where it could not be made.
func must[T any](v T, err error) T {
	if err != nil {
		panic("testcert: " + err.Error())
	}
	return v
}

func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func serial() *big.Int { return must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))) }

func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer))))
}
