package testcert_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"testing"
	"time"

	"kafka-upstream/internal/test/testcert"
)

// handshake connects the two over loopback, and returns what the server saw of
// the client, and both ends' errors.
func handshake(t *testing.T, server, client *tls.Config) (peer string, serverErr, clientErr error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			serverErr = err
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		s := tls.Server(conn, server)
		if serverErr = s.Handshake(); serverErr != nil {
			return
		}
		if certs := s.ConnectionState().PeerCertificates; len(certs) > 0 {
			peer = certs[0].Subject.CommonName
		}
		_, serverErr = s.Write([]byte("x"))
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(conn, client)
	if clientErr = c.Handshake(); clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1))
	}
	conn.Close()
	<-done
	return peer, serverErr, clientErr
}

func TestServerIsTrustedByItsCAForItsHostsOnly(t *testing.T) {
	ca := testcert.New("a CA")
	server := ca.ServerConfig("broker.example", "127.0.0.1", "::1")
	for _, host := range []string{"broker.example", "127.0.0.1", "::1"} {
		if _, serr, err := handshake(t, server, &tls.Config{RootCAs: ca.Pool(), ServerName: host}); err != nil || serr != nil {
			t.Errorf("%s: %v, %v", host, err, serr)
		}
	}
	if _, _, err := handshake(t, server, &tls.Config{RootCAs: ca.Pool(), ServerName: "other.example"}); err == nil {
		t.Error("a host that is not in the certificate was accepted")
	}
	if _, _, err := handshake(t, server, &tls.Config{RootCAs: testcert.New("a CA").Pool(), ServerName: "broker.example"}); err == nil {
		t.Error("another CA of the same name was accepted")
	}
}

func TestMutualServerWantsAClientCertificateOfTheCA(t *testing.T) {
	ca := testcert.New("a CA")
	server := ca.MutualConfig("localhost")
	with := func(p testcert.Pair) *tls.Config {
		return &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{p.TLS()}}
	}
	if peer, serr, err := handshake(t, server, with(ca.Client("orders"))); err != nil || serr != nil || peer != "orders" {
		t.Errorf("peer %q, %v, %v", peer, err, serr)
	}
	if _, serr, _ := handshake(t, server, with(testcert.New("a CA").Client("orders"))); serr == nil {
		t.Error("a client of another CA was accepted")
	}
	if _, serr, _ := handshake(t, server, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}); serr == nil {
		t.Error("a client without a certificate was accepted")
	}
	expired := ca.Issue(testcert.Request{Name: "late", NotAfter: time.Now().Add(-time.Minute)})
	if _, serr, _ := handshake(t, server, with(expired)); serr == nil {
		t.Error("an expired client was accepted")
	}
}

func TestPairIsPEMWithAPKCS8Key(t *testing.T) {
	pair := testcert.New("a CA").Client("orders")
	block, rest := pem.Decode(pair.Key)
	if block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) != 0 {
		t.Fatalf("key is not one PKCS #8 block: %v", block)
	}
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := pair.Write(dir, "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := tls.LoadX509KeyPair(dir+"/orders.crt", dir+"/orders.key"); err != nil {
		t.Fatal(err)
	}
}
