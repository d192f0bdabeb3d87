package oauth

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kafka-upstream/internal/test/idp"
	"kafka-upstream/internal/test/testcert"
)

// proxy is an HTTP proxy to one server, whatever the name by which it is asked for: loopback
// addresses are never reached by a proxy, so the tests use another name.
type proxy struct {
	url           string
	target        string // host:port
	authorization string // to be sent

	mu       sync.Mutex
	requests []string // method and host, with the version
}

func startProxy(t *testing.T, target, authorization string) *proxy {
	p := &proxy{target: target, authorization: authorization}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests = append(p.requests, fmt.Sprintf("%s %s %s", r.Method, r.Host, r.Proto))
	p.mu.Unlock()
	if r.Header.Get("Proxy-Authorization") != p.authorization {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	if r.Method == http.MethodConnect {
		p.tunnel(w)
		return
	}
	r.Header.Del("Proxy-Authorization")
	r.RequestURI, r.URL.Host = "", p.target
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(r)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
}

func (p *proxy) tunnel(w http.ResponseWriter) {
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer out.Close()
	in, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer in.Close()
	fmt.Fprint(in, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() {
		_, _ = io.Copy(out, in)
		out.Close()
	}()
	_, _ = io.Copy(in, out)
}

func (p *proxy) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// behindProxy starts a provider under http or https that is called idp.test, and a proxy to it.
// The options reach the provider through the proxy.
func behindProxy(t *testing.T, secure bool, authorization string) (*idp.Server, *proxy, Options, Env) {
	t.Helper()
	ca := testcert.New("test")
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	config := idp.Config{Clients: map[string]string{clientID: clientSecret}}
	if secure {
		config.CA, config.Hosts = ca, []string{"idp.test"}
	}
	server := idp.Start(t, config)
	u, err := url.Parse(server.TokenURL)
	if err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, u.Host, authorization)
	u.Host = net.JoinHostPort("idp.test", u.Port())
	o := Options{TokenURL: u.String(), ClientID: clientID, ClientSecret: clientSecret, Timeout: 20 * time.Second}
	if secure {
		o.HTTPSProxy, o.HTTPSProxyAuthorization = p.url, authorization
	} else {
		o.HTTPProxy, o.HTTPProxyAuthorization = p.url, authorization
	}
	return server, p, o, Env{CAFile: caFile}
}

func TestProxyIsUsed(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, http10 := range []bool{false, true} {
			for _, authorization := range []string{"", "Basic " + base64.StdEncoding.EncodeToString([]byte("proxy:pr0xy-secret"))} {
				t.Run(fmt.Sprintf("TLS %t, HTTP/1.0 %t, authorization %t", secure, http10, authorization != ""), func(t *testing.T) {
					server, p, o, env := behindProxy(t, secure, authorization)
					o.HTTP10 = http10
					token(t, open(t, o, env))

					method, proto := http.MethodPost, "HTTP/1.1"
					if http10 {
						proto = "HTTP/1.0"
					}
					want := fmt.Sprintf("%s %s %s", method, strings.TrimPrefix(strings.TrimSuffix(o.TokenURL, "/token"), "http://"), proto)
					if secure {
						want = fmt.Sprintf("CONNECT %s HTTP/1.1", strings.TrimPrefix(strings.TrimSuffix(o.TokenURL, "/token"), "https://"))
					}
					if got := p.seen(); !slices.Equal(got, []string{want}) {
						t.Errorf("the proxy got %q, want %q", got, want)
					}
					r := server.Requests()[0]
					if secure && r.Proto != proto {
						t.Errorf("the provider was asked with %s", r.Proto)
					}
					if r.Header.Get("Proxy-Authorization") != "" {
						t.Error("the provider was sent the proxy's credentials")
					}
				})
			}
		}
	}
}

func TestProxyThatRefusesIsInTheError(t *testing.T) {
	for _, http10 := range []bool{false, true} {
		for _, secure := range []bool{false, true} {
			_, p, o, env := behindProxy(t, secure, "Basic right")
			o.HTTP10 = http10
			o.HTTPProxyAuthorization, o.HTTPSProxyAuthorization = "Basic wr0ng-pr0xy", "Basic wr0ng-pr0xy"
			want := "status 407"
			if secure {
				want = "Proxy Authentication Required"
			}
			wantError(t, t.Context(), open(t, o, env), want)
			if len(p.seen()) == 0 {
				t.Error("the proxy was not asked")
			}
		}
	}
}

func TestProxyThatHangsIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // which accepts nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, http10 := range []bool{false, true} {
		for _, scheme := range []string{"http", "https"} {
			o := Options{TokenURL: scheme + "://idp.test/token", ClientID: clientID, ClientSecret: clientSecret, HTTP10: http10, Timeout: 50 * time.Millisecond}
			o.HTTPProxy, o.HTTPSProxy = "http://"+l.Addr().String(), "http://"+l.Addr().String()
			wantError(t, t.Context(), open(t, o, Env{}), "no answer within 50ms")
		}
	}
}

func TestCloseGivesUpAConnectionThatIsBeingMade(t *testing.T) {
	for _, http10 := range []bool{false, true} {
		for _, proxied := range []bool{false, true} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			o := Options{TokenURL: "https://" + l.Addr().String(), ClientID: clientID, ClientSecret: clientSecret, HTTP10: http10, Timeout: time.Hour}
			if proxied {
				o.TokenURL, o.HTTPSProxy = "https://idp.test", "http://"+l.Addr().String()
			}
			s := open(t, o, Env{})
			var wg sync.WaitGroup
			wg.Go(func() { wantError(t, context.Background(), s, errClosed.Error()) })
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1)); err != nil { // of CONNECT, or of the handshake
				t.Fatal(err)
			}
			s.Close()
			wg.Wait()
			_, _ = io.Copy(io.Discard, conn) // ends with the connection
			conn.Close()
			l.Close()
		}
	}
}

func TestProxyIsChosenByTheEndpoint(t *testing.T) {
	for _, test := range []struct{ endpoint, noProxy, want string }{
		{"http://idp.test/token", "", "http://plain:1"},
		{"https://idp.test/token", "", "http://secure:2"},
		{"https://idp.test/token", "other.test, 10.0.0.0/8", "http://secure:2"},
		{"https://idp.test/token", "other.test, idp.test", ""},
		{"https://idp.test/token", "test", ""},
		{"https://idp.test:8443/token", "idp.test:8443", ""},
		{"https://idp.test:8443/token", "idp.test:8444", "http://secure:2"},
		{"https://10.1.2.3/token", "10.0.0.0/8", ""},
		{"https://idp.test/token", "*", ""},
		{"https://127.0.0.1:8443/token", "", ""},
		{"http://localhost/token", "", ""},
	} {
		for _, http10 := range []bool{false, true} {
			tr, err := newTransport(Options{TokenURL: test.endpoint, HTTPProxy: "http://plain:1", HTTPSProxy: "http://secure:2", NoProxy: test.noProxy, HTTP10: http10}, "")
			if err != nil {
				t.Fatal(err)
			}
			u, _ := url.Parse(test.endpoint)
			got := ""
			if proxy, err := tr.proxy(u); err != nil {
				t.Error(err)
			} else if proxy != nil {
				got = proxy.String()
			}
			if got != test.want {
				t.Errorf("%s with no_proxy %q: got the proxy %q, want %q", test.endpoint, test.noProxy, got, test.want)
			}
		}
	}
}

func TestEnvironmentNamesNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	tr, err := newTransport(Options{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if proxy, err := tr.Proxy(httptest.NewRequest(http.MethodPost, "http://idp.test/token", nil)); proxy != nil || err != nil {
		t.Errorf("got %v, %v", proxy, err)
	}
}
