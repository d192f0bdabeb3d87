package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"kafka-upstream/internal/foreign"
)

// adminAPI loads certificates from Kong's Admin API.
type adminAPI struct {
	shown     string // its URL, without a password
	base      *url.URL
	tokenFile string
	client    *http.Client
}

func newAdminAPI(raw, tokenFile, caFile string) (*adminAPI, error) {
	// No proxy: under Kong the environment, which would name one, is empty. No keep-alive:
	// there is one request a minute, and an idle connection has goroutines.
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
			return nil, errors.New("-admin-url: the path after unix: must be absolute")
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
		return nil, errors.New("-admin-url must be http://host:port, https://host:port or unix:/path")
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
			if err := AddCAFile(roots, caFile); err != nil {
				return nil, err
			}
			config.RootCAs = roots
		}
		transport.TLSClientConfig = config
	}
	return a, nil
}

// load loads a certificate: GET /certificates/{id}. The error may quote what the peer sends,
// but neither the token nor the password that it was sent.
func (a *adminAPI) load(ctx context.Context, id string) (*tls.Certificate, error) {
	token := ""
	if a.tokenFile != "" {
		b, err := readFile(a.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("the Admin API's token file %s (-admin-token-file) cannot be read: %w", a.tokenFile, err)
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
		return nil, fmt.Errorf("Kong's Admin API at %s cannot be used: its URL is not valid", a.shown)
	}
	request.Header.Set("Accept", "application/json")
	if a.tokenFile != "" {
		request.Header.Set("Kong-Admin-Token", token)
	}
	// A Transport goes on connecting for a request that was given up, without a limit: this ends it.
	defer a.client.CloseIdleConnections()
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
		return nil, fmt.Errorf("Kong's Admin API at %s denied access with status %d: check -admin-token-file", a.shown, response.StatusCode)
	default:
		return nil, fmt.Errorf("Kong's Admin API at %s answered with status %d", a.shown, response.StatusCode)
	}
	body, err := readAll(response.Body)
	if err != nil {
		if ctx.Err() != nil {
			return nil, a.unreachable(ctx, err)
		}
		return nil, fmt.Errorf("the response of Kong's Admin API at %s cannot be read: %w", a.shown, err)
	}
	certificate, err := parseEntity(body)
	if err != nil {
		err = fmt.Errorf("in the response of Kong's Admin API at %s, %w", a.shown, err)
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
	return fmt.Errorf("Kong's Admin API at %s cannot be reached (set -admin-url, or use -certificates): %w", a.shown, err)
}

// parseEntity reads a certificate entity of Kong's. It contains a key, so errors do not quote
// it.
func parseEntity(body []byte) (*tls.Certificate, error) {
	var entity struct{ Cert, Key string }
	if json.Unmarshal(body, &entity) != nil {
		return nil, errors.New("there is no certificate in JSON")
	}
	for _, field := range []struct{ name, value string }{{"cert", entity.Cert}, {"key", entity.Key}} {
		switch {
		case field.value == "":
			return nil, fmt.Errorf("the field %s is missing", field.name)
		case strings.HasPrefix(field.value, "{vault://"):
			return nil, fmt.Errorf("the field %s is a {vault://...} reference, which the Admin API does not resolve: put the certificate and its key into the directory of -certificates", field.name)
		}
	}
	return parsePair([]byte(entity.Cert), []byte(entity.Key))
}
