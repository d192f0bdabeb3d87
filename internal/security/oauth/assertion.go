package oauth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"hash"
	"time"
)

// assertionLifetime is how long a client assertion is valid.
const assertionLifetime = time.Minute

// assertion returns a JWT that authenticates the client: RFC 7523, section 3, signed with the
// client's secret (RFC 7518, section 3.2).
func (o Options) assertion(now time.Time) string {
	algorithm, newHash := "HS512", func() hash.Hash { return sha512.New() }
	if o.JWTAlgorithm == "HS256" {
		algorithm, newHash = "HS256", sha256.New
	}
	text := encode(map[string]string{"alg": algorithm, "typ": "JWT"}) + "." + encode(map[string]any{
		"iss": o.ClientID,
		"sub": o.ClientID,
		"aud": o.TokenURL,
		"jti": rand.Text(),
		"iat": now.Unix(),
		"exp": now.Add(assertionLifetime).Unix(),
	})
	mac := hmac.New(newHash, []byte(o.ClientSecret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
