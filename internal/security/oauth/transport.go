package oauth

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"

	"kafka-upstream/internal/security/certs"
)

// transport is the way to a token endpoint, through a proxy or not. It does not follow
// redirects, and does not unpack answers, which could be of any size then.
type transport struct {
	o     Options
	proxy func(*url.URL) (*url.URL, error)
	http  *http.Transport
}

func newTransport(o Options, caFile string) (*transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.SkipVerify}
	if caFile != "" && !o.SkipVerify {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if err := certs.AddCAFile(roots, caFile); err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	t := &transport{o: o}
	t.proxy = (&httpproxy.Config{HTTPProxy: o.HTTPProxy, HTTPSProxy: o.HTTPSProxy, NoProxy: o.NoProxy}).ProxyFunc()
	t.http = &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) { return t.proxy(r.URL) },
		GetProxyConnectHeader: func(context.Context, *url.URL, string) (http.Header, error) {
			return proxyAuthorization(o.HTTPSProxyAuthorization), nil
		},
		TLSClientConfig:        config, // which also keeps the Transport from HTTP/2
		TLSHandshakeTimeout:    cmp.Or(max(o.Timeout, 0), defaultTimeout),
		DisableKeepAlives:      o.NoKeepAlive,
		DisableCompression:     true,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return t, nil
}

func proxyAuthorization(value string) http.Header {
	if value == "" {
		return nil
	}
	return http.Header{"Proxy-Authorization": {value}}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "http" && t.o.HTTPProxyAuthorization != "" {
		if proxy, _ := t.proxy(r.URL); proxy != nil {
			r = r.Clone(r.Context())
			r.Header.Set("Proxy-Authorization", t.o.HTTPProxyAuthorization)
		}
	}
	return t.http.RoundTrip(r)
}

// CloseIdleConnections is for [http.Client.CloseIdleConnections].
func (t *transport) CloseIdleConnections() { t.http.CloseIdleConnections() }
