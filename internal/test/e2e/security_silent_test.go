package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/testcert"

	"kafka-upstream/internal/test/e2e/rig"
)

// A broker may take a connection and then fall silent at any point on the way
// to the first record. Each wait ends by the timeout.
func TestBrokerThatFallsSilentIsGivenUpByTheTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 1500 * time.Millisecond
	ca := testcert.New("an authority")
	config := ca.ServerConfig("127.0.0.1")
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "orders", rig.Secret("correct horse")), kfake.Superuser("SCRAM-SHA-256", "orders", "correct horse"))
	phases := map[string]struct {
		mechanism string
		answers   int // that the broker gives before; -1: not even the TLS handshake
	}{
		"tls.handshake":  {"PLAIN", -1},
		"api.versions":   {"PLAIN", 0},
		"sasl.handshake": {"PLAIN", 1},
		"plain":          {"PLAIN", 2},
		"scram.first":    {"SCRAM-SHA-256", 2},
		"scram.final":    {"SCRAM-SHA-256", 3},
		"metadata":       {"PLAIN", 3},
	}
	configs := map[string][]byte{}
	for name, phase := range phases {
		var reached atomic.Bool // the broker gave its answers
		p := startProxy(t, f.Addrs()[0], func(client, broker net.Conn) {
			if phase.answers < 0 {
				reached.Store(true)
				_, _ = io.Copy(io.Discard, client)
			} else if falter(tls.Server(client, config), broker, phase.answers) {
				reached.Store(true)
			}
		})
		t.Cleanup(func() {
			if !reached.Load() {
				t.Errorf("%s: the connection did not get there", name)
			}
		})
		configs[name] = rig.Settings(t, p.addrs(), map[string]any{
			"timeout": timeout.Milliseconds(), "producer_async": false, "producer_request_retries_max_attempts": 1,
			"authentication": sasl(phase.mechanism, "orders", "correct horse"), "security": overTLS()})
	}
	s := secured(t, hosts(configs), caFlag(t, ca)...)
	var wg sync.WaitGroup
	for name := range configs {
		wg.Go(func() {
			begin := time.Now()
			status, _ := s.send(name, "x")
			d := time.Since(begin).Round(time.Millisecond)
			t.Logf("%s: %d after %v", name, status, d)
			if status != 502 || d < timeout || d > timeout+timeout/2 {
				t.Errorf("%s: answered %d after %v, want 502 after %v and little more", name, status, d, timeout)
			}
		})
	}
	wg.Wait()
}

// falter passes on what both say until the broker has given that many answers,
// and reports whether it got so far. It returns when the client has gone.
func falter(client, broker net.Conn, answers int) bool {
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(broker, client); broker.Close() })
	defer wg.Wait()
	for range answers {
		var size [4]byte
		if _, err := io.ReadFull(broker, size[:]); err != nil {
			return false
		}
		if _, err := client.Write(size[:]); err != nil {
			return false
		}
		if _, err := io.CopyN(client, broker, int64(size[0])<<24|int64(size[1])<<16|int64(size[2])<<8|int64(size[3])); err != nil {
			return false
		}
	}
	return true
}
