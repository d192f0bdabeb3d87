package cluster

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/net/dns/dnsmessage"

	"kafka-upstream/internal/test/kafkatest"
)

// resolver asks a DNS server of the test's, which has one address for all names.
func resolver(t *testing.T, address func() string) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
					Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(address()).To4())},
				}}
			}
			b, err := m.Pack()
			if err == nil {
				_, _ = server.WriteTo(b, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

func TestFaultNameThatChangesItsAddressIsFollowed(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	_, port, _ := net.SplitHostPort(f.Addrs()[0])
	var mu sync.Mutex
	to := "127.0.0.2" // where nobody listens
	names := &net.Dialer{Resolver: resolver(t, func() string {
		mu.Lock()
		defer mu.Unlock()
		return to
	})}
	d := newTestCluster(t, []string{"broker.test:" + port}, func(o *Options) { o.Dial = names.DialContext }).dialer
	if c, err := d.dial(t.Context(), "tcp", "broker.test:"+port); err == nil {
		_ = c.Close()
		t.Fatal("connected to the old address")
	}
	mu.Lock()
	to = "127.0.0.1"
	mu.Unlock()
	c, err := d.dial(t.Context(), "tcp", "broker.test:"+port)
	if err != nil {
		t.Fatalf("the new address: %v", err)
	}
	_ = c.Close()
}

func TestDialedConnectionEndsAReadThatHasNoDeadline(t *testing.T) {
	l := listen(t)
	d := newTestCluster(t, []string{l.Addr().String()}, func(o *Options) { o.Timeout = 50 * time.Millisecond }).dialer
	c, err := d.dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := protocol.WriteRequest(c, 0, 1, "kafka-upstream", new(apiversions.Request)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("read: %v", err)
	}
}
