//go:build kafka

package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"kafka-upstream/internal/test/kafkatest"

	"kafka-upstream/internal/test/e2e/rig"
)

func (k *securedKafka) testTokens(t *testing.T) {
	topic := k.topic(t, "tokens", "User:sam", 1)
	user := filepath.Join(t.TempDir(), "sam.properties")
	if err := os.WriteFile(user, []byte("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\n"+
		"sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"sam\" password=\""+
		javaEscape(k.password)+"\";\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Kafka's own tool makes the token; kafka-delegation-tokens.sh runs this class.
	tool := func(args ...string) string {
		return k.Tool(t, "org.apache.kafka.tools.DelegationTokenCommand", append([]string{
			"--bootstrap-server", k.Addrs(kafkatest.SASLPlaintext)[0], "--command-config", user}, args...)...)
	}
	out := tool("--create", "--max-life-time-period", "-1", "--renewer-principal", "User:sam")
	id, hmac := tokenOf(t, out)
	login := func(mechanism, id, hmac string) map[string]any { // anew for each request
		return with(synced, map[string]any{"topic": topic, "keepalive_enabled": true, "keepalive": 1,
			"authentication": with(sasl(mechanism, id, hmac), map[string]any{"tokenauth": true})})
	}
	auth := func(mechanism string) map[string]any { return login(mechanism, id, hmac) }
	shortID, shortHMAC := k.token(t, "sam", 4*time.Second)
	expiry := time.Now().Add(4 * time.Second)
	s := secured(t, hosts(map[string][]byte{
		"sha-256":    rig.Settings(t, k.Addrs(kafkatest.SASLPlaintext), auth("SCRAM-SHA-256")),
		"sha-512":    rig.Settings(t, k.Addrs(kafkatest.SASLPlaintext), auth("SCRAM-SHA-512")),
		"tls":        rig.Settings(t, k.Addrs(kafkatest.SASLSSL), with(auth("SCRAM-SHA-256"), map[string]any{"security": overTLS()})),
		"short":      rig.Settings(t, k.Addrs(kafkatest.SASLPlaintext), with(login("SCRAM-SHA-512", shortID, shortHMAC), map[string]any{"keepalive": 60000})),
		"no.token":   rig.Settings(t, k.Addrs(kafkatest.SASLPlaintext), with(auth("SCRAM-SHA-256"), map[string]any{"authentication": sasl("SCRAM-SHA-256", id, hmac)})),
		"wrong.hmac": rig.Settings(t, k.Addrs(kafkatest.SASLPlaintext), with(auth("SCRAM-SHA-256"), map[string]any{"authentication": with(sasl("SCRAM-SHA-256", id, rig.Secret("AAAA"+hmac[4:])), map[string]any{"tokenauth": true})})),
	}), caFlag(t, k.ca)...)
	s.want("short", 200)
	s.want("sha-256", 200)
	s.want("sha-512", 200)
	s.want("tls", 200)
	s.want("no.token", 502)
	s.want("wrong.hmac", 502)

	tool("--expire", "--expiry-time-period", "-1", "--hmac", hmac) // at once
	before := strings.Count(s.errors(), "\n")
	rig.Eventually(t, "the broker refuses the token", func() bool {
		status, _ := s.send("sha-256", "x")
		return status == 502
	})
	s.want("tls", 502)
	lines := strings.Split(strings.TrimSpace(s.errors()), "\n")[before:]
	const reason = "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"
	for _, line := range lines {
		if !strings.Contains(line, reason) {
			t.Errorf("Kong's error log has %q, want the broker's reason %q", line, reason)
		}
	}

	// A token's connections end when it expires. Until the broker forgets it, at
	// its next round, it takes new logins, and closes at the first request.
	rig.Eventually(t, "the token has expired", func() bool {
		<-time.After(100 * time.Millisecond)
		status, _ := s.send("short", "x")
		return status == 502
	})
	if now := time.Now(); now.Before(expiry.Add(-time.Second)) {
		t.Errorf("it was refused %v before its time", expiry.Sub(now))
	}
	s.wantError("", "EOF")
}

// token makes a token by Kafka's admin API.
func (k *securedKafka) token(t *testing.T, user string, life time.Duration) (id, hmac string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.Addrs(kafkatest.SASLPlaintext)...), kgo.SASL(scram.Auth{User: user, Pass: k.password}.AsSha256Mechanism()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	token, err := kadm.NewClient(cl).CreateDelegationToken(t.Context(), kadm.CreateDelegationToken{MaxLifetime: life})
	if err != nil {
		t.Fatal(err)
	}
	return token.TokenID, rig.Secret(base64.StdEncoding.EncodeToString(token.HMAC))
}

// javaEscape writes a text as a properties file and a JAAS configuration in it
// want it.
func javaEscape(s string) string {
	var b strings.Builder
	for _, r := range strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		case r > '~':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// tokenOf reads what kafka-delegation-tokens.sh prints: a table with a header.
func tokenOf(t *testing.T, out string) (id, hmac string) {
	t.Helper()
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) > 4 && fields[0] != "TOKENID" && strings.HasPrefix(fields[2], "User:") {
			return fields[0], rig.Secret(fields[1])
		}
	}
	t.Fatalf("no token in:\n%s", out)
	return "", ""
}
