package kafkatest

import (
	"bytes"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Tokens says which logins by OAUTHBEARER a [Fake] accepts, and sees them. The brokers answer as
// Kafka's do: a token that is refused gets a reason in JSON, and then the end of the exchange.
// Its methods may be called from many goroutines at once.
type Tokens struct {
	mu       sync.Mutex
	accept   func(token string) bool
	reason   string
	lifetime time.Duration
	logins   []TokenLogin
	answered int
}

// TokenLogin is the first message of a login.
type TokenLogin struct {
	At       time.Time
	Message  string
	Token    string
	Accepted bool
}

// InvalidToken is the reason that Kafka gives for its refusal of a token.
const InvalidToken = `{"status":"invalid_token"}`

var firstMessage = regexp.MustCompile(`^n,,\x01auth=Bearer ([^\x01]+)\x01([A-Za-z]+=[^\x01]+\x01)*\x01$`)

// TakeTokens has the brokers accept all tokens for which accept returns true; nil for all.
func (f *Fake) TakeTokens(accept func(token string) bool) *Tokens {
	k := &Tokens{reason: InvalidToken}
	k.Accept(accept)
	control := func(key kmsg.Key, answer func(kmsg.Request) kmsg.Response) {
		f.ControlKey(key.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
			f.KeepControl()
			return answer(request), nil, true
		})
	}
	control(kmsg.SASLHandshake, func(request kmsg.Request) kmsg.Response {
		r := request.ResponseKind().(*kmsg.SASLHandshakeResponse)
		r.SupportedMechanisms = []string{"OAUTHBEARER"}
		if request.(*kmsg.SASLHandshakeRequest).Mechanism != "OAUTHBEARER" {
			r.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		}
		return r
	})
	control(kmsg.SASLAuthenticate, k.authenticate)
	return k
}

func (k *Tokens) authenticate(request kmsg.Request) kmsg.Response {
	r := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	message := request.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes
	k.mu.Lock()
	defer k.mu.Unlock()
	if bytes.Equal(message, []byte{1}) { // the answer to a reason
		k.answered++
		r.ErrorCode, r.ErrorMessage = kerr.SaslAuthenticationFailed.Code, &k.reason
		return r
	}
	l := TokenLogin{At: time.Now(), Message: string(message)}
	if m := firstMessage.FindStringSubmatch(l.Message); m != nil {
		l.Token = m[1]
		l.Accepted = k.accept == nil || k.accept(l.Token)
	}
	k.logins = append(k.logins, l)
	if l.Accepted {
		r.SessionLifetimeMillis = k.lifetime.Milliseconds()
	} else {
		r.SASLAuthBytes = []byte(k.reason)
	}
	return r
}

// Accept has the brokers accept other tokens from now on.
func (k *Tokens) Accept(accept func(token string) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.accept = accept
}

// Refuse sets the reason for refusals, in place of [InvalidToken].
func (k *Tokens) Refuse(reason string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reason = reason
}

// Limit sets how long the brokers say that a session is; 0 for unlimited.
func (k *Tokens) Limit(lifetime time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lifetime = lifetime
}

// Logins returns the logins so far.
func (k *Tokens) Logins() []TokenLogin {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.logins)
}

// Answered returns how many refusals were answered as RFC 7628 requires.
func (k *Tokens) Answered() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.answered
}
