package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/testcert"

	"kafka-upstream/internal/test/e2e/rig"
)

const certID = "7f1f2c9e-5a0c-4a43-9a54-6d0c0a1e3b01"

// mutualFake is a broker that wants a certificate of one of the authorities,
// the first of which issued its own.
type mutualFake struct {
	*kafkatest.Fake
	own testcert.Pair // for the test's own connections

	mu    sync.Mutex
	names []string // of the clients' certificates, in the order of their connections
}

func startMutual(t *testing.T, authorities ...*testcert.CA) *mutualFake {
	t.Helper()
	f := &mutualFake{own: authorities[0].Client("the test")}
	config := authorities[0].MutualConfig("127.0.0.1")
	config.ClientCAs = authorities[0].Pool()
	for _, ca := range authorities[1:] {
		config.ClientCAs.AppendCertsFromPEM(ca.PEM())
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.names = append(f.names, state.PeerCertificates[0].Subject.CommonName)
		return nil
	}
	f.Fake = kafkatest.StartFakeTLS(t, config, kfake.SeedTopics(1, "t"))
	return f
}

// came returns the names that connections came with, each once.
func (f *mutualFake) came() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := slices.Clone(f.names)
	slices.Sort(names)
	return slices.Compact(names)
}

// mutualTLS is what a configuration says that presents the certificate, and
// keeps no connection, so that each request presents it anew.
func mutualTLS(id string) map[string]any {
	return with(synced, map[string]any{
		"security":          overTLS("certificate_id", id),
		"keepalive_enabled": true, "keepalive": 1,
	})
}

// yamlBlock indents a PEM text for YAML.
func yamlBlock(b []byte) string {
	return "|\n      " + strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", "\n      ") + "\n"
}

// certificateYAML is a certificate in a declarative configuration.
func certificateYAML(id string, p testcert.Pair) string {
	return fmt.Sprintf("certificates:\n- id: %s\n  cert: %s  key: %s", id, yamlBlock(p.Cert), yamlBlock(p.Key))
}

func TestClientCertificateComesFromWhereItIsKept(t *testing.T) {
	t.Parallel()
	ca := testcert.New("an authority")
	pair := rig.SecretKey(ca.Client("kong"))
	entity, err := json.Marshal(map[string]any{"id": certID, "cert": string(pair.Cert), "key": string(pair.Key), "tags": nil})
	if err != nil {
		t.Fatal(err)
	}
	// An Admin API that wants a token.
	const token = "t0ken of the admin API"
	admin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Kong-Admin-Token") != rig.Secret(token):
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method != "GET" || r.URL.Path != "/certificates/"+certID:
			w.WriteHeader(http.StatusNotFound)
		default:
			_, _ = w.Write(entity)
		}
	})
	serve := func(network, address string) net.Addr {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: admin}
		go server.Serve(l)
		t.Cleanup(func() { server.Close() })
		return l.Addr()
	}
	dir, tokenFile := t.TempDir(), filepath.Join(t.TempDir(), "token")
	if err := pair.Write(dir, certID); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tokenFile, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := serve("unix", filepath.Join(rig.ShortDir(t), "admin"))
	port := serve("tcp", "127.0.0.1:0")
	for name, c := range map[string]struct {
		yaml  string
		flags []string
	}{
		"folder":                   {"", []string{"-certificates", dir, "-admin-url", "http://" + rig.ClosedPort(t)}},
		"Kong's Admin API":         {certificateYAML(certID, pair), []string{"-admin-url", "{admin-url}"}},
		"Admin API by unix socket": {"", []string{"-admin-url", "unix:" + socket.String(), "-admin-token-file", tokenFile}},
		"Admin API with a token":   {"", []string{"-admin-url", "http://" + port.String(), "-admin-token-file", tokenFile, "-certificates", t.TempDir()}},
	} {
		t.Run(name, func(t *testing.T) {
			f := startMutual(t, ca)
			s := secured(t, kongYAML(t, rig.Settings(t, f.Addrs(), mutualTLS(certID)))+c.yaml, append(caFlag(t, ca), c.flags...)...)
			s.want(host, 200)
			if got := f.came(); !slices.Equal(got, []string{"kong"}) {
				t.Errorf("connections came with the certificates of %q", got)
			}
		})
	}
}

func TestBrokerThatWantsACertificateTakesNothingWithout(t *testing.T) {
	t.Parallel()
	ca := testcert.New("an authority")
	dir := t.TempDir()
	if err := rig.SecretKey(testcert.New("another").Client("kong")).Write(dir, certID); err != nil {
		t.Fatal(err)
	}
	f := startMutual(t, ca)
	s := secured(t, hosts(map[string][]byte{
		"none":  rig.Settings(t, f.Addrs(), with(synced, map[string]any{"security": overTLS()})),
		"wrong": rig.Settings(t, f.Addrs(), mutualTLS(certID)),
	}), append(caFlag(t, ca), "-certificates", dir)...)
	s.want("none", 502)
	s.want("wrong", 502)
	if n := f.Connections(); n != 0 {
		t.Errorf("%d connections carried requests", n)
	}
}

// The certificate in use expires, and another of another authority takes its
// place in time: no request fails, and nobody restarts anything.
func TestRotatedCertificateIsUsedWithoutARestart(t *testing.T) {
	t.Parallel()
	old, next := testcert.New("the old authority"), testcert.New("the new authority")
	f := startMutual(t, old, next)
	dir := t.TempDir()
	s := secured(t, kongYAML(t, rig.Settings(t, f.Addrs(), with(mutualTLS(certID), map[string]any{"producer_request_retries_backoff_timeout": 500}))),
		append(caFlag(t, old), "-certificates", dir)...)
	expiry := time.Now().Add(3 * time.Second).Truncate(time.Second) // as certificates have it
	if err := rig.SecretKey(old.Issue(testcert.Request{Name: "old", NotAfter: expiry})).Write(dir, certID); err != nil {
		t.Fatal(err)
	}
	s.want(host, 200)
	if got := f.came(); !slices.Equal(got, []string{"old"}) {
		t.Errorf("the first came as %q", got)
	}
	if err := rig.SecretKey(next.Client("new")).Write(dir, certID); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "the old certificate has expired", func() bool { return time.Now().After(expiry.Add(time.Second)) })
	s.want(host, 200)
	if got := f.came(); !slices.Equal(got, []string{"new", "old"}) {
		t.Errorf("connections came as %q", got)
	}
	if s.count("certificate was rotated") != 1 {
		t.Error("the log does not say once that the certificate was rotated")
	}
}

func TestCertificateThatCannotBeLoadedIsSoughtAgainOnceASecond(t *testing.T) {
	t.Parallel()
	ca := testcert.New("an authority")
	pair := rig.SecretKey(ca.Client("kong"))
	entity, err := json.Marshal(map[string]any{"cert": string(pair.Cert), "key": string(pair.Key)})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked []time.Time
	there := false
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, time.Now())
		if !there {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(entity)
	})}
	go admin.Serve(l)
	defer admin.Close()

	f := startMutual(t, ca)
	s := secured(t, kongYAML(t, rig.Settings(t, f.Addrs(), mutualTLS(certID))), append(caFlag(t, ca), "-admin-url", "http://"+l.Addr().String())...)
	begin := time.Now()
	requests := 0
	for ; time.Since(begin) < 1500*time.Millisecond; requests++ {
		if status, body := s.send(host, "x"); status != 502 || body != `{"message":"Bad Gateway","error":"could not load certificate"}` {
			t.Fatalf("answered %d %s", status, body)
		}
	}
	mu.Lock()
	loads := slices.Clone(asked)
	there = true
	mu.Unlock()
	if len(loads) < 2 || len(loads) > 3 {
		t.Errorf("%d requests had the certificate loaded %d times in 1.5 s", requests, len(loads))
	}
	for i := 1; i < len(loads); i++ {
		if gap := loads[i].Sub(loads[i-1]); gap < 950*time.Millisecond {
			t.Errorf("it was loaded again after %v", gap)
		}
	}
	if want := "could not load certificate \"" + certID + "\": Kong's Admin API at http://" + l.Addr().String() + " has no certificate with this id"; !strings.Contains(s.errors(), want) {
		t.Errorf("Kong's error log lacks %q", want)
	}
	rig.Eventually(t, "the certificate is found", func() bool { status, _ := s.send(host, "x"); return status == 200 })
	if d := time.Since(loads[len(loads)-1]); d > 3*time.Second {
		t.Errorf("it was found %v after the last look", d)
	}
}

func TestConfigurationsWithDifferentCertificatesShareNoConnection(t *testing.T) {
	t.Parallel()
	ca := testcert.New("an authority")
	dir := t.TempDir()
	ids := map[string]string{"one": certID, "two": "7f1f2c9e-5a0c-4a43-9a54-6d0c0a1e3b02"}
	f := startMutual(t, ca)
	configs := map[string][]byte{}
	for name, id := range ids {
		if err := rig.SecretKey(ca.Client(name)).Write(dir, id); err != nil {
			t.Fatal(err)
		}
		configs[name] = rig.Settings(t, f.Addrs(), with(synced, map[string]any{"security": overTLS("certificate_id", id)}))
	}
	s := secured(t, hosts(configs), append(caFlag(t, ca), "-certificates", dir)...)
	conns := map[string]map[int]bool{"one": {}, "two": {}}
	for range 5 {
		for name := range ids {
			before := len(f.Produces())
			s.want(name, 200)
			for _, p := range f.Produces()[before:] {
				conns[name][p.Conn] = true
			}
		}
	}
	if got := f.came(); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("connections came as %q", got)
	}
	for conn := range conns["one"] {
		if conns["two"][conn] {
			t.Errorf("connection %d carried records of both configurations", conn)
		}
	}
}

// A broker that wants a certificate and gets none says so in several ways: with
// TLS 1.3, and of Java since 17.0.21, there is an alert of its own for that.
func TestMissingCertificateIsToldAsTheBrokerTellsIt(t *testing.T) {
	t.Parallel()
	ca := testcert.New("an authority")
	for version, want := range map[uint16]string{tls.VersionTLS12: "remote error: tls: handshake failure", tls.VersionTLS13: "remote error: tls: certificate required"} {
		config := ca.ServerConfig("127.0.0.1")
		config.ClientAuth, config.MaxVersion = tls.RequireAnyClientCert, version
		f := kafkatest.StartFakeTLS(t, config, kfake.SeedTopics(1, "t"))
		address := rig.ClosedPort(t)
		s := secured(t, kongYAML(t, rig.Settings(t, f.Addrs(), with(synced, map[string]any{"security": overTLS()}))), append(caFlag(t, ca), "-metrics", address)...)
		s.want(host, 502)
		s.wantError(host, want) // with TLS 1.3 the end of the connection may come before the alert
		if _, page := get(t, "http://"+address+"/metrics"); !strings.Contains(page, `kafka_upstream_failed_records_total{reason="tls",topic="t"}`) {
			t.Errorf("%s: the metrics have another reason:\n%s", want, page)
		}
	}
}
