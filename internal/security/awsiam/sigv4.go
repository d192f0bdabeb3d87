package awsiam

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"time"
)

// The form of the payload is that of Amazon's client for Java, aws-msk-iam-auth
// (AWS4SignedPayloadGenerator, AuthenticationRequestParams).
const (
	service = "kafka-cluster"
	action  = service + ":Connect"
	// version is that of the payload's form, and of the broker's answer.
	version = "2020_10_22"
	// userAgent is what the condition key aws:UserAgent of IAM policies is compared with.
	userAgent = "kafka-upstream"
	// lifetime is how long a broker accepts a payload.
	lifetime = "900" // seconds
)

// payload returns the message for a broker: GET https://host/?Action=… signed by its query,
// with the parameters in lower case as members of a JSON object.
func payload(c credentials, region, host string, now time.Time) (_ []byte, signature string) {
	query := url.Values{"Action": {action}, "X-Amz-Expires": {lifetime}}
	scope{region, service, now}.presign(c, host, query)
	message := map[string]string{"version": version, "host": host, "user-agent": userAgent}
	for name, values := range query {
		message[strings.ToLower(name)] = values[0]
	}
	b, err := json.Marshal(message)
	if err != nil {
		panic(err) // it consists of strings
	}
	return b, query.Get("X-Amz-Signature")
}

// scope is what a signature is for.
type scope struct {
	region, service string
	at              time.Time
}

// presign adds to the query of GET https://host/ what Signature Version 4 has there, the
// signature included. The host is the only header that is signed. See "Create a signed AWS
// API request" in the IAM User Guide.
func (s scope) presign(c credentials, host string, query url.Values) {
	const algorithm = "AWS4-HMAC-SHA256"
	date := s.at.UTC().Format("20060102T150405Z")
	parts := []string{date[:8], s.region, s.service, "aws4_request"}
	name := strings.Join(parts, "/")

	query.Set("X-Amz-Algorithm", algorithm)
	query.Set("X-Amz-Credential", c.accessKeyID+"/"+name)
	query.Set("X-Amz-Date", date)
	query.Set("X-Amz-SignedHeaders", "host")
	if c.sessionToken != "" {
		query.Set("X-Amz-Security-Token", c.sessionToken)
	}
	// Encode sorts by name and leaves what RFC 3986 calls unreserved, as the canonical form
	// does, which has %20 for a space.
	encoded := strings.ReplaceAll(query.Encode(), "+", "%20")
	canonical := "GET\n/\n" + encoded + "\nhost:" + host + "\n\nhost\n" + digest("")

	key := []byte("AWS4" + c.secretAccessKey)
	for _, part := range parts {
		key = mac(key, part)
	}
	signature := mac(key, strings.Join([]string{algorithm, date, name, digest(canonical)}, "\n"))
	query.Set("X-Amz-Signature", hex.EncodeToString(signature))
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}
