package idp

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"
)

// Accepts reports whether a token is one of the Server's that has not expired, checked as a
// broker or a registry does.
func (s *Server) Accepts(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || rsa.VerifyPKCS1v15(&s.key().PublicKey, crypto.SHA256, digest[:], signature) != nil {
		return false
	}
	var claims struct {
		Iss string
		Exp int64
	}
	return decode(parts[1], &claims) && claims.Iss == s.Issuer && time.Now().Unix() < claims.Exp
}
