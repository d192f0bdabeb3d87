package oauth

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kafka-upstream/internal/test/idp"
	"kafka-upstream/internal/test/testcert"
)

const (
	clientID     = "orders:app 1"
	clientSecret = "s3cr3t+of/orders&ä"
	userPassword = "pa55word of ann"
)

// provider starts an identity provider that knows the client and the user of these tests.
func provider(t *testing.T) *idp.Server {
	return idp.Start(t, idp.Config{Clients: map[string]string{clientID: clientSecret}, Users: map[string]string{"ann": userPassword}})
}

func optionsFor(p *idp.Server) Options {
	return Options{TokenURL: p.TokenURL, ClientID: clientID, ClientSecret: clientSecret}
}

func TestEveryMethodWithEveryGrant(t *testing.T) {
	p := provider(t)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("orders%3Aapp+1:s3cr3t%2Bof%2Forders%26%C3%A4"))
	for _, method := range []string{"", methodBasic, methodPost, methodJWT, methodNone} {
		for _, grant := range []string{"", grantClient, grantPassword} {
			for _, algorithm := range []string{"", "HS256", "HS512"} {
				if algorithm != "" && method != methodJWT {
					continue
				}
				t.Run(fmt.Sprintf("%s,%s,%s", method, grant, algorithm), func(t *testing.T) {
					accepted := cmp.Or(method, methodBasic)
					p.Behave(func(b *idp.Behaviour) { b.Methods = []string{accepted} })
					o := optionsFor(p)
					o.AuthMethod, o.GrantType, o.JWTAlgorithm = method, grant, algorithm
					o.Scopes, o.Audience = []string{"openid", "write"}, []string{"kafka", "registry"}
					o.Headers = map[string]string{"x-tenant": "acme"}
					o.Form = map[string]string{"resource": "urn:x&y"}
					want := url.Values{"grant_type": {cmp.Or(grant, grantClient)}, "scope": {"openid write"}, "audience": {"kafka", "registry"}, "resource": {"urn:x&y"}}
					if grant == grantPassword {
						o.Username, o.Password = "ann", userPassword
						want.Set("username", "ann")
						want.Set("password", userPassword)
					}
					token(t, open(t, o, Env{}))

					seen := p.Requests()
					r := seen[len(seen)-1]
					assertion := url.Values(r.Form).Get("client_assertion")
					authorization := ""
					switch accepted {
					case methodBasic:
						authorization = basic
					case methodPost:
						want.Set("client_id", clientID)
						want.Set("client_secret", clientSecret)
					case methodJWT: // which the provider has verified
						want.Set("client_id", clientID)
						want.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
						want.Set("client_assertion", assertion)
						header, _ := base64.RawURLEncoding.DecodeString(strings.Split(assertion, ".")[0])
						if alg := `"alg":"` + cmp.Or(algorithm, "HS512") + `"`; !strings.Contains(string(header), alg) {
							t.Errorf("the assertion's header is %s", header)
						}
					case methodNone:
						want.Set("client_id", clientID)
					}
					if !maps.EqualFunc(want, r.Form, slices.Equal) {
						t.Errorf("sent %v, want %v", r.Form, want)
					}
					if r.Method != accepted || r.Client != clientID || r.Header.Get("Authorization") != authorization {
						t.Errorf("authenticated by %s as %s with %q", r.Method, r.Client, r.Header.Get("Authorization"))
					}
					if r.Header.Get("X-Tenant") != "acme" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.Header.Get("Accept") != "application/json" || r.Header.Get("Accept-Encoding") != "" {
						t.Errorf("sent the headers %v", r.Header)
					}
				})
			}
		}
	}
}

// newAsker returns an endpoint that asks only when it is told to, as no Source does, and a
// function that has it ask: it returns by which methods it did, and what came of it.
func newAsker(t *testing.T, p *idp.Server) func() (methods []string, err error) {
	e, err := newEndpoint(optionsFor(p), Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return func() (methods []string, err error) {
		before := len(p.Requests())
		_, _, err = e.fetch(t.Context())
		for _, r := range p.Requests()[before:] {
			methods = append(methods, r.Method)
		}
		return methods, err
	}
}

func TestMethodThatWorkedIsTheFirstToBeTried(t *testing.T) {
	p := provider(t)
	ask := newAsker(t, p)
	for _, test := range []struct {
		accepted string
		want     []string
	}{
		{methodPost, []string{methodBasic, methodPost}},
		{methodPost, []string{methodPost}},
		{methodBasic, []string{methodPost, methodBasic}},
		{methodBasic, []string{methodBasic}},
	} {
		p.Behave(func(b *idp.Behaviour) { b.Methods = []string{test.accepted} })
		if got, err := ask(); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("tried %v, %v, want %v", got, err, test.want)
		}
	}
}

func TestOnlyARefusedClientIsTriedByAnotherMethod(t *testing.T) {
	p := provider(t)
	ask := newAsker(t, p)
	both, first := []string{methodBasic, methodPost}, []string{methodBasic}
	for _, test := range []struct {
		behaviour idp.Behaviour
		want      []string
	}{
		{idp.Behaviour{Status: 401, Body: `{"error":"invalid_client"}`}, both},
		{idp.Behaviour{Status: 401, Body: `denied`}, both},
		{idp.Behaviour{Status: 400, Body: `{"error":"invalid_client"}`}, both},
		{idp.Behaviour{Status: 400, Body: `{"error":"invalid_request","error_description":"client_id is missing"}`}, both},
		{idp.Behaviour{Status: 400, Body: `{"error":"invalid_scope"}`}, first},
		{idp.Behaviour{Status: 403, Body: `{"error":"invalid_client"}`}, first},
		{idp.Behaviour{Status: 503, Body: `{}`}, first},
		{idp.Behaviour{Status: 200, Body: `{}`}, first},
	} {
		p.Behave(func(b *idp.Behaviour) { *b = test.behaviour })
		if got, err := ask(); err == nil || !slices.Equal(got, test.want) {
			t.Errorf("tried %v after status %d with %s, want %v: %v", got, test.behaviour.Status, test.behaviour.Body, test.want, err)
		}
	}
	// A network that fails says nothing of the client. (The Transport may try a kept
	// connection and a new one.)
	p.Behave(func(b *idp.Behaviour) { *b = idp.Behaviour{Down: true} })
	if got, err := ask(); err == nil || slices.Contains(got, methodPost) {
		t.Errorf("tried %v after a closed connection: %v", got, err)
	}
}

func TestAuthorizationOfOnesOwn(t *testing.T) {
	p := provider(t)
	o := Options{TokenURL: p.TokenURL, AuthMethod: methodNone, Headers: map[string]string{"Authorization": "Basic " +
		base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(clientID)+":"+url.QueryEscape(clientSecret)))}}
	token(t, open(t, o, Env{}))
}

func TestRefusalsAreToldFromFaults(t *testing.T) {
	p := provider(t)
	e, err := newEndpoint(optionsFor(p), Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	for status, want := range map[int]bool{400: true, 401: true, 403: true, 429: true, 302: false, 500: false, 503: false, 200: false} {
		p.Behave(func(b *idp.Behaviour) { *b = idp.Behaviour{Status: status, Body: `{"error":"no"}`} })
		_, _, err := e.fetch(t.Context())
		if f, ok := errors.AsType[*fetchError](err); !ok || f.refused != want {
			t.Errorf("status %d: %#v", status, err)
		}
	}
}

func TestWhatIsWrongIsInTheError(t *testing.T) {
	for name, test := range map[string]struct {
		behave func(*idp.Behaviour)
		change func(*Options)
		want   []string
	}{
		"wrong secret": {change: func(o *Options) { o.ClientSecret = "wr0ng-secret" },
			want: []string{`status 401 and error "invalid_client" (Invalid client or Invalid client credentials)`, "check the client's ID"}},
		"wrong password": {change: func(o *Options) { o.GrantType, o.Username, o.Password = grantPassword, "ann", "wr0ng-password" },
			want: []string{`status 400 and error "invalid_grant" (Invalid user credentials)`}},
		"closed connection": {behave: func(b *idp.Behaviour) { b.Down = true }, want: []string{"it cannot be reached: EOF"}},
		"slow": {behave: func(b *idp.Behaviour) { b.Delay = time.Hour }, change: func(o *Options) { o.Timeout = 50 * time.Millisecond },
			want: []string{"there was no answer within 50ms"}},
		"redirect": {behave: func(b *idp.Behaviour) { b.Redirect = "http://127.0.0.1:1/elsewhere" }, want: []string{"status 307, a redirect, which is not followed"}},
		"bad gateway": {behave: func(b *idp.Behaviour) { b.Status, b.Body = 502, "<html>Bad Gateway</html>" },
			want: []string{"the answer has status 502"}},
		"garbage":      {behave: func(b *idp.Behaviour) { b.Body = "\x00\xff{" }, want: []string{"not what RFC 6749 describes"}},
		"a list":       {behave: func(b *idp.Behaviour) { b.Body = `["t0ken"]` }, want: []string{"not what RFC 6749 describes"}},
		"no token":     {behave: func(b *idp.Behaviour) { b.Body = `{"token_type":"bearer"}` }, want: []string{"no access_token"}},
		"empty token":  {behave: func(b *idp.Behaviour) { b.Body = `{"access_token":""}` }, want: []string{"no access_token"}},
		"two lines":    {behave: func(b *idp.Behaviour) { b.Body = `{"access_token":"a\r\nX-Evil: 1"}` }, want: []string{"characters that no token can have"}},
		"SASL's comma": {behave: func(b *idp.Behaviour) { b.Body = `{"access_token":"a\u0001auth=b"}` }, want: []string{"characters that no token can have"}},
		"MAC token":    {behave: func(b *idp.Behaviour) { b.Body = `{"access_token":"a","token_type":"mac"}` }, want: []string{"token_type is not Bearer"}},
		"huge":         {behave: func(b *idp.Behaviour) { b.Body = `{"access_token":"` + strings.Repeat("a", 70000) + `"}` }, want: []string{"longer than 65536 bytes"}},
		"error with 200": {behave: func(b *idp.Behaviour) {
			b.Body = `{"error":"server_error","error_description":"try\nlater \u001b[31m"}`
		},
			want: []string{`status 200 and error "server_error" (try\nlater \x1b[31m)`}},
		"a long error": {behave: func(b *idp.Behaviour) {
			b.Status, b.Body = 500, `{"error":"e","error_description":"`+strings.Repeat("d", 60000)+`"}`
		}, want: []string{"bytes in all"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := provider(t)
			if test.behave != nil {
				p.Behave(test.behave)
			}
			o := optionsFor(p)
			if test.change != nil {
				test.change(&o)
			}
			s := open(t, o, Env{})
			wantError(t, t.Context(), s, test.want...)
		})
	}
}

func TestRefusedConnectionIsInTheError(t *testing.T) {
	p := provider(t)
	p.Close()
	wantError(t, t.Context(), open(t, optionsFor(p), Env{}), "connection refused")
}

// serve starts a token endpoint that is no provider.
func serve(t *testing.T, handler http.HandlerFunc) Options {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // only then does a closed connection end the request's context
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return Options{TokenURL: server.URL, ClientID: clientID, ClientSecret: clientSecret, Timeout: 50 * time.Millisecond}
}

func TestAnswerThatNeverEndsIsGivenUp(t *testing.T) {
	o := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"access_token":"a`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	wantError(t, t.Context(), open(t, o, Env{}), "no answer within 50ms")
}

func TestAnswerWithoutEndIsNotRead(t *testing.T) {
	var sent atomic.Int64
	o := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			n, err := w.Write(make([]byte, 4096))
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	o.Timeout = 0
	wantError(t, t.Context(), open(t, o, Env{}), "longer than 65536 bytes")
}

func TestHeaderWithoutEndIsNotRead(t *testing.T) {
	for _, http10 := range []bool{false, true} {
		o := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		})
		o.Timeout, o.HTTP10 = 0, http10
		wantError(t, t.Context(), open(t, o, Env{}), "it cannot be reached", "headers exceeded")
	}
}

func TestRedirectGetsNoCredentials(t *testing.T) {
	reached := make(chan struct{}, 10)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- struct{}{} }))
	defer elsewhere.Close()
	p := provider(t)
	p.Behave(func(b *idp.Behaviour) { b.Redirect = elsewhere.URL })
	wantError(t, t.Context(), open(t, optionsFor(p), Env{}), "redirect")
	if len(reached) > 0 {
		t.Error("the redirect was followed")
	}
}

func TestVersionAndConnectionsOfHTTP(t *testing.T) {
	ca := testcert.New("test")
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, secure := range []bool{false, true} {
		for _, test := range []struct {
			name            string
			http10, noAlive bool
			proto           string
			sameConnection  bool
		}{
			{"as is", false, false, "HTTP/1.1", true},
			{"no keep-alive", false, true, "HTTP/1.1", false},
			{"HTTP/1.0", true, false, "HTTP/1.0", false},
		} {
			t.Run(fmt.Sprintf("%s, TLS %t", test.name, secure), func(t *testing.T) {
				config := idp.Config{Clients: map[string]string{clientID: clientSecret}}
				if secure {
					config.CA = ca
				}
				p := idp.Start(t, config)
				o := optionsFor(p)
				o.HTTP10, o.NoKeepAlive = test.http10, test.noAlive
				e, err := newEndpoint(o, Env{CAFile: caFile})
				if err != nil {
					t.Fatal(err)
				}
				defer e.close()
				for range 2 {
					if _, _, err := e.fetch(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				seen := p.Requests()
				if seen[0].Proto != test.proto || seen[1].Proto != test.proto || (seen[0].Remote == seen[1].Remote) != test.sameConnection {
					t.Errorf("got %s from %s and %s from %s", seen[0].Proto, seen[0].Remote, seen[1].Proto, seen[1].Remote)
				}
			})
		}
	}
}

// A request may meet a connection that the peer is just closing.
func TestIdleConnectionThatThePeerClosedCostsNothing(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 2 {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, `{"access_token":"a"}`)
	}))
	server.Start()
	defer server.Close()
	e, err := newEndpoint(Options{TokenURL: server.URL, ClientID: clientID, ClientSecret: clientSecret}, Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	for range 2 {
		if _, _, err := e.fetch(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestCertificatesAreChecked(t *testing.T) {
	ca, other := testcert.New("test"), testcert.New("other")
	dir := t.TempDir()
	for name, ca := range map[string]*testcert.CA{"ca.pem": ca, "other.pem": other} {
		if err := os.WriteFile(filepath.Join(dir, name), ca.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := idp.Start(t, idp.Config{Clients: map[string]string{clientID: clientSecret}, CA: ca})
	for _, http10 := range []bool{false, true} {
		o := optionsFor(p)
		o.HTTP10 = http10
		token(t, open(t, o, Env{CAFile: filepath.Join(dir, "ca.pem")}))
		wantError(t, t.Context(), open(t, o, Env{CAFile: filepath.Join(dir, "other.pem")}), "certificate signed by unknown authority")
		wantError(t, t.Context(), open(t, o, Env{}), "certificate signed by unknown authority")
		o.SkipVerify = true
		token(t, open(t, o, Env{}))
	}
	if _, err := New(optionsFor(p), Env{CAFile: filepath.Join(dir, "none.pem")}); err == nil || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("with a file that does not exist: %v", err)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	ca := testcert.New("test")
	for _, http10 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.TLS = ca.ServerConfig("127.0.0.1")
		server.TLS.MinVersion, server.TLS.MaxVersion = 0x0301, 0x0302
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		o := Options{TokenURL: server.URL, ClientID: clientID, ClientSecret: clientSecret, SkipVerify: true, HTTP10: http10}
		wantError(t, t.Context(), open(t, o, Env{}), "it cannot be reached: ", "protocol version")
		server.Close()
	}
}

// A token's exp is for those who check it, by their clocks.
func TestClockOfTheProviderDoesNotMatter(t *testing.T) {
	p := provider(t)
	for _, skew := range []time.Duration{-10 * time.Hour, 10 * time.Hour} {
		p.Behave(func(b *idp.Behaviour) { b.Skew = skew })
		s := open(t, optionsFor(p), Env{})
		first := token(t, s)
		if token(t, s) != first {
			t.Errorf("with a provider that is %s ahead, a token is used once", skew)
		}
	}
}

func TestSourcesOfOtherClientsShareNothing(t *testing.T) {
	p := idp.Start(t, idp.Config{Clients: map[string]string{"a": "secret-of-a", "b": "secret-of-b"}})
	p.Behave(func(b *idp.Behaviour) { b.Methods = []string{methodPost} })
	a := open(t, Options{TokenURL: p.TokenURL, ClientID: "a", ClientSecret: "secret-of-a"}, Env{})
	b := open(t, Options{TokenURL: p.TokenURL, ClientID: "b", ClientSecret: "secret-of-b"}, Env{})
	thief := open(t, Options{TokenURL: p.TokenURL, ClientID: "a", ClientSecret: "secret-of-b"}, Env{})
	if token(t, a) == token(t, b) {
		t.Error("two clients have one token")
	}
	wantError(t, t.Context(), thief, "invalid_client")
	remotes := map[string]string{}
	for _, r := range p.Requests() {
		if other, ok := remotes[r.Remote]; ok && other != r.Client {
			t.Errorf("clients %s and %s shared a connection", other, r.Client)
		}
		remotes[r.Remote] = r.Client
	}
}

func TestCloseEndsARequest(t *testing.T) {
	arrived := make(chan struct{})
	o := serve(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	o.Timeout = time.Hour
	s := open(t, o, Env{})
	failed := make(chan error)
	go func() {
		_, err := s.Token(context.Background())
		failed <- err
	}()
	<-arrived
	s.Close()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), errClosed.Error()) {
		t.Errorf("got %v", err)
	}
}

func TestPlainHTTPIsWarnedOf(t *testing.T) {
	p := provider(t)
	var log logbook
	open(t, optionsFor(p), Env{Log: log.logger()})
	if !strings.Contains(log.String(), "in the clear") {
		t.Errorf("logged %s", &log)
	}
}
