package oauth

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"

	"kafka-upstream/internal/security/certs"
)

// maxHeader is how long the header of an answer may be, in bytes.
const maxHeader = 64 << 10

// transport sends requests to a token endpoint. It does not decompress answers, because their
// size would then be unbounded.
type transport struct {
	*http.Transport
	o     Options
	proxy func(*url.URL) (*url.URL, error)
}

func newTransport(o Options, caFile string) (*transport, error) {
	config, err := tlsConfig(o, caFile)
	if err != nil {
		return nil, err
	}
	proxies := httpproxy.Config{HTTPProxy: o.HTTPProxy, HTTPSProxy: o.HTTPSProxy, NoProxy: o.NoProxy}
	t := &transport{o: o, proxy: proxies.ProxyFunc()}
	t.Transport = &http.Transport{
		Proxy:                  func(r *http.Request) (*url.URL, error) { return t.proxy(r.URL) },
		ProxyConnectHeader:     http.Header{},
		DialContext:            (&net.Dialer{Timeout: o.Timeout}).DialContext,
		TLSClientConfig:        config, // which also keeps the Transport from HTTP/2
		TLSHandshakeTimeout:    o.Timeout,
		DisableKeepAlives:      o.NoKeepAlive,
		DisableCompression:     true,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: maxHeader,
	}
	if o.HTTPSProxyAuthorization != "" {
		t.ProxyConnectHeader.Set("Proxy-Authorization", o.HTTPSProxyAuthorization)
	}
	if o.HTTP10 {
		t.speakHTTP10()
	}
	return t, nil
}

// tlsConfig returns how to speak TLS with token endpoints, which may be public ones: the
// authorities of caFile come in addition to the system's.
func tlsConfig(o Options, caFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.SkipVerify}
	if caFile == "" || o.SkipVerify {
		return config, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	config.RootCAs = roots
	return config, certs.AddCAFile(roots, caFile)
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "http" && t.o.HTTPProxyAuthorization != "" {
		if proxy, err := t.proxy(r.URL); err == nil && proxy != nil {
			r = r.Clone(r.Context())
			r.Header.Set("Proxy-Authorization", t.o.HTTPProxyAuthorization)
		}
	}
	return t.Transport.RoundTrip(r)
}
