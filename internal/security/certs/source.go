package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// maxSize bounds a response of the Admin API, and a file with a certificate, a key or a
// token, in bytes.
const maxSize = 1 << 20

// Options say where certificates come from.
type Options struct {
	// Dir is a directory with ID.crt (a certificate, and its chain after it) and ID.key, in
	// PEM (the flag -certificates). It takes precedence over the Admin API. "" for none.
	Dir string
	// AdminURL is Kong's Admin API: http://host:port or https://host:port, either with a
	// path, or unix:/path (the flag -admin-url). "" for none.
	AdminURL string
	// AdminTokenFile is a file with the Kong-Admin-Token (the flag -admin-token-file). It
	// is read for each load. "" for none.
	AdminTokenFile string
	// CAFile is a PEM file of authorities that the certificate of an Admin API under https
	// may be from, in addition to the system's (the flag -ca-file). "" for none.
	CAFile string
	Log    *slog.Logger // not for first loads that fail, whose error is returned
}

// source loads certificates from a directory, or else takes those that Kong has offered, or
// else loads them from Kong's Admin API.
type source struct {
	dir   string
	admin *adminAPI // nil for none

	mu      sync.Mutex
	offered map[string]*tls.Certificate
}

// maxOffered bounds how many certificates are kept that Kong has offered.
const maxOffered = 1024

// offer keeps a certificate. It reports whether it is another one than before.
func (s *source) offer(id string, c *tls.Certificate) (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.offered[id]
	if old == nil && len(s.offered) >= maxOffered {
		return false, fmt.Errorf("there are %d others already", maxOffered)
	}
	if s.offered == nil {
		s.offered = make(map[string]*tls.Certificate)
	}
	s.offered[id] = c
	return old == nil || !slices.EqualFunc(old.Certificate, c.Certificate, bytes.Equal), nil
}

func (s *source) fromKong(id string) *tls.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offered[id]
}

func newSource(o Options) (*source, error) {
	s := &source{dir: o.Dir}
	if o.AdminURL == "" {
		return s, nil
	}
	admin, err := newAdminAPI(o.AdminURL, o.AdminTokenFile, o.CAFile)
	if err != nil {
		return nil, err
	}
	s.admin = admin
	return s, nil
}

// load returns the certificate with that ID, which is a UUID.
func (s *source) load(ctx context.Context, id string) (*tls.Certificate, error) {
	if s.dir != "" {
		certificate, err := s.loadFiles(id)
		if !errors.Is(err, errNotInDir) {
			return certificate, err
		}
		if s.admin == nil && s.fromKong(id) == nil {
			return nil, fmt.Errorf("there is no %s.crt in %s: put it there with its key, or set -admin-url", id, s.dir)
		}
	}
	if certificate := s.fromKong(id); certificate != nil {
		return certificate, nil
	}
	if s.admin == nil {
		return nil, errors.New("there is nowhere to load it from: set -admin-url or -certificates")
	}
	certificate, err := s.admin.load(ctx, id)
	if err != nil && s.dir != "" {
		err = fmt.Errorf("it is not in %s, and %w", s.dir, err)
	}
	return certificate, err
}

var errNotInDir = errors.New("not in the directory")

// loadFiles reads ID.crt and ID.key. While they are being replaced they may not match: an
// error like any other, which the next load does not see.
func (s *source) loadFiles(id string) (*tls.Certificate, error) {
	crt := filepath.Join(s.dir, id+".crt")
	certPEM, err := readFile(crt)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotInDir
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", crt, err)
	}
	key := filepath.Join(s.dir, id+".key")
	keyPEM, err := readFile(key)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read, though %s.crt exists: %w", key, id, err)
	}
	certificate, err := parsePair(certPEM, keyPEM)
	if err != nil {
		err = fmt.Errorf("in %s, %w", s.dir, err)
	}
	return certificate, err
}

// parsePair returns the certificate, with its Leaf, of two PEM texts.
func parsePair(certPEM, keyPEM []byte) (*tls.Certificate, error) {
	certificate, err := tls.X509KeyPair(certPEM, keyPEM)
	if err == nil && certificate.Leaf == nil {
		// With GODEBUG=x509keypairleaf=0.
		certificate.Leaf, err = x509.ParseCertificate(certificate.Certificate[0])
	}
	if err != nil {
		// Cut, for it may list the types of a great many PEM blocks.
		return nil, fmt.Errorf("the certificate and its key cannot be used: %.200s", err.Error())
	}
	return &certificate, nil
}

// AddCAFile adds the certificates of a PEM file to the pool. As with the system's own
// bundles, a certificate that cannot be parsed is ignored as long as there are others.
func AddCAFile(pool *x509.CertPool, file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the CA file %s cannot be read: %w", file, withoutPath(err))
	}
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("the CA file %s holds no PEM certificate that can be used", file)
	}
	return nil
}

// readFile reads a regular file of bounded size. Another, such as a pipe, might block.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	return readAll(f)
}

func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(b) > maxSize {
		return nil, fmt.Errorf("it is larger than %d bytes", maxSize)
	}
	return b, nil
}

// withoutPath removes from an error of package os the operation and the path, which the
// sentence around it names.
func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}
