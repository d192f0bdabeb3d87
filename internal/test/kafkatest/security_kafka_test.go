//go:build kafka

package kafkatest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	kafkasasl "github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	fscram "github.com/twmb/franz-go/pkg/sasl/scram"

	"kafka-upstream/internal/test/testcert"
)

func TestTLSListenerShowsItsCertificateAndPropertiesHold(t *testing.T) {
	EachVersion(t, func(t *testing.T, version string) {
		ca := testcert.New("kafka")
		c := Start(t, Config{
			Version: version, TLS: &TLS{Certificate: ca.Server("127.0.0.1")},
			Properties: map[string]string{"message.max.bytes": "200"},
		})
		topic := c.CreateTopic(t, "orders", 1, 1, nil)
		transport := func(by *testcert.CA) *kafka.Transport { return &kafka.Transport{TLS: &tls.Config{RootCAs: by.Pool()}} }
		if err := write(t, c.Addrs(SSL), topic, 3, transport(ca)); err != nil {
			t.Fatal(err)
		}
		checkWritten(t, c.Records(t, topic, 3), 3)
		if err := write(t, c.Addrs(SSL), topic, 3, transport(testcert.New("other"))); err == nil {
			t.Error("its certificate is taken for one of another authority")
		}
		err := write(t, c.Addrs(SSL), topic, 20, transport(ca))
		var errs kafka.WriteErrors
		if !errors.As(err, &errs) || !errors.Is(errs[0], kafka.MessageSizeTooLarge) {
			t.Errorf("20 records over message.max.bytes=200: got error %v, want %v", err, kafka.MessageSizeTooLarge)
		}
	})
}

func TestSecuredBroker(t *testing.T) {
	EachVersion(t, func(t *testing.T, version string) {
		ca := testcert.New("kafka")
		c := Start(t, Config{
			Version: version, DelegationTokens: true, Authorizer: true,
			TLS: &TLS{Certificate: ca.Server("127.0.0.1"), ClientCAs: ca.PEM()},
			SASL: &SASL{
				Plain: map[string]string{"pat": password, "restless": password},
				Scram: map[string]string{"sam": password, "stranger": password},
			},
			Properties: map[string]string{"listener.name.sasl_plaintext.plain.connections.max.reauth.ms": "1500"},
		})
		t.Run("clients' certificates", func(t *testing.T) { testClientCertificates(t, c, ca) })
		t.Run("SASL users and their passwords", func(t *testing.T) { testSASL(t, c, ca) })
		t.Run("delegation tokens", func(t *testing.T) { testTokens(t, c) })
		t.Run("authorizer", func(t *testing.T) { testAuthorizer(t, c) })
		t.Run("connections end at their reauthentication time", func(t *testing.T) { testReauthentication(t, c) })
	})
}

const password = `pä "ss" \ word`

func testClientCertificates(t *testing.T, c *Cluster, ca *testcert.CA) {
	topic := c.CreateTopic(t, "certificates", 1, 1, nil)
	c.Allow(t, "User:CN=kong", topic, kadm.OpWrite, kadm.OpDescribe)
	c.Allow(t, "User:CN=stranger", topic, kadm.OpDescribe)
	with := func(certs ...tls.Certificate) *kafka.Transport {
		return &kafka.Transport{TLS: &tls.Config{RootCAs: ca.Pool(), Certificates: certs}}
	}
	if err := write(t, c.Addrs(SSL), topic, 3, with(ca.Client("kong").TLS())); err != nil {
		t.Error(err)
	}
	err := write(t, c.Addrs(SSL), topic, 3, with(ca.Client("stranger").TLS()))
	var errs kafka.WriteErrors
	if !errors.As(err, &errs) || !errors.Is(errs[0], kafka.TopicAuthorizationFailed) {
		t.Errorf("a certificate whose name has fewer rights: got error %v, want %v", err, kafka.TopicAuthorizationFailed)
	}
	if err := write(t, c.Addrs(SSL), topic, 3, with()); err == nil {
		t.Error("a client without a certificate was let in")
	}
	if err := write(t, c.Addrs(SSL), topic, 3, with(testcert.New("other").Client("kong").TLS())); err == nil {
		t.Error("a certificate of another authority was let in")
	}
	checkWritten(t, c.Records(t, topic, 3), 3)
}

func testSASL(t *testing.T, c *Cluster, ca *testcert.CA) {
	scramAuth := func(a scram.Algorithm, user, password string) kafkasasl.Mechanism {
		mechanism, err := scram.Mechanism(a, user, password)
		if err != nil {
			t.Fatal(err)
		}
		return mechanism
	}
	for i, test := range []struct {
		name      string
		mechanism kafkasasl.Mechanism
		ok        bool
	}{
		{"PLAIN", plain.Mechanism{Username: "pat", Password: password}, true},
		{"SCRAM-SHA-256", scramAuth(scram.SHA256, "sam", password), true},
		{"SCRAM-SHA-512", scramAuth(scram.SHA512, "sam", password), true},
		{"PLAIN with a wrong password", plain.Mechanism{Username: "pat", Password: "x"}, false},
		{"SCRAM-SHA-256 with a wrong password", scramAuth(scram.SHA256, "sam", "x"), false},
		{"SCRAM-SHA-512 for a user of PLAIN", scramAuth(scram.SHA512, "pat", password), false},
		{"no SASL", nil, false},
	} {
		for _, l := range []Listener{SASLPlaintext, SASLSSL} {
			topic := c.CreateTopic(t, fmt.Sprintf("sasl-%d-%s", i, l), 1, 1, nil)
			c.Allow(t, "User:*", topic, kadm.OpWrite, kadm.OpDescribe)
			transport := &kafka.Transport{SASL: test.mechanism, DialTimeout: 2 * time.Second}
			if l == SASLSSL {
				transport.TLS = &tls.Config{RootCAs: ca.Pool()}
			}
			err := write(t, c.Addrs(l), topic, 2, transport)
			if test.ok && err != nil {
				t.Errorf("%s by %s: %v", test.name, l, err)
			}
			if !test.ok && err == nil {
				t.Errorf("%s by %s was let in", test.name, l)
			}
			if test.ok {
				checkWritten(t, c.Records(t, topic, 2), 2)
			}
		}
	}
}

func testTokens(t *testing.T, c *Cluster) {
	topic := c.CreateTopic(t, "tokens", 1, 1, nil)
	for i, user := range []string{"sam", "pat"} {
		c.Allow(t, "User:"+user, topic, kadm.OpWrite, kadm.OpDescribe)
		id, hmac := c.CreateToken(t, user)
		for _, m := range []sasl.Mechanism{
			fscram.Auth{User: id, Pass: hmac, IsToken: true}.AsSha256Mechanism(),
			fscram.Auth{User: id, Pass: hmac, IsToken: true}.AsSha512Mechanism(),
		} {
			if err := produce(t, c, topic, m); err != nil {
				t.Errorf("the token of %s by %s: %v", user, m.Name(), err)
			}
		}
		if err := produce(t, c, topic, fscram.Auth{User: id, Pass: hmac}.AsSha256Mechanism()); !errors.Is(err, kerr.SaslAuthenticationFailed) {
			t.Errorf("the token of %s without tokenauth=true: got error %v, want %v", user, err, kerr.SaslAuthenticationFailed)
		}
		c.Records(t, topic, 2*(i+1))
	}
}

func testAuthorizer(t *testing.T, c *Cluster) {
	topic := c.CreateTopic(t, "refused", 1, 1, nil)
	stranger := fscram.Auth{User: "stranger", Pass: password}.AsSha512Mechanism()
	if err := produce(t, c, topic, stranger); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("before: got error %v, want %v", err, kerr.TopicAuthorizationFailed)
	}
	c.Allow(t, "User:stranger", topic, kadm.OpWrite, kadm.OpDescribe)
	if err := produce(t, c, topic, stranger); err != nil {
		t.Errorf("after: %v", err)
	}
	if got := len(c.Records(t, topic, 1)); got != 1 {
		t.Errorf("the topic holds %d records, want 1", got)
	}
}

func testReauthentication(t *testing.T, c *Cluster) {
	conn, err := (&kafka.Dialer{Timeout: 5 * time.Second, SASLMechanism: plain.Mechanism{Username: "restless", Password: password}}).
		Dial("tcp", c.Addrs(SASLPlaintext)[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ApiVersions(); err != nil {
		t.Fatalf("before its time: %v", err)
	}
	// kafka-go does not authenticate again (KIP-368), so the broker closes the
	// connection at the first request after the session's time.
	deadline := time.Now().Add(20 * time.Second)
	for err == nil && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
		_, err = conn.ApiVersions()
	}
	if err == nil {
		t.Error("the connection goes on")
	}
}

// produce sends one record by the SASL_PLAINTEXT listener.
func produce(t *testing.T, c *Cluster, topic string, mechanism sasl.Mechanism) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cl, err := newClient(c.Addrs(SASLPlaintext), kgo.SASL(mechanism), kgo.DefaultProduceTopic(topic),
		kgo.RecordRetries(2), kgo.DisableIdempotentWrite())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	return cl.ProduceSync(ctx, &kgo.Record{Value: []byte("v")}).FirstErr()
}
