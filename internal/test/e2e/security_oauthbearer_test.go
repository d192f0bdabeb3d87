package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/idp"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/testcert"
)

// oauthbearer is the authentication of a configuration by access tokens, with more of the record.
func oauthbearer(more map[string]any) map[string]any {
	return map[string]any{"authentication": map[string]any{"strategy": "sasl", "mechanism": "OAUTHBEARER", "oauthbearer": more}}
}

// of is the record of a client of the provider.
func of(p *idp.Server, id, secret string) map[string]any {
	return map[string]any{"token_endpoint_url": p.TokenURL, "client_id": id, "client_secret": secret}
}

// secretly accepts all tokens, and has the tests of secrets look for them.
func secretly(token string) bool {
	rig.Secret(token)
	return true
}

func TestAccessTokens(t *testing.T) {
	t.Parallel()
	ca := testcert.New("an authority")
	secret := rig.Secret("0auth-client-secret")
	p := idp.Start(t, idp.Config{Clients: map[string]string{"orders": secret}, CA: ca})
	f := kafkatest.StartFakeTLS(t, ca.ServerConfig("127.0.0.1"), kfake.SeedTopics(1, "t"))
	tokens := f.TakeTokens(secretly)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(rig.Secret("t0ken-of-a-file")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tls := map[string]any{"security": overTLS()}
	extended := of(p, "orders", secret)
	extended["extensions"], extended["scopes"] = map[string]any{"logicalCluster": "lkc-1"}, []string{"kafka"}
	metrics := rig.ClosedPort(t)
	s := secured(t, hosts(map[string][]byte{
		"endpoint": rig.Settings(t, f.Addrs(), with(synced, tls, oauthbearer(extended))),
		"file":     rig.Settings(t, f.Addrs(), with(synced, tls, oauthbearer(map[string]any{"token_file": file}))),
		"wrong":    rig.Settings(t, f.Addrs(), with(synced, tls, oauthbearer(of(p, "orders", rig.Secret("wr0ng-client-secret"))))),
		"no-file":  rig.Settings(t, f.Addrs(), with(synced, tls, oauthbearer(map[string]any{"token_file": file + ".gone"}))),
	}), append(caFlag(t, ca), "-metrics", metrics)...)
	for range 3 {
		s.want("endpoint", 200)
		s.want("file", 200)
		for _, host := range []string{"wrong", "no-file"} {
			if status, body := s.send(host, "x"); status != 502 || body != `{"message":"Bad Gateway","error":"could not get token"}` {
				t.Errorf("%s was answered %d %s", host, status, body)
			}
		}
	}
	s.wantError("", "could not send a record to topic t: could not get token from "+p.TokenURL+": ")
	s.wantError("", `could not get token from file "`+file+`.gone" (authentication.oauthbearer.token_file): no such file`)
	seen := map[bool]bool{}
	for _, l := range tokens.Logins() {
		if !l.Accepted {
			t.Errorf("a login was %q", l.Message)
		}
		seen[strings.HasSuffix(l.Message, "\x01logicalCluster=lkc-1\x01\x01")] = true
	}
	if len(seen) != 2 {
		t.Errorf("the logins with extensions: %v", seen)
	}
	if n := len(f.Records(t, "t", 6)); n != 6 {
		t.Errorf("%d records", n)
	}
	_, exposition := get(t, "http://"+metrics+"/metrics")
	if n := sample(exposition, `kafka_upstream_requests_total{door="plugin_protocol",reason="no_token",status="502"}`); n != 6 {
		t.Errorf("%v requests were answered for want of a token", n)
	}
	if n := sample(exposition, `kafka_upstream_failed_records_total{reason="no_token",topic="t"}`); n != 6 {
		t.Errorf("%v records failed for want of a token", n)
	}
}

// Requests are accepted while the token endpoint is away, and their records delivered with the
// first token. Kong's error log says meanwhile why they wait.
func TestRecordsWaitForTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	secret := rig.Secret("0auth-secret-of-those-who-wait")
	p := idp.Start(t, idp.Config{Clients: map[string]string{"orders": secret}})
	p.Behave(func(b *idp.Behaviour) { b.Down = true })
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	tokens := f.TakeTokens(secretly)
	s := secured(t, kongYAML(t, rig.Settings(t, f.Addrs(), oauthbearer(of(p, "orders", secret)))))
	for range 3 {
		s.want(host, 200)
	}
	s.wantError(host, "records to topic t are waiting: cannot deliver since ")
	s.wantError("", ": could not get token from "+p.TokenURL+": ")
	if n := len(tokens.Logins()); n != 0 {
		t.Errorf("%d logins without a token", n)
	}
	p.Behave(func(b *idp.Behaviour) { b.Down = false })
	s.want(host, 200)
	f.Records(t, "t", 4)
	if n := s.count(`msg="records lost"`); n != 0 {
		t.Errorf("records were lost in %d batches", n)
	}
	if n := s.count("the access token goes to the brokers in the clear"); n != 1 {
		t.Errorf("%d lines warn of the missing TLS", n)
	}
}

// The broker's reason is for the operator to read, but for the token in it.
func TestRefusedAccessTokenIsExplained(t *testing.T) {
	t.Parallel()
	secret := rig.Secret("0auth-secret-of-the-refused")
	p := idp.Start(t, idp.Config{Clients: map[string]string{"orders": secret}})
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	var tokens *kafkatest.Tokens
	tokens = f.TakeTokens(func(token string) bool {
		go tokens.Refuse(fmt.Sprintf(`{"status":"not for %s of %s","scope":"kafka"}`, rig.Secret(token), secret))
		return false
	})
	s := secured(t, kongYAML(t, rig.Settings(t, f.Addrs(), with(oauthbearer(of(p, "orders", secret)), map[string]any{
		"producer_async": false, "producer_request_retries_max_attempts": 4, "error_handling": map[string]any{"return_error_message": true}}))))
	for range 2 {
		if status, body := s.send(host, "x"); status != 502 || !strings.Contains(body, "SASLAuthenticationFailed") || strings.Contains(body, "not for") {
			t.Errorf("answered %d %s", status, body)
		}
	}
	s.wantError("", "SASL OAUTHBEARER with broker "+f.Addrs()[0]+`: the broker refused the token: status "not for [redacted] of [redacted]", scope "kafka"`)
}

func TestConfigurationsWithDifferentTokensShareNoConnection(t *testing.T) {
	t.Parallel()
	one, two := rig.Secret("0auth-secret-one"), rig.Secret("0auth-secret-two")
	p := idp.Start(t, idp.Config{Clients: map[string]string{"one": one, "two": two}})
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	tokens := f.TakeTokens(secretly)
	extended := of(p, "one", one)
	extended["extensions"] = map[string]any{"identityPoolId": "pool-1"}
	s := secured(t, hosts(map[string][]byte{
		"one":      rig.Settings(t, f.Addrs(), with(synced, oauthbearer(of(p, "one", one)))),
		"two":      rig.Settings(t, f.Addrs(), with(synced, oauthbearer(of(p, "two", two)))),
		"extended": rig.Settings(t, f.Addrs(), with(synced, oauthbearer(extended))),
		"wrong":    rig.Settings(t, f.Addrs(), with(synced, oauthbearer(of(p, "one", two)))),
	}))
	for range 2 {
		s.want("one", 200)
		s.want("two", 200)
		s.want("extended", 200)
		s.want("wrong", 502)
	}
	messages := map[string]bool{}
	for _, l := range tokens.Logins() {
		messages[l.Message] = true
	}
	if len(messages) != 3 {
		t.Errorf("%d different logins", len(messages))
	}
	conns := map[int]bool{}
	for _, r := range f.Produces() {
		conns[r.Conn] = true
	}
	if len(conns) < 3 {
		t.Errorf("the records came over %d connections", len(conns))
	}
}
