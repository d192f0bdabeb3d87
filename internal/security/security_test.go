package security

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/security/certs"
	"kafka-upstream/internal/security/sasl"
	"kafka-upstream/internal/test/testcert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const id = "6c1e7a3e-0b4f-4d0e-9a53-1f0c2b7d9e11"

var testCA = testcert.New("a CA")

func caFile(t *testing.T, ca *testcert.CA) string { return write(t, "ca.pem", ca.PEM()) }

func cluster(t *testing.T, config *tls.Config) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.TLS(config), kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// access returns the way to brokers for a process with these options.
func access(t *testing.T, o certs.Options, s Settings) Access {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	p, err := NewProvider(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	a, err := p.Access(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if a.Release != nil {
		t.Cleanup(a.Release)
	}
	return a
}

// overTLS is access by TLS, with that authority.
func overTLS(t *testing.T, ca *testcert.CA) Access {
	t.Helper()
	return access(t, certs.Options{CAFile: caFile(t, ca)}, Settings{TLS: true})
}

// unverified is access by TLS to any broker.
func unverified(t *testing.T) Access {
	t.Helper()
	return access(t, certs.Options{}, Settings{TLS: true, SkipVerify: true})
}

// produce writes a record over a new connection and returns its error.
func produce(t *testing.T, c *kfake.Cluster, a Access) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tr := &kafka.Transport{DialTimeout: 10 * time.Second, TLS: a.TLS, SASL: a.SASL}
	defer tr.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(c.ListenAddrs()...), Transport: tr}
	if _, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{"orders"}}); err != nil {
		return err
	}
	response, err := client.Produce(ctx, &kafka.ProduceRequest{
		Topic: "orders", RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte("{}"))}),
	})
	if err != nil {
		return err
	}
	return response.Error
}

// wantRefused fails unless the error says so, in a way that is known as a failed authentication.
func wantRefused(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) || !kafkaerr.IsAuthentication(err) {
		t.Errorf("%T %v, want a failed authentication with %q", err, err, text)
	}
}

func TestBrokerIsTrustedByTheCAFile(t *testing.T) {
	if err := produce(t, cluster(t, testCA.ServerConfig("127.0.0.1")), overTLS(t, testCA)); err != nil {
		t.Error(err)
	}
}

func TestBrokerOfAnUnknownCAIsRefused(t *testing.T) {
	c := cluster(t, testCA.ServerConfig("127.0.0.1"))
	for _, a := range []Access{access(t, certs.Options{}, Settings{TLS: true}), overTLS(t, testcert.New("a CA"))} {
		wantRefused(t, produce(t, c, a), "certificate signed by unknown authority")
	}
	if err := produce(t, c, unverified(t)); err != nil {
		t.Errorf("without verification: %v", err)
	}
}

func TestBrokerUnderAnotherNameIsRefused(t *testing.T) {
	c := cluster(t, testCA.ServerConfig("broker.example", "127.0.0.2"))
	wantRefused(t, produce(t, c, overTLS(t, testCA)), "127.0.0.1")
	if err := produce(t, c, unverified(t)); err != nil {
		t.Errorf("without verification: %v", err)
	}
}

func TestBrokerWithOldTLSIsRefused(t *testing.T) {
	server := testCA.ServerConfig("127.0.0.1")
	server.MinVersion, server.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	c := cluster(t, server)
	for _, a := range []Access{overTLS(t, testCA), unverified(t)} {
		if err := produce(t, c, a); err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("got %v", err)
		}
	}
	server = testCA.ServerConfig("127.0.0.1")
	server.MaxVersion = tls.VersionTLS12
	if err := produce(t, cluster(t, server), overTLS(t, testCA)); err != nil {
		t.Errorf("TLS 1.2: %v", err)
	}
}

// mutual is a broker that wants client certificates, and the name in the last one.
func mutual(t *testing.T, version uint16) (c *kfake.Cluster, last func() string) {
	var mu sync.Mutex
	var peer string
	server := testCA.MutualConfig("127.0.0.1")
	server.MinVersion, server.MaxVersion = version, version
	server.VerifyConnection = func(state tls.ConnectionState) error {
		mu.Lock()
		defer mu.Unlock()
		peer = state.PeerCertificates[0].Subject.CommonName
		return nil
	}
	return cluster(t, server), func() string {
		mu.Lock()
		defer mu.Unlock()
		return peer
	}
}

// presenting is access with the certificate in a directory.
func presenting(t *testing.T, dir string, pair testcert.Pair) Access {
	t.Helper()
	if err := pair.Write(dir, id); err != nil {
		t.Fatal(err)
	}
	return access(t, certs.Options{Dir: dir, CAFile: caFile(t, testCA)}, Settings{TLS: true, CertificateID: id})
}

func TestRotatedCertificateIsPresentedOnceABrokerRefusesTheOld(t *testing.T) {
	c, last := mutual(t, tls.VersionTLS13)
	dir := t.TempDir()
	a := presenting(t, dir, testCA.Client("one"))
	if err := produce(t, c, a); err != nil || last() != "one" {
		t.Fatalf("%v, came as %q", err, last())
	}
	if err := testCA.Client("two").Write(dir, id); err != nil {
		t.Fatal(err)
	}
	a.Failed(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}) // not for the certificate
	a.Failed(io.EOF)
	presented := func() string {
		certificate, err := a.TLS.GetClientCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return certificate.Leaf.Subject.CommonName
	}
	for deadline := time.Now().Add(20 * time.Second); presented() != "two"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the new version is not presented")
		}
	}
	if err := produce(t, c, a); err != nil || last() != "two" {
		t.Errorf("%v, came as %q", err, last())
	}
}

func TestBrokerThatWantsAnotherClientCertificateIsAFailedAuthentication(t *testing.T) {
	other := presenting(t, t.TempDir(), testcert.New("a CA").Client("one")) // of another CA of the same name
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, _ := mutual(t, version)
		for _, a := range []Access{overTLS(t, testCA), other} {
			// In TLS 1.3 our handshake is over when the broker refuses; its alert
			// and the reset of the connection race then.
			if err := produce(t, c, a); !kafkaerr.IsAuthentication(err) && !kafkaerr.IsDisconnected(err) {
				t.Errorf("%s: %v", tls.VersionName(version), err)
			}
		}
	}
}

func TestCertificateThatCannotBeLoadedIsACertificateError(t *testing.T) {
	p, err := NewProvider(certs.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, err = p.Access(t.Context(), Settings{TLS: true, CertificateID: id})
	if e, ok := errors.AsType[*CertificateError](err); !ok || e.ID != id {
		t.Errorf("got %v", err)
	}
}

func TestPasswordInTheClearIsWarnedOfOnce(t *testing.T) {
	var b bytes.Buffer
	p, err := NewProvider(certs.Options{Log: slog.New(slog.NewTextHandler(&b, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	login := func(mechanism, user string) sasl.Credentials {
		return sasl.Credentials{Mechanism: mechanism, User: user, Password: "s3cr3t"}
	}
	for range 3 {
		for _, s := range []Settings{
			{Servers: []string{"a:9092"}, SASL: login("PLAIN", "one")},
			{Servers: []string{"a:9092"}, SASL: login("PLAIN", "two")},
			{Servers: []string{"b:9092"}, SASL: login("PLAIN", "one")},
			{Servers: []string{"c:9092"}, SASL: login("PLAIN", "one"), TLS: true},
			{Servers: []string{"d:9092"}, SASL: login("SCRAM-SHA-256", "one")},
			{Servers: []string{"e:9092"}},
		} {
			if _, err := p.Access(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	if log := b.String(); strings.Count(log, "the password goes to the brokers in the clear") != 3 || strings.Count(log, "\n") != 3 || strings.Contains(log, "s3cr3t") {
		t.Errorf("got %s", log)
	}
}
