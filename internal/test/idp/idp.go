// Package idp is an identity provider in the process: a token endpoint (RFC 6749) that gives
// JWTs signed with RS256, and the JWKS document with which brokers and registries check them.
// Tests set how it behaves while it runs, and see the requests that it got.
//
//	p := idp.Start(t, idp.Config{Clients: map[string]string{"orders": "s3cr3t"}})
//	// TokenURL to the client; JWKSURL, or a file of WriteJWKS, and Issuer to the broker
//	p.Behave(func(b *idp.Behaviour) { b.ExpiresIn = 2 })
//	p.Requests()
package idp

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"kafka-upstream/internal/test/testcert"
)

// Config is what stays the same while a Server runs. Its fields may be left out.
type Config struct {
	Clients map[string]string // secrets by client ID, for all methods of authentication
	Users   map[string]string // passwords by name, for the grant "password"
	CA      *testcert.CA      // to serve under https, with a certificate for 127.0.0.1, localhost and Hosts
	Hosts   []string
	OwnKey  bool // sign with another key than the other Servers of the process
}

// Behaviour is how a Server answers requests for tokens.
type Behaviour struct {
	// ExpiresIn is sent as expires_in, as JSON has it: a number, a text, or nil for none.
	ExpiresIn any
	// Lifetime is the JWT's, from its iat to its exp.
	Lifetime time.Duration
	// Skew is how far the provider's clock is ahead; its JWTs have that clock's times.
	Skew time.Duration
	// Subject is the claim sub; "" for the client's ID, or the user's name.
	Subject string
	// Audience is the claim aud, unless the request has fields audience. Without either
	// there is none.
	Audience []string
	// Claims are further claims of the JWT, and replace those that it would have.
	Claims map[string]any

	// Methods are the methods of authentication that are accepted: client_secret_basic,
	// client_secret_post, client_secret_jwt, none. Empty for all but none.
	Methods []string
	// Redirect is a URL to which requests are redirected with status 307; "" for none.
	Redirect string
	// Status and Body replace the answer if they are not zero.
	Status int
	Body   string
	// Delay is how long an answer takes. It ends with the request.
	Delay time.Duration
	// Down closes each connection without an answer.
	Down bool
}

// Request is a request for a token.
type Request struct {
	Proto  string // HTTP/1.1
	Remote string // address of the other end of the connection
	Header http.Header
	Form   map[string][]string // of the body
	Method string              // of the client's authentication, as in [Behaviour.Methods]
	Client string              // its ID; "" for none
	Status int                 // of the answer; 0 for none
}

// Server is an identity provider on a port of 127.0.0.1. Its methods may be called from many
// goroutines at once.
type Server struct {
	Issuer   string // its URL, which is the claim iss
	TokenURL string
	JWKSURL  string

	config Config
	key    func() *rsa.PrivateKey
	server *httptest.Server

	mu        sync.Mutex
	behaviour Behaviour
	requests  []Request
	used      map[string]bool // client assertions by jti
}

// sharedKey is made once, when it is first needed: that takes a good part of a second.
var sharedKey = sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the length is a usual one
	}
	return key
}

// Start starts a Server, which ends with the test. Its tokens live for five minutes.
func Start(t testing.TB, c Config) *Server {
	t.Helper()
	s := &Server{config: c, key: sharedKey, used: map[string]bool{}, behaviour: Behaviour{ExpiresIn: 300, Lifetime: 5 * time.Minute}}
	if c.OwnKey {
		s.key = sync.OnceValue(newKey)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.serveToken)
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(s.jwks())
	})
	s.server = httptest.NewUnstartedServer(mux)
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0) // of refused certificates
	if c.CA == nil {
		s.server.Start()
	} else {
		s.server.TLS = c.CA.ServerConfig(append(c.Hosts, "127.0.0.1", "localhost")...)
		s.server.StartTLS()
	}
	t.Cleanup(s.Close)
	s.Issuer = s.server.URL
	s.TokenURL, s.JWKSURL = s.Issuer+"/token", s.Issuer+"/jwks"
	return s
}

// Close frees the port, so that connections are refused. It may be called again.
func (s *Server) Close() {
	s.server.CloseClientConnections()
	s.server.Close()
}

// Behave changes how the next requests are answered.
func (s *Server) Behave(change func(*Behaviour)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.behaviour)
}

// Requests returns the requests for tokens so far, in the order in which they were answered.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Token returns a JWT that nobody asked for, with these claims in place of those that a token
// of now would have; sub is among them. A claim that is nil is left out.
func (s *Server) Token(claims map[string]any) string {
	s.mu.Lock()
	b := s.behaviour
	s.mu.Unlock()
	all := map[string]any{}
	maps.Copy(all, b.Claims)
	maps.Copy(all, claims)
	return s.sign(b, all)
}

// sign makes a JWT as b says, with these claims in addition.
func (s *Server) sign(b Behaviour, claims map[string]any) string {
	now := time.Now().Add(b.Skew)
	all := map[string]any{"iss": s.Issuer, "sub": b.Subject, "iat": now.Unix(), "exp": now.Add(b.Lifetime).Unix(), "jti": rand.Text()}
	if len(b.Audience) > 0 {
		all["aud"] = b.Audience
	}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	text := encode(map[string]string{"alg": "RS256", "typ": "JWT", "kid": s.keyID()}) + "." + encode(all)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key(), crypto.SHA256, digest[:])
	if err != nil {
		panic(err) // the key is long enough
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// WriteJWKS writes the JWKS document to a file, for validators that read one.
func (s *Server) WriteJWKS(file string) error { return os.WriteFile(file, s.jwks(), 0o644) }

// jwks is the public key as RFC 7517 has it.
func (s *Server) jwks() []byte {
	b, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": s.keyID(),
		"n": base64.RawURLEncoding.EncodeToString(s.key().N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(s.key().E)).Bytes()),
	}}})
	if err != nil {
		panic(err) // texts
	}
	return b
}

// keyID differs between the keys of two Servers.
func (s *Server) keyID() string {
	digest := sha256.Sum256(s.key().N.Bytes())
	return strings.ToLower(base64.RawURLEncoding.EncodeToString(digest[:6]))
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a claim that JSON cannot hold
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
