package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/testcert"
)

// saying is one cell of the table in docs/security.md: what the log may say.
type saying struct {
	texts   []string
	pattern *regexp.Regexp // of any of them; … stands for anything
}

// errorTable reads the table under "What the errors mean".
func errorTable(t *testing.T) (table []saying) {
	t.Helper()
	b, err := os.ReadFile("../../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n## What the errors mean\n")
	if !ok {
		t.Fatal("docs/security.md has no such section")
	}
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		if len(cells) != 3 {
			t.Fatalf("a row of %d cells: %s", len(cells), line)
		}
		var s saying
		var patterns []string
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[0], -1) {
			s.texts = append(s.texts, m[1])
			patterns = append(patterns, strings.ReplaceAll(regexp.QuoteMeta(m[1]), "…", ".+"))
		}
		s.pattern = regexp.MustCompile(strings.Join(patterns, "|"))
		table = append(table, s)
	}
	if len(table) < 30 {
		t.Fatalf("only %d rows were found", len(table))
	}
	return table
}

// Sayings that need more than a test can bring about here, and where they are shown.
var shownElsewhere = []string{
	"no acknowledgement within …", // takes 55 s; by the tests of answers
	// These need a token endpoint, or Amazon's; by the tests of OAUTHBEARER and AWS_MSK_IAM.
	"could not get token from https://…",
	`could not get token from file "…"`,
	`the broker refused the token: status "invalid_token"…`,
	"[58] SASL Authentication Failed: …: Access denied",
	"could not get AWS credentials: …",
}

// listen serves each connection by f until the end of the test, and returns the address.
func listen(t *testing.T, f func(net.Conn)) []string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f(c)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return []string{l.Addr().String()}
}

// alert answers the hello of a TLS client with an alert (RFC 8446, section 6).
func alert(number byte) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, number})
		_, _ = c.Read(make([]byte, 1)) // until the client is gone
	}
}

// Each row of the table is brought about, and Kong's error log has its words, the topic
// and the broker's address in one line.
func TestErrorsAreThoseOfTheDocumentation(t *testing.T) {
	table := errorTable(t)
	ca := testcert.New("an authority")
	dir := t.TempDir()
	const foreignID, expiredID = certID, "7f1f2c9e-5a0c-4a43-9a54-6d0c0a1e3b06"
	for id, p := range map[string]testcert.Pair{
		foreignID: testcert.New("another").Client("kong"),
		expiredID: ca.Issue(testcert.Request{Name: "kong", NotAfter: time.Now().Add(-time.Minute)}),
	} {
		if err := rig.SecretKey(p).Write(dir, id); err != nil {
			t.Fatal(err)
		}
	}
	fake := func(opts ...kfake.Opt) *kafkatest.Fake {
		return kafkatest.StartFake(t, append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(1, "t")}, opts...)...)
	}
	// with a certificate of the broker
	certified := func(change func(*tls.Config)) []string {
		config := ca.ServerConfig("127.0.0.1", "localhost")
		change(config)
		return kafkatest.StartFakeTLS(t, config, kfake.NumBrokers(1), kfake.SeedTopics(1, "t")).Addrs()
	}
	issued := func(r testcert.Request) []string {
		return certified(func(c *tls.Config) { c.Certificates = []tls.Certificate{ca.Issue(r).TLS()} })
	}
	localhost := func(addrs []string) []string { return []string{strings.Replace(addrs[0], "127.0.0.1", "localhost", 1)} }
	mutual := func(newest uint16) []string {
		return certified(func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs, c.MaxVersion = tls.RequireAndVerifyClientCert, ca.Pool(), newest
		})
	}
	// a broker that answers produce requests with that code
	refusing := func(e *kerr.Error) []string {
		f := fake()
		f.ControlKey(kmsg.Produce.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
			f.KeepControl()
			response := request.ResponseKind().(*kmsg.ProduceResponse)
			for _, topic := range request.(*kmsg.ProduceRequest).Topics {
				answer := kmsg.ProduceResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
				for _, p := range topic.Partitions {
					answer.Partitions = append(answer.Partitions, kmsg.ProduceResponseTopicPartition{Partition: p.Partition, ErrorCode: e.Code})
				}
				response.Topics = append(response.Topics, answer)
			}
			return response, nil, true
		})
		return f.Addrs()
	}
	handshake := func(e *kerr.Error) []string {
		f := fake()
		f.ControlKey(kmsg.SASLHandshake.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
			f.KeepControl()
			response := request.ResponseKind().(*kmsg.SASLHandshakeResponse)
			response.ErrorCode = e.Code
			return response, nil, true
		})
		return f.Addrs()
	}
	impostor := func() []string {
		f := fake()
		f.ControlKey(kmsg.SASLHandshake.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
			f.KeepControl()
			return request.ResponseKind(), nil, true
		})
		f.ControlKey(kmsg.SASLAuthenticate.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
			f.KeepControl()
			response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
			sent := string(request.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes)
			if _, nonce, ok := strings.Cut(sent, "n=u,r="); ok {
				response.SASLAuthBytes = []byte("r=" + nonce + "x,s=" + base64.StdEncoding.EncodeToString([]byte("salt")) + ",i=4096")
			} else {
				response.SASLAuthBytes = []byte("v=" + base64.StdEncoding.EncodeToString(make([]byte, 32)))
			}
			return response, nil, true
		})
		return f.Addrs()
	}
	encrypted := map[string]any{"security": overTLS()}
	login := map[string]any{"authentication": sasl("SCRAM-SHA-256", "u", rig.Secret("a wr0ng password"))}
	rows := []struct {
		says    string
		brokers []string
		more    map[string]any
	}{
		{"cannot reach broker …: connection refused", []string{rig.ClosedPort(t)}, nil},
		{"no such host", []string{"nowhere.invalid:9092"}, nil}, // RFC 6761
		{"network is unreachable", []string{"255.255.255.255:9092"}, nil},
		{"i/o timeout", listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), map[string]any{"timeout": 300}},
		{"EOF", listen(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }), nil},
		{"broker appears to be expecting TLS", listen(t, func(c net.Conn) { // as OpenJDK does
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 80})
		}), nil},
		{"first record does not look like a TLS handshake", listen(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		}), encrypted},
		{"the answer is not Kafka's: …", listen(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		}), nil},
		{"x509: certificate signed by unknown authority", certified(func(c *tls.Config) {
			c.Certificates = []tls.Certificate{testcert.New("another").Server("127.0.0.1").TLS()}
		}), encrypted},
		{"x509: certificate is valid for …, not …", issued(testcert.Request{Hosts: []string{"127.0.0.2"}}), encrypted},
		{"doesn't contain any IP SANs", issued(testcert.Request{Hosts: []string{"broker.example"}}), encrypted},
		{"certificate relies on legacy Common Name field", localhost(issued(testcert.Request{Name: "localhost"})), encrypted},
		{"certificate is not valid for any names", localhost(issued(testcert.Request{Name: "the broker"})), encrypted},
		{"x509: certificate has expired or is not yet valid", issued(testcert.Request{Hosts: []string{"127.0.0.1"}, NotAfter: time.Now().Add(-time.Minute)}), encrypted},
		{"x509: certificate has expired or is not yet valid", issued(testcert.Request{Hosts: []string{"127.0.0.1"}, NotBefore: time.Now().Add(time.Hour)}), encrypted},
		{"x509: certificate specifies an incompatible key usage", issued(testcert.Request{Hosts: []string{"127.0.0.1"}, ClientOnly: true}), encrypted},
		{"remote error: tls: bad certificate", listen(t, alert(42)), encrypted},
		{"remote error: tls: certificate required", mutual(tls.VersionTLS13), encrypted},
		{"remote error: tls: unknown certificate", listen(t, alert(46)), encrypted},
		{"remote error: tls: unknown certificate authority", mutual(tls.VersionTLS12), map[string]any{"security": overTLS("certificate_id", foreignID)}},
		{"remote error: tls: expired certificate", mutual(tls.VersionTLS12), map[string]any{"security": overTLS("certificate_id", expiredID)}},
		{"remote error: tls: handshake failure", listen(t, alert(40)), encrypted},
		{"protocol version not supported", certified(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), encrypted},
		{"remote error: tls: unrecognized name", listen(t, alert(112)), encrypted},
		{"[58] SASL Authentication Failed", startGate(t, 1, "another").Addrs(), map[string]any{"authentication": sasl("PLAIN", "u", "a wr0ng password")}},
		{"[33] Unsupported SASL Mechanism", handshake(kerr.UnsupportedSaslMechanism), login},
		{"[34] Illegal SASL State", handshake(kerr.IllegalSaslState), login},
		{"the broker's signature is wrong", impostor(), login},
		{"[29] Topic Authorization Failed", refusing(kerr.TopicAuthorizationFailed), nil},
		{"[3] Unknown Topic Or Partition", kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "another")).Addrs(), nil},
		{"[17] Invalid Topic", refusing(kerr.InvalidTopicException), nil},
		{"[7] Request Timed Out", refusing(kerr.RequestTimedOut), nil},
		{"[19] Not Enough Replicas", refusing(kerr.NotEnoughReplicas), nil},
		{"[20] Not Enough Replicas After Append", refusing(kerr.NotEnoughReplicasAfterAppend), nil},
		{"[10] Message Size Too Large", refusing(kerr.MessageTooLarge), nil},
		{"[32] Invalid Timestamp", refusing(kerr.InvalidTimestamp), nil},
		{"[87] Invalid Record", refusing(kerr.InvalidRecord), nil},
		{"[76] Unsupported Compression Type", refusing(kerr.UnsupportedCompressionType), nil},
		{"[35] Unsupported Version", refusing(kerr.UnsupportedVersion), nil},
		{`could not load certificate "…": …`, []string{rig.ClosedPort(t)}, map[string]any{"security": overTLS("certificate_id", "7f1f2c9e-5a0c-4a43-9a54-6d0c0a1e3b07")}},
	}
	s := rig.Start(t, append(caFlag(t, ca), "-certificates", dir, "-admin-url", "http://"+rig.ClosedPort(t), "-drain-timeout", "500ms")...)
	w := s.Worker()
	once := map[string]any{"producer_async": false, "producer_request_retries_max_attempts": 1, "timeout": 5000}
	shown := make(map[int]bool)
	for _, row := range rows {
		t.Run(row.says, func(t *testing.T) {
			i := slices.IndexFunc(table, func(s saying) bool { return slices.Contains(s.texts, row.says) })
			if i < 0 {
				t.Fatalf("docs/security.md does not say what it means")
			}
			k := new(rig.Kong)
			exit, err := w.HandleEvent(t.Context(), rig.NewPlugin(rig.Settings(t, row.brokers, with(once, row.more))), k)
			if err != nil || exit.Status != 502 {
				t.Fatalf("%+v, %v", exit, err)
			}
			line := k.Log()
			if !table[i].pattern.MatchString(line) {
				t.Fatalf("Kong's error log has %q, want one of %q", line, table[i].texts)
			}
			shown[i] = true
			if strings.Contains(row.says, "could not load") {
				return
			}
			if !strings.Contains(line, "topic t: ") || !strings.Contains(line, row.brokers[0]) {
				t.Errorf("it does not name the topic t and the broker %s: %q", row.brokers[0], line)
			}
		})
	}
	for i, s := range table {
		if !shown[i] && !slices.Contains(shownElsewhere, s.texts[0]) && !strings.HasPrefix(s.texts[0], "cannot reach broker …: i/o") {
			t.Errorf("no test brings about %q", s.texts)
		}
	}
}
