package sasl

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/security/oauth"
)

// issued is a source of tokens: the first, and the next one once a token is dropped.
type issued struct {
	mu     sync.Mutex
	tokens []string
	err    error
	closed bool
}

func (s *issued) Token(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens[0], s.err
}

func (s *issued) Drop(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token == s.tokens[0] && len(s.tokens) > 1 {
		s.tokens = s.tokens[1:]
	}
}

func (s *issued) Close() { s.closed = true }

func bearer(tokens ...string) (*oauthBearer, *issued) {
	s := &issued{tokens: tokens}
	m := &oauthBearer{source: s}
	m.redactor = foreign.NewRedactor("client-s3cret").With(m.Secrets)
	return m, s
}

func start(t *testing.T, m sasl.Mechanism, want string) sasl.StateMachine {
	t.Helper()
	ctx := sasl.WithMetadata(t.Context(), &sasl.Metadata{Host: "kafka", Port: 9092})
	state, first, err := m.Start(ctx)
	if err != nil || string(first) != want {
		t.Fatalf("%q, %v, want %q", first, err, want)
	}
	return state
}

func TestTokenIsSentWithItsExtensions(t *testing.T) {
	for _, tc := range []struct {
		extensions map[string]string
		want       string
	}{
		{nil, "n,,\x01auth=Bearer a.b-c_d~e+f/g==\x01\x01"},
		{map[string]string{"logicalCluster": "lkc-1"}, "n,,\x01auth=Bearer a.b-c_d~e+f/g==\x01logicalCluster=lkc-1\x01\x01"},
		{map[string]string{"identityPoolId": "pool-1", "logicalCluster": "lkc=1,\t\r\n~", "A": "!"},
			"n,,\x01auth=Bearer a.b-c_d~e+f/g==\x01A=!\x01identityPoolId=pool-1\x01logicalCluster=lkc=1,\t\r\n~\x01\x01"},
	} {
		m := newMechanism(t, Credentials{Mechanism: "OAUTHBEARER", TokenFile: file(t, "a.b-c_d~e+f/g==\n"), Extensions: tc.extensions})
		for range 2 { // one for each connection
			state := start(t, m, tc.want)
			if done, response, err := state.Next(t.Context(), nil); !done || response != nil || err != nil {
				t.Errorf("got %v, %q, %v", done, response, err)
			}
		}
	}
}

func TestTokenSettingsThatCannotBeUsedAreRefusedWithoutTellingThem(t *testing.T) {
	endpoint := oauth.Options{TokenURL: "https://idp/token", ClientID: "c", ClientSecret: "s3cr3t"}
	with := func(change func(*Credentials)) Credentials {
		c := Credentials{Mechanism: "OAUTHBEARER", OAuth: endpoint}
		change(&c)
		return c
	}
	for name, tc := range map[string]struct {
		c    Credentials
		want string // "" for nothing wrong
	}{
		"endpoint":             {with(func(*Credentials) {}), ""},
		"file":                 {Credentials{Mechanism: "OAUTHBEARER", TokenFile: "/t"}, ""},
		"file, and a client":   {Credentials{Mechanism: "OAUTHBEARER", TokenFile: "/t", OAuth: oauth.Options{ClientID: "c"}}, ""},
		"nothing":              {Credentials{Mechanism: "OAUTHBEARER"}, "authentication.oauthbearer.token_endpoint_url is empty"},
		"both":                 {with(func(c *Credentials) { c.TokenFile = "/t" }), "authentication.oauthbearer has both token_file and token_endpoint_url"},
		"no client":            {with(func(c *Credentials) { c.OAuth.ClientID = "" }), "authentication.oauthbearer.client_id is empty"},
		"no secret":            {with(func(c *Credentials) { c.OAuth.ClientSecret = "" }), "authentication.oauthbearer.client_secret is empty"},
		"no URL":               {with(func(c *Credentials) { c.OAuth.TokenURL = "s3cr3t" }), "authentication.oauthbearer.token_endpoint_url must be a URL"},
		"secret with a NUL":    {with(func(c *Credentials) { c.OAuth.ClientSecret = "s3cr3t\x00" }), "authentication.oauthbearer.client_secret is not UTF-8, or"},
		"file with a NUL":      {Credentials{Mechanism: "OAUTHBEARER", TokenFile: "s3cr3t\x00"}, "authentication.oauthbearer.token_file is not UTF-8, or"},
		"client not UTF-8":     {with(func(c *Credentials) { c.OAuth.ClientID = "\xff" }), "authentication.oauthbearer.client_id is not UTF-8"},
		"extension auth":       {with(func(c *Credentials) { c.Extensions = map[string]string{"auth": "s3cr3t"} }), "contains auth"},
		"extension's name":     {with(func(c *Credentials) { c.Extensions = map[string]string{"s3cr3t": "x"} }), "a name with other characters than letters"},
		"no name":              {with(func(c *Credentials) { c.Extensions = map[string]string{"": "x"} }), "a name with other characters than letters"},
		"extension's value":    {with(func(c *Credentials) { c.Extensions = map[string]string{"a": "s3cr3t\x01b=c"} }), "a value that is empty, or"},
		"line after the value": {with(func(c *Credentials) { c.Extensions = map[string]string{"a": "ä"} }), "a value that is empty, or"},
		"no value":             {with(func(c *Credentials) { c.Extensions = map[string]string{"a": ""} }), "a value that is empty, or"},
		"delegation token":     {with(func(c *Credentials) { c.TokenAuth = true }), "authentication.tokenauth is only valid with a SCRAM mechanism"},
	} {
		problems := strings.Join(tc.c.Check(), "; ")
		if !strings.Contains(problems, tc.want) || (problems == "") != (tc.want == "") || strings.Contains(problems, "s3cr3t") {
			t.Errorf("%s: %q, want %q", name, problems, tc.want)
		}
	}
}

const kafkasReason = `{"status":"invalid_token","scope":"kafka","openid-configuration":"https://idp/.well-known"}`

// kafkasError is what kafka-go makes of the code that ends a refused exchange.
func kafkasError(message string) error {
	return fmt.Errorf("%w: %s", kafka.SASLAuthenticationFailed, message)
}

func TestReasonOfARefusalIsInTheError(t *testing.T) {
	const login = "SASL OAUTHBEARER with broker kafka:9092: the broker refused the token: "
	for challenge, want := range map[string]string{
		kafkasReason:                     `status "invalid_token", scope "kafka", openid-configuration "https://idp/.well-known"`,
		`{"status":"invalid_token"}`:     `status "invalid_token"`,
		`{"status":"a\n\"b\u202e"}`:      `status "a\n"b\u202e"`,
		`{"status":""}`:                  `"{"status":""}"`,
		`{"status":1}`:                   `"{"status":1}"`,
		`{"status":"x"} trailing`:        `"{"status":"x"} trailing"`,
		"\x00no JSON\n":                  `"\x00no JSON\n"`,
		`{"status":"for client-s3cret"}`: `status "for [redacted]"`,
		`{"status":"for t0ken-of-1"}`:    `status "for [redacted]"`,
		base64.StdEncoding.EncodeToString([]byte("auth=Bearer t0ken-of-1")): `"YXV0aD1CZWFyZXIg[redacted]"`,
	} {
		m, _ := bearer("t0ken-of-1", "t0ken-of-2")
		state := start(t, m, "n,,\x01auth=Bearer t0ken-of-1\x01\x01")
		ctx := sasl.WithMetadata(t.Context(), &sasl.Metadata{Host: "kafka", Port: 9092})
		if done, response, err := state.Next(ctx, []byte(challenge)); done || string(response) != "\x01" || err != nil {
			t.Fatalf("%s: %v, %q, %v", challenge, done, response, err)
		}
		for name, tc := range map[string]struct{ err, want string }{
			"the reason again": {challenge, login + want},
			"another text":     {"no", login + want + "; [58] SASL Authentication Failed"},
		} {
			err := m.Rejected(kafkasError(tc.err))
			if !strings.HasPrefix(err.Error(), tc.want) || !kafkaerr.IsAuthentication(err) || kafkaerr.Of(err) != kafkaerr.Authentication {
				t.Errorf("%s, %s: %v", challenge, name, err)
			}
		}
		_, _, err := state.Next(ctx, nil) // a broker that does not end the exchange
		if err == nil || err.Error() != login+want || m.Rejected(err) != err || !kafkaerr.IsAuthentication(err) {
			t.Errorf("%s: %v", challenge, err)
		}
	}
	m, _ := bearer("t0ken-of-1")
	start(t, m, "n,,\x01auth=Bearer t0ken-of-1\x01\x01")
	for _, err := range []error{kafkasError("refused at once"), kafka.UnsupportedSASLMechanism, io.EOF} {
		if got := m.Rejected(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}

func TestLongReasonIsCut(t *testing.T) {
	m, _ := bearer("t")
	for _, challenge := range []string{`{"status":"` + strings.Repeat("a", 4000) + `"}`, `{"status":"` + strings.Repeat("a", 60_000) + `"}`, strings.Repeat(`{"a":`, 10_000)} {
		if text := parseRefusal([]byte(challenge), m.redactor).Error(); len(text) > 300 {
			t.Errorf("%d bytes: %s", len(text), text)
		}
	}
}

// What a broker refused is not sent again, but brokers that refuse every token do not make it ask
// the token endpoint with each login.
func TestRefusedTokenIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := bearer("a", "b", "c", "d", "e")
		login := func(token string) {
			t.Helper()
			start(t, m, "n,,\x01auth=Bearer "+token+"\x01\x01")
		}
		refused := kafkasError("no")
		for _, step := range []struct {
			token string
			wait  time.Duration
		}{{"a", 0}, {"b", minDropPause - 1}, {"b", 1}, {"c", 2*minDropPause - 1}, {"c", 1}, {"d", 0}} {
			time.Sleep(step.wait)
			if step.wait > 0 {
				_ = m.Rejected(refused)
			}
			if step.token != m.sent[0] {
				login(step.token)
			}
			_ = m.Rejected(refused)
			_ = m.Rejected(refused) // reported by another request
		}
		state := start(t, m, "n,,\x01auth=Bearer d\x01\x01")
		if done, _, err := state.Next(t.Context(), nil); !done || err != nil {
			t.Fatal(err)
		}
		time.Sleep(dropRest) // which ends the pauses
		_ = m.Rejected(refused)
		login("e")
		if got := fmt.Sprint(m.Secrets()); got != "[e d]" {
			t.Errorf("the secrets are %s", got)
		}
	})
}

// Such as brokers of which one does not know the issuer's new keys yet.
func TestBrokersThatDisagreeDoNotCostATokenEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := make([]string, 1000)
		for i := range all {
			all[i] = fmt.Sprint(i)
		}
		m, s := bearer(all...)
		for range 10 * 60 * 2 { // two minutes
			state, _, err := m.Start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if done, _, err := state.Next(t.Context(), nil); !done || err != nil {
				t.Fatal(done, err)
			}
			if _, _, err := m.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			_ = m.Rejected(kafkasError("no"))
			time.Sleep(100 * time.Millisecond)
		}
		// After 0, 1, 3, 7, 15, 31, 61 and 91 s.
		if n := len(all) - len(s.tokens); n != 8 {
			t.Errorf("%d tokens were dropped", n)
		}
	})
}

func TestOtherErrorsDropNoToken(t *testing.T) {
	m, s := bearer("a", "b")
	start(t, m, "n,,\x01auth=Bearer a\x01\x01")
	for _, err := range []error{&tls.CertificateVerificationError{Err: errors.New("x")}, kafka.UnsupportedSASLMechanism} {
		if m.Rejected(err) != err {
			t.Errorf("%v is changed", err)
		}
	}
	if s.tokens[0] != "a" {
		t.Error("the token is dropped")
	}
}

// A token that is not to be had is an outage. It is nothing that a broker has rejected, whatever
// the cause looks like.
func TestMissingTokenIsAnOutage(t *testing.T) {
	for _, cause := range []error{errors.New("x"), &tls.CertificateVerificationError{Err: errors.New("x")}, io.EOF, context.DeadlineExceeded, kafka.SASLAuthenticationFailed} {
		m, s := bearer("")
		s.err = &oauth.TokenError{Endpoint: "https://idp/token", Err: cause}
		_, _, startErr := m.Start(t.Context())
		for _, err := range []error{m.Ready(t.Context()), startErr, fmt.Errorf("x: %w", startErr)} {
			if _, ok := errors.AsType[*TokenError](err); !ok || !kafkaerr.IsUnsent(err) || !kafkaerr.IsUnreachable(err) ||
				kafkaerr.IsAuthentication(err) || kafkaerr.IsDisconnected(err) || kafkaerr.Of(err) != kafkaerr.NoToken ||
				!strings.Contains(err.Error(), "could not get token from https://idp/token: ") {
				t.Errorf("%v: %T %v, of class %v", cause, err, err, kafkaerr.Of(err))
			}
		}
	}
	m, s := bearer("")
	s.err = errors.New("x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Ready(ctx); kafkaerr.Of(err) != kafkaerr.Shutdown {
		t.Errorf("at the end: %v", err)
	}
}

func TestTokenThatWouldBeAnotherMessageIsNotSent(t *testing.T) {
	for _, token := range []string{"", "a\x01b=c", "a b", "a\n", "ä", "a=b", "\x00"} {
		m, _ := bearer(token)
		if err := m.Ready(t.Context()); err == nil || kafkaerr.Of(err) != kafkaerr.NoToken || token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%q: %v", token, err)
		}
	}
}

func TestEndOfTheMechanismEndsItsSource(t *testing.T) {
	m, s := bearer("a")
	if m.Close(); !s.closed {
		t.Error("it goes on")
	}
}

// renewed is a source with another token each time.
type renewed struct{ n atomic.Int64 }

func (s *renewed) Token(context.Context) (string, error) {
	return fmt.Sprintf("t0ken-of-%d", s.n.Add(1)), nil
}
func (*renewed) Drop(string) {}
func (*renewed) Close()      {}

func TestLoginsAndTheirErrorsMayCoincide(t *testing.T) {
	m, _ := bearer()
	m.source = new(renewed)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				state, _, err := m.Start(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if _, _, err := state.Next(t.Context(), []byte(kafkasReason)); err != nil {
					t.Error(err)
				}
				_ = m.redactor.Redact(m.Rejected(kafkasError(kafkasReason)).Error())
			}
		})
	}
	wg.Wait()
}

// Whatever a broker sends is one short printable line in the error, without the token.
func FuzzRefusal(f *testing.F) {
	for _, s := range []string{kafkasReason, "", `{"status":"t0ken-of-1"}`, "\xff\x00", `{"status":null}`, strings.Repeat("t0ken-of-1", 500)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, challenge []byte) {
		m, _ := bearer("t0ken-of-1")
		state := start(t, m, "n,,\x01auth=Bearer t0ken-of-1\x01\x01")
		done, response, err := state.Next(t.Context(), challenge)
		if err != nil || done != (len(challenge) == 0) || !done && string(response) != "\x01" {
			t.Fatalf("%v, %q, %v", done, response, err)
		}
		if done {
			return
		}
		text := m.Rejected(kafkasError("no")).Error()
		if len(text) > 1000 || foreign.Cut(text, 1000) != text || strings.Contains(text, "t0ken-of-1") {
			t.Errorf("%q", text)
		}
	})
}
