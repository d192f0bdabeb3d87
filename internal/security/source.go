package security

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"kafka-upstream/internal/foreign"
)

// maxEntity bounds what is read of an answer of the Admin API, and of a file
// with a certificate, a key or a token, in bytes.
const maxEntity = 1 << 20

// parsePair makes a certificate, with its Leaf, of two PEM texts.
func parsePair(certPEM, keyPEM []byte) (*tls.Certificate, error) {
	certificate, err := tls.X509KeyPair(certPEM, keyPEM)
	if err == nil && certificate.Leaf == nil {
		// With GODEBUG=x509keypairleaf=0.
		certificate.Leaf, err = x509.ParseCertificate(certificate.Certificate[0])
	}
	if err != nil {
		// Cut, for it may list the types of a great many foreign PEM blocks.
		return nil, fmt.Errorf("the certificate and its key cannot be used: %.200s", err.Error())
	}
	return &certificate, nil
}

// source is where certificates come from: a folder, then Kong's Admin API.
type source struct {
	dir   string
	admin *adminAPI // nil if not to be asked
}

func newSource(o CertificatesOptions) (*source, error) {
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

// load returns the certificate with that id, which is a UUID.
func (s *source) load(ctx context.Context, id string) (*tls.Certificate, error) {
	if s.dir != "" {
		certificate, err := s.loadFiles(id)
		if !errors.Is(err, errNotInDir) {
			return certificate, err
		}
		if s.admin == nil {
			return nil, fmt.Errorf("there is no %s.crt in %s: put it there with its key, or set -admin-url", id, s.dir)
		}
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

var errNotInDir = errors.New("not in the folder")

// loadFiles reads ID.crt and ID.key. While they are being replaced they may not
// belong together; that is an error as any, and gone at the next look.
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
		return nil, fmt.Errorf("%s cannot be read, though %s.crt is there: %w", key, id, err)
	}
	certificate, err := parsePair(certPEM, keyPEM)
	if err != nil {
		err = fmt.Errorf("in %s, %w", s.dir, err)
	}
	return certificate, err
}

// readFile reads a regular file of bounded size: what else may lie there, such
// as a pipe, could be waited for without end.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	return readAll(f)
}

func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxEntity+1))
	if err != nil {
		return nil, cause(err)
	}
	if len(b) > maxEntity {
		return nil, fmt.Errorf("it is larger than %d bytes", maxEntity)
	}
	return b, nil
}

// adminAPI asks Kong's Admin API for certificates.
type adminAPI struct {
	shown     string // its URL, without a password
	base      *url.URL
	tokenFile string
	client    *http.Client
}

func newAdminAPI(raw, tokenFile, caFile string) (*adminAPI, error) {
	// The environment is empty under Kong, so that a proxy named in it would
	// be used by some servers and not by others: none is. Connections are not
	// kept: there is one question a minute, and no goroutine may stay.
	transport := &http.Transport{
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	a := &adminAPI{tokenFile: tokenFile, client: &http.Client{
		Transport: transport,
		// A redirect would carry the token to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if path, ok := strings.CutPrefix(raw, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return nil, errors.New("the Admin API's URL (-admin-url) names no absolute path after unix:")
		}
		path = filepath.Clean(path)
		a.shown = "unix:" + path
		a.base = &url.URL{Scheme: "http", Host: "localhost"}
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return a, nil
	}
	base, err := url.Parse(raw)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		// The URL may hold a password, and url.Parse's error holds the URL.
		return nil, errors.New("the Admin API's URL (-admin-url) is not of the form http://host:port, https://host:port or unix:/path")
	}
	base.RawQuery, base.Fragment = "", ""
	a.base, a.shown = base, base.Redacted()
	if base.Scheme == "https" {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if caFile != "" {
			roots, err := x509.SystemCertPool()
			if err != nil {
				roots = x509.NewCertPool()
			}
			if err := addCAFile(roots, caFile); err != nil {
				return nil, err
			}
			config.RootCAs = roots
		}
		transport.TLSClientConfig = config
	}
	return a, nil
}

// load asks for one certificate: GET /certificates/{id}. The error may quote what the
// peer says, but neither the token nor the password that it was sent.
func (a *adminAPI) load(ctx context.Context, id string) (*tls.Certificate, error) {
	token := ""
	if a.tokenFile != "" {
		b, err := readFile(a.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("the Admin API's token file %s cannot be read: %w", a.tokenFile, err)
		}
		token = strings.TrimSpace(string(b))
	}
	certificate, err := a.get(ctx, id, token)
	if err != nil {
		password, _ := a.base.User.Password()
		err = errors.New(foreign.NewRedactor(token, password).Text(err.Error()))
	}
	return certificate, err
}

func (a *adminAPI) get(ctx context.Context, id, token string) (*tls.Certificate, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base.JoinPath("certificates", id).String(), nil)
	if err != nil {
		return nil, fmt.Errorf("Kong's Admin API at %s cannot be asked: its URL is not usable", a.shown)
	}
	request.Header.Set("Accept", "application/json")
	if a.tokenFile != "" {
		request.Header.Set("Kong-Admin-Token", token)
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, a.unreachable(ctx, err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, fmt.Errorf("Kong's Admin API at %s has no certificate with this id", a.shown)
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fmt.Errorf("Kong's Admin API at %s refused us with status %d: check -admin-token-file", a.shown, response.StatusCode)
	default:
		return nil, fmt.Errorf("Kong's Admin API at %s answered with status %d", a.shown, response.StatusCode)
	}
	body, err := readAll(response.Body)
	if err != nil {
		if ctx.Err() != nil {
			return nil, a.unreachable(ctx, err)
		}
		return nil, fmt.Errorf("the answer of Kong's Admin API at %s cannot be read: %w", a.shown, err)
	}
	certificate, err := parseEntity(body)
	if err != nil {
		err = fmt.Errorf("of what Kong's Admin API at %s answered, %w", a.shown, err)
	}
	return certificate, err
}

func (a *adminAPI) unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("Kong's Admin API at %s did not answer within %s", a.shown, loadTimeout)
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err // its text repeats the URL
	}
	return fmt.Errorf("Kong's Admin API at %s is not reachable (set -admin-url, or use -certificates): %w", a.shown, err)
}

// parseEntity reads Kong's certificate entity. Errors do not quote it: it holds
// a key.
func parseEntity(body []byte) (*tls.Certificate, error) {
	var entity struct{ Cert, Key string }
	if json.Unmarshal(body, &entity) != nil {
		return nil, errors.New("nothing can be read: it is no certificate in JSON")
	}
	for _, field := range []struct{ name, value string }{{"cert", entity.Cert}, {"key", entity.Key}} {
		switch {
		case field.value == "":
			return nil, fmt.Errorf("the field %s is missing", field.name)
		case strings.HasPrefix(field.value, "{vault://"):
			return nil, fmt.Errorf("the field %s is a {vault://...} reference, which the Admin API does not resolve: put the certificate and its key into the folder of -certificates", field.name)
		}
	}
	return parsePair([]byte(entity.Cert), []byte(entity.Key))
}
