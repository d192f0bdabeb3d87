package e2e

import (
	"crypto/tls"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/testcert"
)

func TestBrokerIsTrustedByTheCAFileAlone(t *testing.T) {
	t.Parallel()
	known, unknown := testcert.New("an authority"), testcert.New("an authority")
	f := kafkatest.StartFakeTLS(t, known.ServerConfig("127.0.0.1"), kfake.SeedTopics(1, "t"))
	g := kafkatest.StartFakeTLS(t, unknown.ServerConfig("127.0.0.1"), kfake.SeedTopics(1, "t"))
	s := secured(t, hosts(map[string][]byte{
		"known":         rig.Settings(t, f.Addrs(), with(synced, map[string]any{"security": overTLS()})),
		"unknown":       rig.Settings(t, g.Addrs(), with(synced, map[string]any{"security": overTLS()})),
		"unknown.async": rig.Settings(t, g.Addrs(), with(map[string]any{"security": overTLS(), "producer_request_retries_max_attempts": 3})),
	}), append(caFlag(t, known), "-drain-timeout", "500ms")...)
	s.want("known", 200)
	f.Records(t, "t", 1)

	const cause = "certificate signed by unknown authority"
	s.want("unknown", 502)
	if !strings.Contains(s.errors(), "could not send a record to topic t: ") || !strings.Contains(s.errors(), cause) {
		t.Errorf("Kong's error log reads %q", s.errors())
	}
	// Nobody waits for these, so a later request tells of them.
	s.want("unknown.async", 200)
	s.wantError("unknown.async", "to topic t lost since")
	if got := s.errors(); strings.Count(got, cause) < 2 {
		t.Errorf("Kong's error log reads %q", got)
	}
	if n := g.Connections(); n != 0 {
		t.Errorf("%d connections reached the broker that is not to be trusted", n)
	}
}

// Go looks for the system's authorities where SSL_CERT_FILE says, if that is
// set. Kong's plugin servers have no environment, so this one is not Kong's.
func TestBrokerIsTrustedByTheSystemsAuthoritiesWithoutCAFile(t *testing.T) {
	ca := testcert.New("the system's authority")
	f := kafkatest.StartFakeTLS(t, ca.ServerConfig("127.0.0.1"), kfake.SeedTopics(1, "t"))
	socket := filepath.Join(t.TempDir(), "s")
	var log rig.Lines
	cmd := exec.Command(rig.Binary, "-socket", socket)
	cmd.Env = []string{"SSL_CERT_FILE=" + caFlag(t, ca)[1]}
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	rig.Eventually(t, "it serves", func() bool { return strings.Contains(log.String(), "msg=serving") })
	w := rig.NewWorker(t, socket)
	k := new(rig.Kong)
	exit, err := w.HandleEvent(t.Context(), rig.NewPlugin(rig.Settings(t, f.Addrs(), with(synced, map[string]any{"security": overTLS()}))), k)
	if err != nil || exit.Status != 200 {
		t.Errorf("%+v, %v, %s", exit, err, k.Log())
	}
	// With a file of its own it does not ask the system.
	other := rig.Start(t, caFlag(t, testcert.New("another"))...)
	v := other.Worker()
	exit, err = v.HandleEvent(t.Context(), rig.NewPlugin(rig.Settings(t, f.Addrs(), with(synced, map[string]any{"security": overTLS()}))), k)
	if err != nil || exit.Status != 502 || !strings.Contains(k.Log(), "unknown authority") {
		t.Errorf("%+v, %v, %s", exit, err, k.Log())
	}
}

func TestBrokersNameMustBeInItsCertificate(t *testing.T) {
	t.Parallel()
	ca := testcert.New("an authority")
	f := kafkatest.StartFakeTLS(t, ca.ServerConfig("broker.example", "127.0.0.2"), kfake.SeedTopics(1, "t"))
	s := secured(t, hosts(map[string][]byte{
		"checked":   rig.Settings(t, f.Addrs(), with(synced, map[string]any{"security": overTLS()})),
		"unchecked": rig.Settings(t, f.Addrs(), with(synced, map[string]any{"security": overTLS("ssl_verify", false)})),
	}), caFlag(t, ca)...)
	s.want("checked", 502)
	s.wantError("", "certificate is valid for 127.0.0.2, not 127.0.0.1")
	if n := f.Connections(); n != 0 {
		t.Errorf("%d connections reached the broker", n)
	}
	s.want("unchecked", 200)
}

// ssl_verify: false is for brokers whose certificates nobody can check: of an
// unknown authority, of another name, expired.
func TestVerificationOffTakesAnyCertificate(t *testing.T) {
	t.Parallel()
	f := kafkatest.StartFakeTLS(t, testcert.New("unknown").ServerConfig("elsewhere.example"), kfake.SeedTopics(1, "t"))
	s := secured(t, kongYAML(t, rig.Settings(t, f.Addrs(), with(synced, map[string]any{"security": overTLS("ssl_verify", false)}))))
	s.want(host, 200)
	f.Records(t, "t", 1)
}

func TestBrokerThatSpeaksOnlyOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	ca := testcert.New("an authority")
	for _, c := range []struct {
		newest uint16
		status int
	}{{tls.VersionTLS11, 502}, {tls.VersionTLS12, 200}, {tls.VersionTLS13, 200}} {
		config := ca.ServerConfig("127.0.0.1")
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, c.newest
		f := kafkatest.StartFakeTLS(t, config, kfake.SeedTopics(1, "t"))
		s := secured(t, hosts(map[string][]byte{
			"checked":   rig.Settings(t, f.Addrs(), with(synced, map[string]any{"security": overTLS()})),
			"unchecked": rig.Settings(t, f.Addrs(), with(synced, map[string]any{"security": overTLS("ssl_verify", false)})),
		}), caFlag(t, ca)...)
		s.want("checked", c.status)
		s.want("unchecked", c.status)
		if c.status != 200 {
			s.wantError("", "protocol version")
		}
	}
}

// A configuration without TLS towards a listener that wants it, and the other
// way round, end within the attempts and say so.
func TestPlaintextAndTLSDoNotMeet(t *testing.T) {
	t.Parallel()
	ca := testcert.New("an authority")
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	l, err := tls.Listen("tcp", "127.0.0.1:0", ca.ServerConfig("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	front := startProxy(t, f.Addrs()[0], hangUp)
	s := secured(t, hosts(map[string][]byte{
		"tls.to.plaintext": rig.Settings(t, front.addrs(), with(synced, map[string]any{"security": overTLS(), "timeout": 2000})),
		"plaintext.to.tls": rig.Settings(t, []string{l.Addr().String()}, with(synced, map[string]any{"timeout": 2000})),
	}), caFlag(t, ca)...)
	s.want("tls.to.plaintext", 502)
	s.want("plaintext.to.tls", 502)
	if got := strings.Count(s.errors(), "could not send a record to topic t: "); got != 2 {
		t.Errorf("Kong's error log reads %q", s.errors())
	}
}

// hangUp is a plaintext broker that is sent TLS: it takes the first bytes for
// the length of a request that is too large.
func hangUp(client, _ net.Conn) {
	_, _ = client.Read(make([]byte, 4))
}
