//go:build kafka

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/idp"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/testcert"

	"kafka-upstream/internal/test/e2e/rig"
)

// A secured Kafka, with which the tests of one version share what they need.
type securedKafka struct {
	*kafkatest.Cluster
	ca, nextCA *testcert.CA // of the brokers' certificate and the clients'; of clients' alone
	password   string       // of all users
	idp        *idp.Server  // of the tokens for OAUTHBEARER
}

// reauthentication is how long a session by the mechanisms lasts that the test
// of it uses.
const reauthentication = 2 * time.Second

func startSecured(t *testing.T, version string) *securedKafka {
	t.Helper()
	k := &securedKafka{ca: testcert.New("kafka"), nextCA: testcert.New("kafka's next"), password: rig.Secret(`p=ä, 💧 "w\örd`)}
	var tokens *kafkatest.OAuth
	k.idp, tokens = startIDP(t)
	k.Cluster = kafkatest.Start(t, kafkatest.Config{
		Version: version, DelegationTokens: true, Authorizer: true,
		TLS: &kafkatest.TLS{Certificate: k.ca.Server("127.0.0.1"), ClientCAs: slices.Concat(k.ca.PEM(), k.nextCA.PEM())},
		SASL: &kafkatest.SASL{
			Plain: map[string]string{"pat": k.password, "Ünï=cödé, 用户": k.password, "restless": k.password},
			Scram: map[string]string{"sam": k.password, "s=a,m": k.password, "sue": k.password, "changing": k.password},
			OAuth: tokens,
		},
		Properties: map[string]string{
			"listener.name.sasl_plaintext.plain.connections.max.reauth.ms":       fmt.Sprint(reauthentication.Milliseconds()),
			"listener.name.sasl_plaintext.oauthbearer.connections.max.reauth.ms": fmt.Sprint(reauthentication.Milliseconds()),
			"listener.name.sasl_ssl.scram-sha-512.connections.max.reauth.ms":     fmt.Sprint(reauthentication.Milliseconds()),
		},
	})
	return k
}

// topic makes a topic that a principal may write to.
func (k *securedKafka) topic(t *testing.T, name, principal string, partitions int) string {
	t.Helper()
	k.CreateTopic(t, name, partitions, 1, nil)
	k.Allow(t, principal, name, kadm.OpWrite, kadm.OpDescribe)
	return name
}

func TestSecuredKafka(t *testing.T) {
	t.Parallel()
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		k := startSecured(t, version)
		t.Run("SASL by each mechanism, with and without TLS", k.testMechanisms)
		t.Run("client certificates and their rotation", k.testCertificates)
		t.Run("delegation tokens", k.testTokens)
		t.Run("wrong passwords", k.testWrongPasswords)
		t.Run("reasons in Kong's error log", k.testReasons)
		t.Run("configurations with different users", k.testIsolation)
		t.Run("a password that is changed", k.testChangedPassword)
		t.Run("connections that end at their reauthentication time", k.testReauthentication)
		t.Run("access tokens by OAUTHBEARER", k.testTokenLogins)
		t.Run("tokens and clocks", k.testClocksOfTokens)
		t.Run("no token", k.testNoToken)
		t.Run("provider of tokens away", k.testProviderAway)
		t.Run("token in a file that is replaced", k.testTokenFile)
	})
}

// Without SASL and client certificates, which is the first step to a secured
// Kafka. This one speaks TLS 1.2 alone, those above 1.3.
func TestTLSToRealKafka(t *testing.T) {
	t.Parallel()
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		ca := testcert.New("kafka")
		kafka := kafkatest.Start(t, kafkatest.Config{Version: version,
			TLS:        &kafkatest.TLS{Certificate: ca.Server("127.0.0.1")},
			Properties: map[string]string{"ssl.enabled.protocols": "TLSv1.2"},
		})
		kafka.CreateTopic(t, "t", 3, 1, nil)
		brokers := kafka.Addrs(kafkatest.SSL)
		byName := []string{strings.Replace(brokers[0], "127.0.0.1", "localhost", 1)}
		config := hosts(map[string][]byte{
			"checked":   rig.Settings(t, brokers, with(synced, map[string]any{"security": overTLS()})),
			"unchecked": rig.Settings(t, brokers, with(synced, map[string]any{"security": overTLS("ssl_verify", false)})),
			"by.name":   rig.Settings(t, byName, with(synced, map[string]any{"security": overTLS()})),
			"clear":     rig.Settings(t, brokers, with(synced, map[string]any{"timeout": 2000})),
		})
		s := secured(t, config, caFlag(t, ca)...)
		s.want("checked", 200)
		s.want("unchecked", 200)
		s.want("by.name", 502)
		s.wantError("", "certificate is not valid for any names, but wanted to match localhost")
		s.want("clear", 502)
		s = secured(t, config) // without the authority
		s.want("checked", 502)
		s.wantError("", "certificate signed by unknown authority")
		s.want("unchecked", 200)
		if n := len(kafka.Records(t, "t", 3)); n != 3 {
			t.Errorf("%d records, want the 3 of those that were answered 200", n)
		}
	})
}

func (k *securedKafka) testMechanisms(t *testing.T) {
	topic := k.topic(t, "mechanisms", "User:*", 3)
	configs := map[string][]byte{}
	add := func(mechanism, user string) {
		m := with(synced, map[string]any{"topic": topic, "authentication": sasl(mechanism, user, k.password)})
		name := fmt.Sprintf("%s.%d", strings.ToLower(mechanism), len(configs))
		configs[name+".clear"] = rig.Settings(t, k.Addrs(kafkatest.SASLPlaintext), m)
		configs[name+".tls"] = rig.Settings(t, k.Addrs(kafkatest.SASLSSL), with(m, map[string]any{"security": overTLS()}))
	}
	add("PLAIN", "pat")
	add("PLAIN", "Ünï=cödé, 用户")
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		add(mechanism, "sam")
		add(mechanism, "s=a,m")
	}
	s := secured(t, hosts(configs), caFlag(t, k.ca)...)
	for name := range configs {
		s.want(name, 200)
	}
	if n := len(k.Records(t, topic, len(configs))); n != len(configs) {
		t.Errorf("%d records", n)
	}
	if n := s.count("the password goes to the brokers in the clear"); n != 2 {
		t.Errorf("%d warnings, want one for each of the two producers with PLAIN and without TLS", n)
	}
}

func (k *securedKafka) testCertificates(t *testing.T) {
	topic := k.CreateTopic(t, "certificates", 3, 1, nil)
	for _, name := range []string{"kong", "kong-rotated"} {
		k.Allow(t, "User:CN="+name, topic, kadm.OpWrite, kadm.OpDescribe)
	}
	k.Allow(t, "User:CN=stranger", topic, kadm.OpDescribe)
	const rotated, stranger, foreign, stored = certID, "7f1f2c9e-5a0c-4a43-9a54-6d0c0a1e3b03", "7f1f2c9e-5a0c-4a43-9a54-6d0c0a1e3b04", "7f1f2c9e-5a0c-4a43-9a54-6d0c0a1e3b05"
	dir := t.TempDir()
	expiry := time.Now().Add(3 * time.Second)
	for id, p := range map[string]testcert.Pair{
		rotated:  k.ca.Issue(testcert.Request{Name: "kong", NotAfter: expiry}),
		stranger: k.ca.Client("stranger"),
		foreign:  testcert.New("foreign").Client("kong"),
	} {
		if err := rig.SecretKey(p).Write(dir, id); err != nil {
			t.Fatal(err)
		}
	}
	configs := map[string][]byte{"none": rig.Settings(t, k.Addrs(kafkatest.SSL), with(synced, map[string]any{"topic": topic, "security": overTLS()}))}
	for name, id := range map[string]string{"folder": rotated, "stranger": stranger, "foreign": foreign, "admin": stored} {
		configs[name] = rig.Settings(t, k.Addrs(kafkatest.SSL), with(mutualTLS(id), map[string]any{"topic": topic}))
	}
	s := secured(t, hosts(configs)+certificateYAML(stored, rig.SecretKey(k.nextCA.Client("kong"))),
		append(caFlag(t, k.ca), "-certificates", dir, "-admin-url", "{admin-url}")...)
	s.want("folder", 200)
	s.want("admin", 200)
	s.want("stranger", 502)
	s.wantError("", "Topic Authorization Failed")
	s.want("foreign", 502)
	s.want("none", 502)

	if err := rig.SecretKey(k.nextCA.Client("kong-rotated")).Write(dir, rotated); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "the first certificate has expired", func() bool { return time.Now().After(expiry.Add(time.Second)) })
	s.want("folder", 200)
	if s.count("certificate was rotated") != 1 {
		t.Error("the log does not say once that the certificate was rotated")
	}
	if n := len(k.Records(t, topic, 3)); n != 3 {
		t.Errorf("%d records, want 3", n)
	}
}

func (k *securedKafka) testWrongPasswords(t *testing.T) {
	topic := k.topic(t, "wrong", "User:*", 10)
	wrong := rig.Secret("wr0ng-password-of-kong")
	const attempts, backoff = 4, 300 * time.Millisecond
	for mechanism, reason := range map[string]string{
		"PLAIN":         "Authentication failed: Invalid username or password",
		"SCRAM-SHA-256": "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256",
		"SCRAM-SHA-512": "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512",
	} {
		for _, async := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s async %v", mechanism, async), func(t *testing.T) {
				t.Parallel()
				user := "sam"
				if mechanism == "PLAIN" {
					user = "pat"
				}
				p := startProxy(t, k.Addrs(kafkatest.SASLPlaintext)[0], nil)
				s := secured(t, kongYAML(t, rig.Settings(t, p.addrs(), map[string]any{"topic": topic, "producer_async": async,
					"producer_request_retries_max_attempts": attempts, "producer_request_retries_backoff_timeout": backoff.Milliseconds(),
					"authentication": sasl(mechanism, user, wrong)})), "-drain-timeout", "1s")
				if async {
					s.want(host, 200)
					rig.Eventually(t, "the record is given up", func() bool { return s.count("msg=\"records lost\"") == 1 })
				} else {
					s.want(host, 502)
				}
				<-time.After(3 * backoff) // for what must not come
				wantPaced(t, p.connections(), attempts, backoff)
				if async {
					s.wantError(host, "1 records to topic wrong lost since ")
				}
				s.wantError("", reason)
			})
		}
	}
}

// connections returns when each connection so far was accepted.
func (p *proxy) connections() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.times)
}

// What docs/security.md says of the reasons in Kong's error log.
func (k *securedKafka) testReasons(t *testing.T) {
	topic := k.topic(t, "reasons", "User:sam", 1)
	dir := t.TempDir()
	const foreign, expired = certID, "7f1f2c9e-5a0c-4a43-9a54-6d0c0a1e3b06"
	for id, p := range map[string]testcert.Pair{
		foreign: testcert.New("foreign").Client("kong"),
		expired: k.ca.Issue(testcert.Request{Name: "kong", NotAfter: time.Now().Add(-time.Minute)}),
	} {
		if err := rig.SecretKey(p).Write(dir, id); err != nil {
			t.Fatal(err)
		}
	}
	login := map[string]any{"authentication": sasl("SCRAM-SHA-256", "sam", k.password)}
	once := map[string]any{"producer_async": false, "producer_request_retries_max_attempts": 1, "timeout": 5000, "topic": topic}
	for _, c := range []struct {
		name     string
		listener kafkatest.Listener
		settings map[string]any
		reasons  []string // one of these
	}{
		{"no certificate", kafkatest.SSL, map[string]any{"security": overTLS()}, []string{"remote error: tls: bad certificate", "remote error: tls: certificate required"}}, // the second from OpenJDK 17.0.21 on
		{"certificate of another authority", kafkatest.SSL, map[string]any{"security": overTLS("certificate_id", foreign)}, []string{"remote error: tls: unknown certificate"}},
		{"expired certificate", kafkatest.SSL, map[string]any{"security": overTLS("certificate_id", expired)}, []string{"remote error: tls: unknown certificate"}},
		{"no SASL", kafkatest.SASLSSL, map[string]any{"security": overTLS()}, []string{"EOF"}},
		{"SASL where there is none", kafkatest.Plaintext, login, []string{"Illegal SASL State"}},
		{"no TLS", kafkatest.SASLSSL, login, []string{"as TLS does: set security.ssl"}},
		{"TLS where there is none", kafkatest.SASLPlaintext, with(login, map[string]any{"security": overTLS()}), []string{"EOF"}},
		{"no such topic", kafkatest.Plaintext, map[string]any{"topic": "nowhere"}, []string{"[3] Unknown Topic Or Partition"}},
		{"another's topic", kafkatest.SASLSSL, map[string]any{"security": overTLS(), "authentication": sasl("SCRAM-SHA-256", "sue", k.password)}, []string{"[29] Topic Authorization Failed"}},
		{"no such topic, and may not see it", kafkatest.SASLSSL, map[string]any{"security": overTLS(), "topic": "nowhere", "authentication": sasl("SCRAM-SHA-256", "sue", k.password)}, []string{"[29] Topic Authorization Failed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := secured(t, kongYAML(t, rig.Settings(t, k.Addrs(c.listener), with(once, c.settings))), append(caFlag(t, k.ca), "-certificates", dir)...)
			s.want(host, 502)
			if got := s.errors(); !slices.ContainsFunc(c.reasons, func(reason string) bool { return strings.Contains(got, reason) }) {
				t.Errorf("Kong's error log has %q, want one of %q", got, c.reasons)
			}
		})
	}
}

// Each user may write to one topic, and no request goes out as the other.
func (k *securedKafka) testIsolation(t *testing.T) {
	configs := map[string][]byte{}
	for _, topic := range []string{"sam", "sue"} {
		k.topic(t, "of-"+topic, "User:"+topic, 1)
		for _, user := range []string{"sam", "sue"} {
			configs[topic+".as."+user] = rig.Settings(t, k.Addrs(kafkatest.SASLPlaintext), with(synced,
				map[string]any{"topic": "of-" + topic, "authentication": sasl("SCRAM-SHA-256", user, k.password)}))
		}
	}
	s := secured(t, hosts(configs))
	for range 3 {
		s.want("sam.as.sam", 200)
		s.want("sue.as.sam", 502)
		s.want("sam.as.sue", 502)
		s.want("sue.as.sue", 200)
	}
	s.wantError("", "Topic Authorization Failed")
}

// The password is changed at the broker, and then in Kong, under load: what was
// accepted with the old one is delivered by connections that have it still, what
// comes later by new ones.
func (k *securedKafka) testChangedPassword(t *testing.T) {
	topic := k.topic(t, "changed", "User:changing", 3)
	next := rig.Secret("n3xt-password")
	config := func(password string) string {
		return kongYAML(t, rig.Settings(t, k.Addrs(kafkatest.SASLPlaintext), map[string]any{
			"topic": topic, "producer_async_flush_timeout": 300, "keepalive_enabled": true,
			"authentication": sasl("SCRAM-SHA-256", "changing", password)}))
	}
	s := secured(t, config(k.password))
	var sent int
	send := func(n int) {
		for range n {
			s.want(host, 200)
			sent++
		}
	}
	send(3)
	k.Records(t, topic, sent) // connected
	send(50)
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.Addrs(kafkatest.Plaintext)...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	altered, err := kadm.NewClient(cl).AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{
		{User: "changing", Mechanism: kadm.ScramSha256, Iterations: 8192, Password: next}})
	if err != nil || altered.Error() != nil {
		t.Fatal(err, altered.Error())
	}
	send(50)
	s.change(config(next))
	send(50)
	if n := len(k.Records(t, topic, sent)); n != sent {
		t.Errorf("%d records for %d answers", n, sent)
	}
	if got := s.errors(); got != "" {
		t.Errorf("Kong's error log has %s", got)
	}
}

// With connections.max.reauth.ms the broker ends a connection at the first
// request after that time, which it does not look at. So others take their place.
func (k *securedKafka) testReauthentication(t *testing.T) {
	configs, topics := map[string][]byte{}, map[string]string{}
	for name, c := range map[string]map[string]any{
		"plain":  {"bootstrap": kafkatest.SASLPlaintext, "authentication": sasl("PLAIN", "restless", k.password)},
		"bearer": {"bootstrap": kafkatest.SASLPlaintext, "authentication": k.oauthbearer()},
		"scram":  {"bootstrap": kafkatest.SASLSSL, "authentication": sasl("SCRAM-SHA-512", "sam", k.password), "security": overTLS()},
	} {
		brokers := k.Addrs(c["bootstrap"].(kafkatest.Listener))
		delete(c, "bootstrap")
		for acks, suffix := range map[int]string{1: "leader", -1: "all"} {
			host := name + "." + suffix
			topics[host] = k.topic(t, "reauthentication-"+host, "User:*", 5)
			configs[host] = rig.Settings(t, brokers, with(c, map[string]any{"topic": topics[host], "producer_request_acks": acks, "keepalive_enabled": true}))
		}
	}
	metrics := rig.ClosedPort(t)
	s := secured(t, hosts(configs), append(caFlag(t, k.ca), "-metrics", metrics)...)
	opened := func() float64 {
		t.Helper()
		_, exposition := get(t, "http://"+metrics+"/metrics")
		return sample(exposition, "kafka_upstream_connections_opened_total")
	}
	accepted := map[string]map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 4*reauthentication)
	defer cancel()
	for host := range configs {
		accepted[host] = map[string]bool{}
		for client := range 4 {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					text := fmt.Sprintf("%d/%d", client, i)
					if status, body := s.send(host, text); status != 200 {
						t.Errorf("%s was answered %d %s", host, status, body)
						return
					}
					mu.Lock()
					accepted[host][text] = true
					mu.Unlock()
					select {
					case <-time.After(20 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			})
		}
	}
	<-time.After(reauthentication / 2) // all are connected
	first := opened()
	wg.Wait()
	if n := int(opened() - first); n < 3*len(configs) {
		t.Errorf("only %d connections were opened later for %d producers: the brokers have ended too few", n, len(configs))
	}
	for host, topic := range topics {
		want := accepted[host]
		got, n := map[string]bool{}, 0
		for _, r := range k.Records(t, topic, len(want)) {
			var m struct{ Body string }
			if err := json.Unmarshal(r.Value, &m); err != nil {
				t.Fatal(err)
			}
			got[m.Body] = true
			n++
		}
		if !maps.Equal(got, want) || n != len(want) {
			t.Errorf("%s: %d records, %d of them different, for %d answers with 200", host, n, len(got), len(want))
		}
		t.Logf("%s: %d records", host, n)
	}
	if got := s.errors(); got != "" {
		t.Errorf("Kong's error log has %s", got)
	}
}
