// Package msk makes brokers of kfake log clients in as those of Amazon MSK do, by the mechanism
// AWS_MSK_IAM.
package msk

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Key is what a client signs with, and may be logged in with.
type Key struct{ ID, Secret, Token string }

// Gate is the login of the brokers of a cluster. Its methods may be called concurrently.
type Gate struct {
	host, region string

	mu      sync.Mutex
	answer  []byte
	refusal func(payload []byte) string
	keys    []Key
	logins  []string // the IDs of accepted keys
	refused []error
}

const (
	// Refusal is what MSK says to a client that it does not accept, whatever the reason.
	Refusal = "[0e6b9d0c-52b1-4b9e-8e5b-5d7c2a9a4f10]: Access denied"
	// Answer is what MSK says to a client that it accepts.
	Answer = `{"version":"2020_10_22","request-id":"0e6b9d0c-52b1-4b9e-8e5b-5d7c2a9a4f10"}`
)

// Guard gives the brokers of a cluster MSK's login, for that region and that host name. Requests
// without a login are answered, too.
func Guard(c *kfake.Cluster, host, region string, keys ...Key) *Gate {
	g := &Gate{host: host, region: region, keys: keys, answer: []byte(Answer), refusal: func([]byte) string { return Refusal }}
	control := func(key kmsg.Key, answer func(kmsg.Request) kmsg.Response) {
		c.ControlKey(key.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			return answer(request), nil, true
		})
	}
	control(kmsg.SASLHandshake, func(request kmsg.Request) kmsg.Response {
		r := request.ResponseKind().(*kmsg.SASLHandshakeResponse)
		r.SupportedMechanisms = []string{"AWS_MSK_IAM"}
		if request.(*kmsg.SASLHandshakeRequest).Mechanism != "AWS_MSK_IAM" {
			r.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		}
		return r
	})
	control(kmsg.SASLAuthenticate, func(request kmsg.Request) kmsg.Response {
		r := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		answer, refusal := g.login(request.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes)
		if r.SASLAuthBytes = answer; answer == nil {
			r.ErrorCode, r.ErrorMessage = kerr.SaslAuthenticationFailed.Code, &refusal
		}
		return r
	})
	return g
}

// Accept replaces the keys.
func (g *Gate) Accept(keys ...Key) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys = keys
}

// Answer replaces the answer to clients that are accepted.
func (g *Gate) Answer(answer string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = []byte(answer)
}

// Refuse replaces the answer to clients that are not accepted.
func (g *Gate) Refuse(refusal func(payload []byte) string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refusal = refusal
}

// Logins are the IDs of the keys of clients that were logged in.
func (g *Gate) Logins() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.logins...)
}

// Refused is why clients were not logged in.
func (g *Gate) Refused() []error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]error(nil), g.refused...)
}

// login returns the answer to a payload, or the refusal.
func (g *Gate) login(payload []byte) (answer []byte, refusal string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	id, err := Verify(payload, g.host, g.region, time.Now(), g.keys...)
	if err != nil {
		g.refused = append(g.refused, err)
		return nil, g.refusal(payload)
	}
	g.logins = append(g.logins, id)
	return g.answer, ""
}

// skew is how far the clock of a client may be ahead.
const skew = 5 * time.Minute

// Verify returns the ID of the key that a payload was signed with, for a broker of that name
// and region, or why it is not accepted. It computes the signature from the payload alone, and
// shares no code with what it verifies.
func Verify(payload []byte, host, region string, now time.Time, keys ...Key) (id string, err error) {
	var m map[string]string
	if err := json.Unmarshal(payload, &m); err != nil {
		return "", err
	}
	// The members of a payload, in the order in which its parameters are signed.
	members := []struct{ member, parameter, want string }{
		{"version", "", "2020_10_22"},
		{"host", "", host},
		{"user-agent", "", "kafka-upstream"},
		{"action", "Action", "kafka-cluster:Connect"},
		{"x-amz-algorithm", "X-Amz-Algorithm", "AWS4-HMAC-SHA256"},
		{"x-amz-credential", "X-Amz-Credential", ""},
		{"x-amz-date", "X-Amz-Date", ""},
		{"x-amz-expires", "X-Amz-Expires", "900"},
		{"x-amz-security-token", "X-Amz-Security-Token", ""},
		{"x-amz-signedheaders", "X-Amz-SignedHeaders", "host"},
		{"x-amz-signature", "", ""},
	}
	query, count := "", 0
	for _, p := range members {
		value, ok := m[p.member]
		switch {
		case !ok && p.member == "x-amz-security-token":
			continue
		case value == "" || p.want != "" && value != p.want:
			return "", fmt.Errorf("%s is %q", p.member, value)
		case p.parameter != "":
			query += "&" + p.parameter + "=" + escape(value)
		}
		count++
	}
	if count != len(m) {
		return "", errors.New("there are unknown members")
	}
	date := m["x-amz-date"]
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil {
		return "", err
	}
	if now.Before(at.Add(-skew)) || now.After(at.Add(15*time.Minute)) {
		return "", fmt.Errorf("it was signed at %s, and now it is %s", at, now.UTC())
	}
	scope := fmt.Sprintf("%.8s/%s/kafka-cluster/aws4_request", date, region)
	for _, k := range keys {
		if m["x-amz-credential"] != k.ID+"/"+scope {
			continue
		}
		if m["x-amz-security-token"] != k.Token {
			return "", errors.New("the session token is not that of the key")
		}
		request := sha256.Sum256(fmt.Appendf(nil, "GET\n/\n%s\nhost:%s\n\nhost\n%x", query[1:], host, sha256.Sum256(nil)))
		key := sum(sum(sum(sum([]byte("AWS4"+k.Secret), date[:8]), region), "kafka-cluster"), "aws4_request")
		if want := fmt.Sprintf("%x", sum(key, fmt.Sprintf("AWS4-HMAC-SHA256\n%s\n%s\n%x", date, scope, request))); m["x-amz-signature"] != want {
			return "", errors.New("the signature is wrong")
		}
		return k.ID, nil
	}
	return "", errors.New("there is no such key in this region: " + m["x-amz-credential"])
}

func sum(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// escape returns a text percent-encoded as AWS's UriEncode does.
func escape(s string) (out string) {
	for _, c := range []byte(s) {
		if '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '.' || c == '_' || c == '~' {
			out += string(rune(c))
		} else {
			out += fmt.Sprintf("%%%02X", c)
		}
	}
	return out
}
