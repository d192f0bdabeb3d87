//go:build kafka

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/idp"
	"kafka-upstream/internal/test/kafkatest"
)

// Kafka's own validator, with the leeway that it has by default, checks the tokens of these
// tests.

const (
	tokenClient   = "orders"
	tokenAudience = "kafka"
	leeway        = 30 * time.Second // sasl.oauthbearer.clock.skew.seconds
)

// startIDP starts the identity provider of the brokers, and says how they know its tokens.
func startIDP(t *testing.T) (*idp.Server, *kafkatest.OAuth) {
	t.Helper()
	p := idp.Start(t, idp.Config{Clients: map[string]string{tokenClient: rig.Secret("s3cret of orders, ü"), "idle": rig.Secret("s3cret-of-idle")}})
	p.Behave(calm)
	jwks := filepath.Join(t.TempDir(), "jwks.json")
	if err := p.WriteJWKS(jwks); err != nil {
		t.Fatal(err)
	}
	return p, &kafkatest.OAuth{JWKS: "file://" + jwks, Issuer: p.Issuer, Audience: tokenAudience}
}

// calm is how the provider behaves unless a test says otherwise.
func calm(b *idp.Behaviour) {
	*b = idp.Behaviour{ExpiresIn: 300, Lifetime: 5 * time.Minute, Audience: []string{tokenAudience}}
}

// behave has the provider behave otherwise, until the end of the test.
func (k *securedKafka) behave(t *testing.T, change func(*idp.Behaviour)) {
	t.Helper()
	k.idp.Behave(change)
	t.Cleanup(func() { k.idp.Behave(calm) })
}

// oauthbearer is the authentication of a configuration, with more of the record oauthbearer.
func (k *securedKafka) oauthbearer(more ...any) map[string]any {
	record := map[string]any{"token_endpoint_url": k.idp.TokenURL, "client_id": tokenClient, "client_secret": "s3cret of orders, ü"}
	for i := 0; i+1 < len(more); i += 2 {
		record[more[i].(string)] = more[i+1]
	}
	return map[string]any{"strategy": "sasl", "mechanism": "OAUTHBEARER", "oauthbearer": record}
}

func (k *securedKafka) testTokenLogins(t *testing.T) {
	topic := k.topic(t, "bearer", "User:"+tokenClient, 3)
	heard := new(lockedBuffer)
	p := startProxy(t, k.Addrs(kafkatest.SASLPlaintext)[0], func(client, broker net.Conn) {
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.MultiWriter(broker, heard), client); broker.Close() })
		_, _ = io.Copy(client, broker)
		client.Close()
		wg.Wait()
	})
	before := len(k.idp.Requests())
	to := with(synced, map[string]any{"topic": topic})
	s := secured(t, hosts(map[string][]byte{
		"clear": rig.Settings(t, p.addrs(), with(to, map[string]any{"authentication": k.oauthbearer(
			"scopes", []string{"kafka", "orders.write"}, "extensions", map[string]string{"logicalCluster": "lkc-1", "identityPoolId": "pool-2"})})),
		"tls":     rig.Settings(t, k.Addrs(kafkatest.SASLSSL), with(to, map[string]any{"authentication": k.oauthbearer(), "security": overTLS()})),
		"another": rig.Settings(t, k.Addrs(kafkatest.SASLSSL), with(to, map[string]any{"authentication": k.oauthbearer("client_id", "idle", "client_secret", "s3cret-of-idle"), "security": overTLS()})),
	}), caFlag(t, k.ca)...)
	s.want("clear", 200)
	s.want("tls", 200)
	s.want("another", 502) // the principal is the token's subject
	s.wantError("", "Topic Authorization Failed")
	if n := len(k.Records(t, topic, 2)); n != 2 {
		t.Errorf("%d records", n)
	}
	const extensions = "\x01identityPoolId=pool-2\x01logicalCluster=lkc-1\x01\x01"
	if got := heard.String(); !strings.Contains(got, "n,,\x01auth=Bearer eyJ") || !strings.Contains(got, extensions) {
		t.Error("the broker did not get the token with the extensions")
	}
	var scopes []string
	for _, r := range k.idp.Requests()[before:] {
		scopes = append(scopes, r.Form["scope"]...)
	}
	if got := strings.Join(scopes, ","); got != "kafka orders.write" {
		t.Errorf("the provider was asked for the scopes %q", got)
	}
	if n := s.count("the access token goes to the brokers in the clear"); n != 1 {
		t.Errorf("%d warnings of a token in the clear, want 1", n)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// The clocks of the provider and the brokers differ, or a token is of no use at all.
func (k *securedKafka) testClocksOfTokens(t *testing.T) {
	topic := k.topic(t, "clocks", "User:"+tokenClient, 1)
	const invalid = `the broker refused the token: status "invalid_token"`
	records := 0
	for _, c := range []struct {
		name   string
		change func(*idp.Behaviour)
		reason string // in Kong's error log; "" if the record is delivered
	}{
		{"provider is ahead within the leeway", func(b *idp.Behaviour) { b.Skew = leeway / 2 }, ""},
		{"provider is behind within the leeway", func(b *idp.Behaviour) { b.Skew = -leeway / 2 }, ""},
		{"provider is an hour ahead", func(b *idp.Behaviour) { b.Skew = time.Hour }, ""}, // Kafka does not compare iat
		{"provider is an hour behind", func(b *idp.Behaviour) { b.Skew = -time.Hour }, invalid},
		{"not valid before an hour", func(b *idp.Behaviour) { b.Claims = map[string]any{"nbf": time.Now().Add(time.Hour).Unix()} }, invalid},
		{"expires soon", func(b *idp.Behaviour) { b.ExpiresIn, b.Lifetime = 5, 5*time.Second }, ""},
		{"expired", func(b *idp.Behaviour) { b.Lifetime = -time.Minute }, invalid},
		{"of another issuer", func(b *idp.Behaviour) { b.Claims = map[string]any{"iss": "https://elsewhere.example"} }, invalid},
		{"for another audience", func(b *idp.Behaviour) { b.Audience = []string{"elsewhere"} }, invalid},
		{"without an expiry", func(b *idp.Behaviour) { b.ExpiresIn = nil }, ""},
		{"no JWT", func(b *idp.Behaviour) { b.Body = `{"access_token":"opaque","token_type":"Bearer","expires_in":300}` }, invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			k.behave(t, c.change)
			s := secured(t, kongYAML(t, rig.Settings(t, k.Addrs(kafkatest.SASLPlaintext), with(synced, map[string]any{
				"topic": topic, "producer_request_retries_max_attempts": 1, "authentication": k.oauthbearer()}))), "-drain-timeout", "1s")
			if c.reason == "" {
				s.want(host, 200)
				records++
				return
			}
			s.want(host, 502)
			s.wantError("", c.reason)
		})
	}
	if n := len(k.Records(t, topic, records)); n != records {
		t.Errorf("%d records for %d answers with 200", n, records)
	}
}

// Without a token nobody logs in, and a client is told so.
func (k *securedKafka) testNoToken(t *testing.T) {
	topic := k.topic(t, "no-token", "User:*", 1)
	wrong := rig.Secret("wr0ng-secret-of-orders")
	for _, c := range []struct {
		name, reason string
		auth         map[string]any
		change       func(*idp.Behaviour)
	}{
		{"wrong secret", "invalid_client", k.oauthbearer("client_secret", wrong), calm},
		{"provider closes connections", "EOF", k.oauthbearer(), func(b *idp.Behaviour) { b.Down = true }},
		{"provider is not there", "connection refused", k.oauthbearer("token_endpoint_url", "http://"+rig.ClosedPort(t)+"/token"), calm},
		{"provider fails", "503", k.oauthbearer(), func(b *idp.Behaviour) { b.Status, b.Body = 503, "<html>busy</html>" }},
		{"answer is no JSON", "JSON", k.oauthbearer(), func(b *idp.Behaviour) { b.Body = "<html>welcome</html>" }},
		{"file is not there", "no such file", map[string]any{"strategy": "sasl", "mechanism": "OAUTHBEARER", "oauthbearer": map[string]any{"token_file": "/nowhere/token"}}, calm},
	} {
		t.Run(c.name, func(t *testing.T) {
			k.behave(t, c.change)
			p := startProxy(t, k.Addrs(kafkatest.SASLPlaintext)[0], nil)
			s := secured(t, kongYAML(t, rig.Settings(t, p.addrs(), with(synced, map[string]any{"topic": topic, "authentication": c.auth}))), "-drain-timeout", "1s")
			if status, body := s.send(host, "hello"); status != 502 || body != `{"message":"Bad Gateway","error":"could not get token"}` {
				t.Errorf("answered %d %s", status, body)
			}
			s.wantError("", "could not get token from ")
			s.wantError("", c.reason)
			if n := len(p.connections()); n != 0 {
				t.Errorf("%d connections to the broker", n)
			}
		})
	}
	t.Run("provider is slow", func(t *testing.T) {
		k.behave(t, func(b *idp.Behaviour) { b.Delay = time.Second })
		s := secured(t, kongYAML(t, rig.Settings(t, k.Addrs(kafkatest.SASLPlaintext), with(synced, map[string]any{"topic": topic, "authentication": k.oauthbearer()}))))
		s.want(host, 200)
		if n := len(k.Records(t, topic, 1)); n != 1 {
			t.Errorf("%d records", n)
		}
	})
}

// The provider is away, for longer than its last token lives. The token is used up to its end;
// then records wait, and arrive when the provider is back.
func (k *securedKafka) testProviderAway(t *testing.T) {
	topic := k.topic(t, "away", "User:"+tokenClient, 3)
	const lifetime = 5 * time.Second
	k.behave(t, func(b *idp.Behaviour) { b.ExpiresIn, b.Lifetime = lifetime.Seconds(), lifetime })
	settings := map[string]any{"topic": topic, "keepalive_enabled": true, "authentication": k.oauthbearer()}
	s := secured(t, kongYAML(t, rig.Settings(t, k.Addrs(kafkatest.SASLPlaintext), settings)))
	sent := 0
	send := func() {
		t.Helper()
		if status, body := s.send(host, fmt.Sprint(sent)); status != 200 {
			t.Fatalf("answered %d %s", status, body)
		}
		sent++
	}
	begin := time.Now()
	send()
	k.Records(t, topic, sent) // connected
	k.idp.Behave(func(b *idp.Behaviour) { b.Down = true })
	// The session ends before the token does, so that another login needs the token.
	rig.Eventually(t, "the broker has ended the session", func() bool {
		send()
		<-time.After(50 * time.Millisecond)
		return time.Since(begin) > reauthentication+500*time.Millisecond
	})
	if time.Since(begin) < lifetime-time.Second { // a busy machine may have taken longer
		k.Records(t, topic, sent)
	}
	rig.Eventually(t, "the token has expired, and records wait", func() bool {
		send()
		<-time.After(50 * time.Millisecond)
		return strings.Contains(s.errors(), "are waiting: cannot deliver since ") && strings.Contains(s.errors(), "could not get token from ")
	})
	for range 20 {
		send()
	}
	k.idp.Behave(calm)
	records := k.Records(t, topic, sent)
	seen := make(map[string]int)
	for _, r := range records {
		seen[string(r.Value)]++
	}
	if len(records) != sent || len(seen) != sent {
		t.Errorf("%d records, %d of them different, for %d answers with 200", len(records), len(seen), sent)
	}
	t.Logf("%d records", sent)
}

// A projected token of Kubernetes: the file is a link through a link to a directory that is
// replaced. A login reads what is there then.
func (k *securedKafka) testTokenFile(t *testing.T) {
	topic := k.topic(t, "projected", "User:next", 1)
	k.Allow(t, "User:first", topic, kadm.OpDescribe)
	dir := t.TempDir()
	project := func(version, token string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, version, "token"), []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(version, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	project("..2026_1", rig.Secret(k.idp.Token(map[string]any{"sub": "first", "aud": tokenAudience})))
	file := filepath.Join(dir, "token")
	if err := os.Symlink(filepath.Join("..data", "token"), file); err != nil {
		t.Fatal(err)
	}
	s := secured(t, kongYAML(t, rig.Settings(t, k.Addrs(kafkatest.SASLPlaintext), with(synced, map[string]any{
		"topic": topic, "keepalive_enabled": true, "producer_request_retries_max_attempts": 1,
		"authentication": map[string]any{"strategy": "sasl", "mechanism": "OAUTHBEARER", "oauthbearer": map[string]any{"token_file": file}}}))), "-drain-timeout", "1s")
	s.want(host, 502)
	s.wantError("", "Topic Authorization Failed")
	project("..2026_2", rig.Secret(k.idp.Token(map[string]any{"sub": "next", "aud": tokenAudience})))
	rig.Eventually(t, "the session has ended, and the next login has the next token", func() bool {
		<-time.After(50 * time.Millisecond)
		status, _ := s.send(host, "again")
		return status == 200
	})
	s.want(host, 200)
	project("..2026_3", rig.Secret(k.idp.Token(map[string]any{"sub": "next", "aud": tokenAudience, "exp": time.Now().Add(-time.Hour).Unix()})))
	s.wantError(host, `the broker refused the token: status "invalid_token"`)
}
