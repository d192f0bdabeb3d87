package kafkaerr

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// notOurs is an error of another package that says what it is.
type notOurs struct{ cause error }

func (e notOurs) Error() string              { return "something went wrong" }
func (e notOurs) AuthenticationFailed() bool { return e.cause == nil }
func (e notOurs) Cause() error               { return e.cause }

// foreign is an error of a peer that is no Kafka broker.
type foreign struct{ error }

func (e foreign) NotKafka() bool { return e.error == nil }
func (e foreign) Error() string  { return "HTTP/1.1 400" }
func (e foreign) Unwrap() error  { return e.error }

// tokenless is the error of a login for which there is no token.
type tokenless struct{}

func (tokenless) Error() string { return "could not get token" }
func (tokenless) NoToken() bool { return true }

func TestErrorsHaveTheirReason(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	for _, c := range []struct {
		name string
		err  error
		want Class
	}{
		{"deadline", late.Err(), Timeout},
		{"deadline of a read", readTimeout(t), Timeout},
		{"broker waited for its replicas", kafka.RequestTimedOut, Timeout},
		{"no token to log in with", fmt.Errorf("login: %w", tokenless{}), NoToken},
		{"nobody listens", dial(t.Context(), "127.0.0.1:1"), Unreachable},
		{"connect timed out", dial(late, "127.0.0.1:1"), Unreachable},
		{"no such host", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, Unreachable},
		{"name server is away", &net.DNSError{Err: "timeout", IsTimeout: true}, Unreachable},
		{"no route", os.NewSyscallError("connect", syscall.EHOSTUNREACH), Unreachable},
		{"kafka-go has no connection", kafka.BrokerNotAvailable, Unreachable},
		{"closed by the broker", io.EOF, Disconnected},
		{"closed in mid answer", io.ErrUnexpectedEOF, Disconnected},
		{"reset", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, Disconnected},
		{"broken pipe", syscall.EPIPE, Disconnected},
		{"code 13", kafka.NetworkException, Disconnected},
		{"leader moved", kafka.NotLeaderForPartition, NoLeader},
		{"election", kafka.LeaderNotAvailable, NoLeader},
		{"layout without a leader", protocol.NewErrNoLeader("t", 1), NoLeader},
		{"replicas", kafka.NotEnoughReplicas, NotEnoughReplicas},
		{"replicas, after", kafka.NotEnoughReplicasAfterAppend, NotEnoughReplicas},
		{"no topic", kafka.UnknownTopicOrPartition, UnknownTopic},
		{"layout without the topic", protocol.NewErrNoTopic("t"), UnknownTopic},
		{"layout without the partition", protocol.NewErrNoPartition("t", 9), UnknownTopic},
		{"message.max.bytes", kafka.MessageSizeTooLarge, TooLarge},
		{"segment.bytes", kafka.RecordListTooLarge, TooLarge},
		{"for kafka-go", kafka.MessageTooLargeError{}, TooLarge},
		{"ACL", fmt.Errorf("%w: not you", kafka.TopicAuthorizationFailed), NotAuthorized},
		{"cluster ACL", kafka.ClusterAuthorizationFailed, NotAuthorized},
		{"password", fmt.Errorf("SASL: %w", kafka.SASLAuthenticationFailed), Authentication},
		{"mechanism", kafka.UnsupportedSASLMechanism, Authentication},
		{"exchange that we ended", fmt.Errorf("dial: %w", notOurs{}), Authentication},
		{"certificate", handshake(t, secure.Listener.Addr().String()), TLS},
		{"no TLS there", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, TLS},
		{"alert", &net.OpError{Op: "remote error", Err: tls.AlertError(42)}, TLS},
		{"old TLS", oldTLS(t), TLS},
		{"HTTP", foreign{}, NotKafka},
		{"Kafka after all", foreign{io.EOF}, Disconnected},
		{"other code", kafka.InvalidRequiredAcks, Broker},
		{"unknown code", kafka.Error(4242), Broker},
		{"code -1", kafka.Unknown, Broker},
		{"ended by us", ended.Err(), Shutdown},
		{"dial ended by us", dial(ended, "127.0.0.1:1"), Shutdown},
		{"hidden cause", fmt.Errorf("gave up: %w", notOurs{kafka.LeaderNotAvailable}), NoLeader},
		{"no class", errors.New("the dog ate it"), Other},
		{"other error of kafka-go", protocol.ErrNoRecord, Other},
		{"none", nil, Other},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Of(c.err); got != c.want {
				t.Errorf("%v is %s, want %s", c.err, got, c.want)
			}
			if c.err == nil {
				return
			}
			if got := Of(fmt.Errorf("kafka.(*Client).Produce: %w", c.err)); got != c.want {
				t.Errorf("wrapped it is %s", got)
			}
		})
	}
}

func TestEveryCodeOfABrokerHasAReason(t *testing.T) {
	for code := kafka.Error(-1); code < 130; code++ {
		if code == 0 {
			continue
		}
		if got := Of(code); got == Other || got >= Classes {
			t.Errorf("%v is %d", code, int(got))
		}
	}
}

// Brokers refuse a certificate, or the lack of one, by alerts of various kinds, which
// differ from one release of Java to the next.
func TestEveryAlertOfABrokerIsAFailureOfTLS(t *testing.T) {
	texts := map[string]bool{}
	for code := range 256 {
		if code == 0 || code == 90 { // the end of the connection, and of the handshake for no fault
			continue
		}
		err := alert(t, byte(code))
		if got := Of(fmt.Errorf("kafka.(*Client).Produce: %w", err)); got != TLS {
			t.Errorf("%v is %s", err, got)
		}
		texts[err.Error()] = true
	}
	for _, text := range []string{"bad certificate", "certificate required", "unknown certificate", "unknown certificate authority", "unsupported certificate",
		"expired certificate", "revoked certificate", "handshake failure", "protocol version not supported", "access denied"} {
		if !texts["remote error: tls: "+text] {
			t.Errorf("crypto/tls has no alert %q any more", text)
		}
	}
}

// alert returns the error of a handshake that the server ends by that alert.
func alert(t *testing.T, code byte) error {
	t.Helper()
	return answered(t, []byte{21, 3, 3, 0, 2, 2, code})
}

// oldTLS returns the error of a handshake with a server that knows TLS 1.1.
func oldTLS(t *testing.T) error {
	t.Helper()
	hello := append([]byte{3, 2}, make([]byte, 32+1+2+1)...) // random, no session, no cipher
	message := append([]byte{2, 0, 0, byte(len(hello))}, hello...)
	return answered(t, append([]byte{22, 3, 1, 0, byte(len(message))}, message...))
}

// answered returns the error of a handshake that is answered by that record.
func answered(t *testing.T, record []byte) error {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	go func() {
		defer b.Close()
		_, _ = b.Read(make([]byte, 64<<10))
		_, _ = b.Write(record)
		_, _ = io.Copy(io.Discard, b)
	}()
	err := tls.Client(a, &tls.Config{ServerName: "broker"}).Handshake()
	if err == nil {
		t.Fatalf("% x: the handshake succeeded", record)
	}
	return err
}

func TestLabelsAreShortAndDifferent(t *testing.T) {
	for i, label := range labels {
		if label == "" || len(label) > 20 || slices.Index(labels[:], label) != i {
			t.Errorf("%q", label)
		}
	}
}

func dial(ctx context.Context, address string) error {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err == nil {
		_ = nc.Close()
	}
	return err
}

func readTimeout(t *testing.T) error {
	a, b := net.Pipe()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	_ = a.SetReadDeadline(time.Unix(1, 0))
	_, err := a.Read(make([]byte, 1))
	return err
}

// handshake fails, because the authority is not known.
func handshake(t *testing.T, address string) error {
	nc, err := tls.Dial("tcp", address, new(tls.Config))
	if err == nil {
		_ = nc.Close()
		t.Fatal("the certificate was trusted")
	}
	return err
}
