package idp

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"hash"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// defaultMethods are what is accepted unless Behaviour says otherwise.
var defaultMethods = []string{"client_secret_basic", "client_secret_post", "client_secret_jwt"}

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if r.ParseForm() != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	b := s.behaviour
	s.mu.Unlock()
	method, client, ok := s.authenticate(r)
	status, answer := s.answer(b, r.PostForm, method, client, ok)
	if b.Redirect != "" {
		w.Header().Set("Location", b.Redirect)
		status, answer = http.StatusTemporaryRedirect, nil
	}
	body, err := json.Marshal(answer)
	if err != nil {
		panic(err) // ExpiresIn is nothing that JSON can hold
	}
	if b.Status != 0 {
		status = b.Status
	}
	if b.Body != "" {
		body = []byte(b.Body)
	}
	select {
	case <-time.After(b.Delay):
	case <-r.Context().Done():
		status = 0
	}
	if b.Down {
		status = 0
	}
	s.mu.Lock()
	s.requests = append(s.requests, Request{r.Proto, r.RemoteAddr, r.Header.Clone(), r.PostForm, method, client, status})
	s.mu.Unlock()
	if status == 0 {
		panic(http.ErrAbortHandler) // closes the connection
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// answer is what the request of a client that authenticated itself by that method gets.
func (s *Server) answer(b Behaviour, form url.Values, method, client string, authenticated bool) (status int, answer map[string]any) {
	methods := b.Methods
	if len(methods) == 0 {
		methods = defaultMethods
	}
	if !authenticated || !slices.Contains(methods, method) {
		return http.StatusUnauthorized, refusal("invalid_client", "Invalid client or Invalid client credentials")
	}
	subject := client
	switch form.Get("grant_type") {
	case "client_credentials":
	case "password":
		subject = form.Get("username")
		if password, ok := s.config.Users[subject]; !ok || form.Get("password") != password {
			return http.StatusBadRequest, refusal("invalid_grant", "Invalid user credentials")
		}
	default:
		return http.StatusBadRequest, refusal("unsupported_grant_type", "Unsupported grant_type")
	}
	if b.Subject == "" {
		b.Subject = subject
	}
	if audience := form["audience"]; len(audience) > 0 {
		b.Audience = audience
	}
	claims := map[string]any{"azp": client}
	answer = map[string]any{"token_type": "Bearer"}
	if scope := form.Get("scope"); scope != "" {
		claims["scope"], answer["scope"] = scope, scope
	}
	if b.ExpiresIn != nil {
		answer["expires_in"] = b.ExpiresIn
	}
	maps.Copy(claims, b.Claims)
	answer["access_token"] = s.sign(b, claims)
	return http.StatusOK, answer
}

func refusal(code, description string) map[string]any {
	return map[string]any{"error": code, "error_description": description}
}

// authenticate returns the method by which a client authenticates, and whether it succeeds. A
// client that uses two methods is refused: RFC 6749, section 2.3.
func (s *Server) authenticate(r *http.Request) (method, client string, ok bool) {
	user, password, basic := r.BasicAuth()
	inForm, assertion := r.PostForm.Get("client_secret"), r.PostForm.Get("client_assertion")
	client = r.PostForm.Get("client_id")
	switch {
	case basic:
		client, _ = url.QueryUnescape(user)
		secret, _ := url.QueryUnescape(password)
		return "client_secret_basic", client, inForm == "" && assertion == "" && s.known(client, secret)
	case inForm != "":
		return "client_secret_post", client, assertion == "" && s.known(client, inForm)
	case assertion != "":
		client, ok = s.checkAssertion(assertion)
		ok = ok && r.PostForm.Get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
		return "client_secret_jwt", client, ok
	}
	_, ok = s.config.Clients[client]
	return "none", client, ok
}

func (s *Server) known(client, secret string) bool {
	right, ok := s.config.Clients[client]
	return ok && secret == right
}

// checkAssertion checks a client assertion as section 3 of RFC 7523 wants it, and that it is
// used once.
func (s *Server) checkAssertion(assertion string) (client string, ok bool) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return "", false
	}
	var header struct{ Alg string }
	var claims struct {
		Iss, Sub, Aud, Jti string
		Iat, Exp           int64
	}
	if !decode(parts[0], &header) || !decode(parts[1], &claims) {
		return "", false
	}
	newHash := map[string]func() hash.Hash{"HS256": sha256.New, "HS512": sha512.New}[header.Alg]
	secret, known := s.config.Clients[claims.Sub]
	if newHash == nil || !known {
		return claims.Sub, false
	}
	mac := hmac.New(newHash, []byte(secret))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	now := time.Now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	ok = err == nil && hmac.Equal(signature, mac.Sum(nil)) && claims.Iss == claims.Sub && claims.Aud == s.TokenURL &&
		claims.Iat <= now && claims.Exp > now && claims.Exp-claims.Iat <= 60 && claims.Jti != "" && !s.used[claims.Jti]
	s.used[claims.Jti] = true
	return claims.Sub, ok
}

func decode(part string, v any) bool {
	b, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(b, v) == nil
}
