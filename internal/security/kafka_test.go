package security

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/xdg-go/scram"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/test/testcert"
)

// These tests take what this package makes to a broker through kafka-go.

func cluster(t *testing.T, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	options = append(options, kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	c, err := kfake.NewCluster(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// transport returns a transport to go with the options and the credentials.
func transport(t *testing.T, o *TLSOptions, c *Credentials) *kafka.Transport {
	t.Helper()
	tr := &kafka.Transport{DialTimeout: 10 * time.Second}
	if o != nil {
		config, err := TLSConfig(*o)
		if err != nil {
			t.Fatal(err)
		}
		tr.TLS = config
	}
	if c != nil {
		tr.SASL = mechanism(t, *c)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// produce writes a record over a new connection and returns its error.
func produce(t *testing.T, c *kfake.Cluster, tr *kafka.Transport) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tr.CloseIdleConnections()
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

func caFile(t *testing.T, ca *testcert.CA) string { return write(t, "ca.pem", ca.PEM()) }

func TestBrokerIsTrustedByTheCAFile(t *testing.T) {
	c := cluster(t, kfake.TLS(testCA.ServerConfig("127.0.0.1")))
	if err := produce(t, c, transport(t, &TLSOptions{CAFile: caFile(t, testCA)}, nil)); err != nil {
		t.Error(err)
	}
}

func TestBrokerOfAnUnknownCAIsRefused(t *testing.T) {
	c := cluster(t, kfake.TLS(testCA.ServerConfig("127.0.0.1")))
	for _, o := range []TLSOptions{{}, {CAFile: caFile(t, testcert.New("a CA"))}} {
		err := produce(t, c, transport(t, &o, nil))
		wantError(t, err, "certificate signed by unknown authority")
		if !kafkaerr.IsAuthentication(err) {
			t.Errorf("%T %v is not seen as a failed authentication", err, err)
		}
	}
	if err := produce(t, c, transport(t, &TLSOptions{SkipVerify: true}, nil)); err != nil {
		t.Errorf("without verification: %v", err)
	}
}

func TestBrokerUnderAnotherNameIsRefused(t *testing.T) {
	c := cluster(t, kfake.TLS(testCA.ServerConfig("broker.example", "127.0.0.2")))
	err := produce(t, c, transport(t, &TLSOptions{CAFile: caFile(t, testCA)}, nil))
	wantError(t, err, "127.0.0.1")
	if !kafkaerr.IsAuthentication(err) {
		t.Errorf("%T %v is not seen as a failed authentication", err, err)
	}
	if err := produce(t, c, transport(t, &TLSOptions{SkipVerify: true}, nil)); err != nil {
		t.Errorf("without verification: %v", err)
	}
}

func TestBrokerWithOldTLSIsRefused(t *testing.T) {
	server := testCA.ServerConfig("127.0.0.1")
	server.MinVersion, server.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	c := cluster(t, kfake.TLS(server))
	for _, skip := range []bool{false, true} {
		wantError(t, produce(t, c, transport(t, &TLSOptions{CAFile: caFile(t, testCA), SkipVerify: skip}, nil)), "protocol version")
	}
	server = testCA.ServerConfig("127.0.0.1")
	server.MaxVersion = tls.VersionTLS12
	if err := produce(t, cluster(t, kfake.TLS(server)), transport(t, &TLSOptions{CAFile: caFile(t, testCA)}, nil)); err != nil {
		t.Errorf("TLS 1.2: %v", err)
	}
}

// mutual is a broker that wants client certificates, and who came last.
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
	return cluster(t, kfake.TLS(server)), func() string {
		mu.Lock()
		defer mu.Unlock()
		return peer
	}
}

func TestRotatedCertificateIsPresentedByTheNextConnection(t *testing.T) {
	c, last := mutual(t, tls.VersionTLS13)
	dir := t.TempDir()
	l := new(logs)
	store, err := NewCertificates(CertificatesOptions{Dir: dir, Logger: l.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	first, second := testCA.Client("one"), testCA.Client("two")
	if err := first.Write(dir, id1); err != nil {
		t.Fatal(err)
	}
	cert := acquire(t, store, id1)
	defer cert.Release()
	tr := transport(t, &TLSOptions{CAFile: caFile(t, testCA), Certificate: cert}, nil)
	if err := produce(t, c, tr); err != nil || last() != "one" {
		t.Fatalf("%v, came as %q", err, last())
	}
	if err := second.Write(dir, id1); err != nil {
		t.Fatal(err)
	}
	cert.Relook()
	eventually(t, "the new version is taken up", func() bool { return presented(t, cert) == "two" })
	if err := produce(t, c, tr); err != nil || last() != "two" {
		t.Errorf("%v, came as %q", err, last())
	}
	wantNoKey(t, l.String(), first)
	wantNoKey(t, l.String(), second)
}

func TestBrokerThatWantsAnotherClientCertificateIsAFailedAuthentication(t *testing.T) {
	f := &fakeSource{pair: testcert.New("a CA").Client("one")} // of another CA of the same name
	store := newCertificates(f.load, new(logs).logger())
	defer store.Close()
	other := acquire(t, store, id1)
	defer other.Release()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, _ := mutual(t, version)
		for _, cert := range []*Certificate{nil, other} {
			err := produce(t, c, transport(t, &TLSOptions{CAFile: caFile(t, testCA), Certificate: cert}, nil))
			// In TLS 1.3 our handshake is over when the broker refuses; its alert
			// and the reset of the connection race then.
			if !kafkaerr.IsAuthentication(err) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, io.EOF) {
				t.Errorf("%s, %v: %v", tls.VersionName(version), cert, err)
			}
		}
	}
}

func TestSASLWithOddUsersAndPasswords(t *testing.T) {
	type login struct{ user, password string }
	for mechanism, logins := range map[string][]login{
		"PLAIN":         {{"orders", "secret"}, {"us,er=1", "p=ä, 💧\u2168"}, {"Ünïcödé 用户", "="}},
		"SCRAM-SHA-256": {{"orders", "secret"}, {"us,er=1", "p=ä, 💧\u2168"}, {"=2C", ",=,"}},
		"SCRAM-SHA-512": {{"orders", "secret"}, {"us,er=1", "p=ä, 💧\u2168"}, {"=2C", ",=,"}},
	} {
		options := []kfake.Opt{kfake.EnableSASL(), kfake.TLS(testCA.ServerConfig("127.0.0.1"))}
		for _, l := range logins {
			options = append(options, kfake.Superuser(mechanism, l.user, l.password))
		}
		c := cluster(t, options...)
		o := &TLSOptions{CAFile: caFile(t, testCA)}
		for _, l := range logins {
			if err := produce(t, c, transport(t, o, &Credentials{Mechanism: mechanism, User: l.user, Password: l.password})); err != nil {
				t.Errorf("%s as %q: %v", mechanism, l.user, err)
			}
		}
		// This broker closes the connection; the next test's gives a reason.
		err := produce(t, c, transport(t, o, &Credentials{Mechanism: mechanism, User: "orders", Password: "wr0ng-pass"}))
		if err == nil || strings.Contains(err.Error(), "wr0ng-pass") {
			t.Errorf("%s with a wrong password: %v", mechanism, err)
		}
		if err := produce(t, c, transport(t, o, nil)); err == nil {
			t.Errorf("%s: accepted without credentials", mechanism)
		}
	}
}

// always installs a control that stays.
func always(c *kfake.Cluster, key kmsg.Key, answer func(kmsg.Request) kmsg.Response) {
	c.ControlKey(key.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return answer(request), nil, true
	})
}

// refuse makes a SASL answer with the reason that Kafka's broker gives.
func refuse(response *kmsg.SASLAuthenticateResponse, reason string) {
	response.ErrorCode = kerr.SaslAuthenticationFailed.Code
	response.ErrorMessage = &reason
}

func TestBrokersReasonIsInTheError(t *testing.T) {
	for _, name := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		reason := "Authentication failed during authentication due to invalid credentials with SASL mechanism " + name
		c := cluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "x", "y"))
		always(c, kmsg.SASLAuthenticate, func(request kmsg.Request) kmsg.Response {
			response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
			refuse(response, reason)
			return response
		})
		err := produce(t, c, transport(t, nil, &Credentials{Mechanism: name, User: "orders", Password: "wr0ng-pass"}))
		wantError(t, err, reason)
		if !kafkaerr.IsAuthentication(err) || strings.Contains(err.Error(), "wr0ng-pass") {
			t.Errorf("got %v", err)
		}
	}
}

func TestMechanismThatTheBrokerLacksIsAFailedAuthentication(t *testing.T) {
	c := cluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "x", "y"))
	always(c, kmsg.SASLHandshake, func(request kmsg.Request) kmsg.Response {
		response := request.ResponseKind().(*kmsg.SASLHandshakeResponse)
		response.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		return response
	})
	err := produce(t, c, transport(t, nil, &Credentials{Mechanism: "SCRAM-SHA-512", User: "orders", Password: "secret"}))
	wantError(t, err, "Unsupported SASL Mechanism")
	if !kafkaerr.IsAuthentication(err) {
		t.Errorf("got %v", err)
	}
}

func TestFalseBrokerIsNamedInTheError(t *testing.T) {
	c := cluster(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "orders", "secret"))
	always(c, kmsg.SASLAuthenticate, func(request kmsg.Request) kmsg.Response {
		response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		nonce := kafkaClientFirst.FindSubmatch(request.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes)[2]
		response.SASLAuthBytes = append(append([]byte("r="), nonce...), "x,s=AAAA,i=2000000000"...)
		return response
	})
	err := produce(t, c, transport(t, nil, &Credentials{Mechanism: "SCRAM-SHA-256", User: "orders", Password: "secret"}))
	wantError(t, err, "SASL SCRAM-SHA-256 with broker "+c.ListenAddrs()[0]+": the broker asks for more than 131072 SCRAM iterations")
	if !kafkaerr.IsAuthentication(err) {
		t.Errorf("got %v", err)
	}
}

// tokenBroker is a cluster that knows one delegation token. kfake's own SCRAM
// refuses extensions, so it answers SASL by itself.
func tokenBroker(t *testing.T, mechanism, id, hmac string) *kfake.Cluster {
	server := broker(t, scramAlgorithms[mechanism], id, hmac, 4096)
	c := cluster(t)
	always(c, kmsg.SASLHandshake, func(request kmsg.Request) kmsg.Response {
		response := request.ResponseKind().(*kmsg.SASLHandshakeResponse)
		if request.(*kmsg.SASLHandshakeRequest).Mechanism != mechanism {
			response.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		}
		return response
	})
	conversations := map[string]*scram.ServerConversation{} // by the client's nonce
	always(c, kmsg.SASLAuthenticate, func(request kmsg.Request) kmsg.Response {
		response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		message := request.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes
		var conversation *scram.ServerConversation
		if match := kafkaClientFirst.FindSubmatch(message); match != nil {
			if string(match[3]) != ",tokenauth=true" {
				refuse(response, "Authentication failed: no delegation token")
				return response
			}
			conversation = server.NewConversation()
			conversations[string(match[2])] = conversation
		} else {
			for nonce, known := range conversations {
				if strings.HasPrefix(string(message), "c=biws,r="+nonce) {
					conversation = known
					delete(conversations, nonce)
				}
			}
		}
		if conversation == nil {
			refuse(response, "Authentication failed: unreadable")
			return response
		}
		answer, err := conversation.Step(string(message))
		if err != nil {
			refuse(response, "Authentication failed: Invalid token credentials")
			return response
		}
		response.SASLAuthBytes = []byte(answer)
		return response
	})
	return c
}

func TestDelegationTokenAuthenticates(t *testing.T) {
	const hmac = "6wsxGMZKEOHFY3A/TRP+MVBJ2qR4oBv7Qbg0aGDi0Y0gZBbHj2BcXv2q8t2ewmm9eZDRtXgQZwdUxcLcqv5EVA=="
	for _, name := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		for _, id := range []string{"tRUYbw2PQPSMm2MwPYZ3rg", "=id,with=both,"} {
			c := tokenBroker(t, name, id, hmac)
			right := Credentials{Mechanism: name, User: id, Password: hmac, TokenAuth: true}
			if err := produce(t, c, transport(t, nil, &right)); err != nil {
				t.Errorf("%s as %s: %v", name, id, err)
			}
			wrong := right
			wrong.Password = "AAAA" + hmac[4:]
			err := produce(t, c, transport(t, nil, &wrong))
			wantError(t, err, "Invalid token credentials")
			if !kafkaerr.IsAuthentication(err) || strings.Contains(err.Error(), wrong.Password) {
				t.Errorf("got %v", err)
			}
			user := right
			user.TokenAuth = false
			wantError(t, produce(t, c, transport(t, nil, &user)), "no delegation token")
		}
	}
}
