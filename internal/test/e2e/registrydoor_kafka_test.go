//go:build kafka

package e2e

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"kafka-upstream/internal/test/apicurio"
	"kafka-upstream/internal/test/idp"
	"kafka-upstream/internal/test/testcert"
)

// door is a server with TLS before a registry, which lets in who authenticates.
type door struct {
	user, password string      // "": anyone
	tokens         *idp.Server // whose tokens are demanded; nil for none
	mutual         bool        // a certificate of the authority is demanded

	server *httptest.Server

	mu      sync.Mutex
	headers []http.Header
}

// start starts the door of the registry, with a certificate of that authority. The test ends it.
func (d *door) start(t *testing.T, r *apicurio.Registry, ca *testcert.CA) {
	t.Helper()
	to, err := url.Parse(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := new(http.Transport)
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: to.Scheme, Host: to.Host})
		p.Out.Header.Del("Authorization")
	}}
	admitted := func(r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		return (d.user == "" || user == d.user && password == d.password) && (d.tokens == nil || d.tokens.Accepts(bearer))
	}
	d.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		d.headers = append(d.headers, r.Header.Clone())
		d.mu.Unlock()
		if !admitted(r) {
			w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error_code":401,"message":"Unauthorized"}`))
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	d.server.TLS = ca.ServerConfig("127.0.0.1")
	if d.mutual {
		d.server.TLS = ca.MutualConfig("127.0.0.1")
	}
	d.server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	d.server.StartTLS()
	t.Cleanup(func() {
		d.server.Close()
		transport.CloseIdleConnections()
	})
}

func (d *door) url() string { return d.server.URL + "/apis/ccompat/v7" }

// seen returns the headers of the requests so far.
func (d *door) seen() []http.Header {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]http.Header(nil), d.headers...)
}
