package idp

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// post asks for a token and returns the answer.
func post(t *testing.T, s *Server, form url.Values) (status int, answer map[string]any) {
	t.Helper()
	response, err := s.server.Client().PostForm(s.TokenURL, form)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

// verify returns the claims of a JWT that was signed with the one key of a JWKS document.
func verify(t *testing.T, token string, jwks []byte) (claims map[string]any) {
	t.Helper()
	var keys struct {
		Keys []struct{ Kid, Alg, N, E string }
	}
	if err := json.Unmarshal(jwks, &keys); err != nil || len(keys.Keys) != 1 {
		t.Fatalf("%v in %s", err, jwks)
	}
	raw := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	parts := strings.Split(token, ".")
	var header struct{ Kid, Alg string }
	if err := json.Unmarshal(raw(parts[0]), &header); err != nil || header.Kid != keys.Keys[0].Kid || header.Alg != keys.Keys[0].Alg {
		t.Errorf("%v: the token is of %v, the document has %v", err, header, keys.Keys)
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(raw(keys.Keys[0].N)), E: int(new(big.Int).SetBytes(raw(keys.Keys[0].E)).Int64())}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], raw(parts[2])); err != nil {
		t.Error(err)
	}
	if err := json.Unmarshal(raw(parts[1]), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestTokenIsVerifiedByTheKeyOfTheFile(t *testing.T) {
	s := Start(t, Config{Clients: map[string]string{"orders": "s3cr3t"}})
	s.Behave(func(b *Behaviour) {
		b.Claims, b.ExpiresIn, b.Lifetime = map[string]any{"role": "writer", "jti": nil}, 7, 10*time.Second
	})
	status, answer := post(t, s, url.Values{"grant_type": {"client_credentials"}, "client_id": {"orders"}, "client_secret": {"s3cr3t"}, "scope": {"a b"}, "audience": {"kafka"}})
	if status != http.StatusOK || answer["token_type"] != "Bearer" || answer["expires_in"] != 7.0 || answer["scope"] != "a b" {
		t.Errorf("status %d, %v", status, answer)
	}
	file := filepath.Join(t.TempDir(), "jwks.json")
	if err := s.WriteJWKS(file); err != nil {
		t.Fatal(err)
	}
	jwks, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	claims := verify(t, answer["access_token"].(string), jwks)
	if claims["iss"] != s.Issuer || claims["sub"] != "orders" || claims["scope"] != "a b" || claims["role"] != "writer" ||
		claims["aud"].([]any)[0] != "kafka" || claims["exp"].(float64)-claims["iat"].(float64) != 10 || claims["jti"] != nil {
		t.Errorf("claims %v", claims)
	}
	if claims := verify(t, s.Token(map[string]any{"sub": "other"}), jwks); claims["sub"] != "other" {
		t.Errorf("claims %v", claims)
	}
	if r := s.Requests(); len(r) != 1 || r[0].Method != "client_secret_post" || r[0].Client != "orders" || r[0].Status != http.StatusOK {
		t.Errorf("requests %v", r)
	}
}

func TestWrongCredentialsAreRefused(t *testing.T) {
	s := Start(t, Config{Clients: map[string]string{"orders": "s3cr3t"}, Users: map[string]string{"ann": "pa55word"}})
	for _, test := range []struct {
		form   url.Values
		status int
		code   string
	}{
		{url.Values{"grant_type": {"client_credentials"}}, 401, "invalid_client"},
		{url.Values{"grant_type": {"client_credentials"}, "client_id": {"orders"}}, 401, "invalid_client"},
		{url.Values{"grant_type": {"client_credentials"}, "client_id": {"orders"}, "client_secret": {"wrong"}}, 401, "invalid_client"},
		{url.Values{"grant_type": {"client_credentials"}, "client_assertion": {"a.b.c"}}, 401, "invalid_client"},
		{url.Values{"grant_type": {"password"}, "client_id": {"orders"}, "client_secret": {"s3cr3t"}, "username": {"ann"}, "password": {"wrong"}}, 400, "invalid_grant"},
		{url.Values{"grant_type": {"implicit"}, "client_id": {"orders"}, "client_secret": {"s3cr3t"}}, 400, "unsupported_grant_type"},
	} {
		if status, answer := post(t, s, test.form); status != test.status || answer["error"] != test.code {
			t.Errorf("%v: status %d, %v", test.form, status, answer)
		}
	}
}

func TestKeyIsSharedUnlessAServerHasItsOwn(t *testing.T) {
	a, b, own := Start(t, Config{}), Start(t, Config{}), Start(t, Config{OwnKey: true})
	if a.keyID() != b.keyID() || a.keyID() == own.keyID() {
		t.Errorf("keys %s, %s and %s", a.keyID(), b.keyID(), own.keyID())
	}
}

func TestTokensAreAcceptedUntilTheyExpire(t *testing.T) {
	p, other := Start(t, Config{}), Start(t, Config{})
	for name, c := range map[string]struct {
		token string
		want  bool
	}{
		"one of now":      {p.Token(nil), true},
		"an expired one":  {p.Token(map[string]any{"exp": 1}), false},
		"another one's":   {other.Token(nil), false},
		"no token":        {"a.b", false},
		"a wrong one":     {p.Token(nil) + "AAAA", false},
		"one without exp": {p.Token(map[string]any{"exp": nil}), false},
	} {
		if got := p.Accepts(c.token); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
