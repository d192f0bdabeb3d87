package metrics

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
		want failure
	}{
		{"deadline", late.Err(), timeout},
		{"deadline of a read", readTimeout(t), timeout},
		{"broker waited for its replicas", kafka.RequestTimedOut, timeout},
		{"nobody listens", dial(t.Context(), "127.0.0.1:1"), unreachable},
		{"connect timed out", dial(late, "127.0.0.1:1"), unreachable},
		{"no such host", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, unreachable},
		{"name server is away", &net.DNSError{Err: "timeout", IsTimeout: true}, unreachable},
		{"no route", os.NewSyscallError("connect", syscall.EHOSTUNREACH), unreachable},
		{"kafka-go has no connection", kafka.BrokerNotAvailable, unreachable},
		{"closed by the broker", io.EOF, disconnected},
		{"closed in mid answer", io.ErrUnexpectedEOF, disconnected},
		{"reset", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, disconnected},
		{"broken pipe", syscall.EPIPE, disconnected},
		{"code 13", kafka.NetworkException, disconnected},
		{"leader moved", kafka.NotLeaderForPartition, noLeader},
		{"election", kafka.LeaderNotAvailable, noLeader},
		{"layout without a leader", protocol.NewErrNoLeader("t", 1), noLeader},
		{"replicas", kafka.NotEnoughReplicas, notEnoughReplicas},
		{"replicas, after", kafka.NotEnoughReplicasAfterAppend, notEnoughReplicas},
		{"no topic", kafka.UnknownTopicOrPartition, unknownTopic},
		{"layout without the topic", protocol.NewErrNoTopic("t"), unknownTopic},
		{"layout without the partition", protocol.NewErrNoPartition("t", 9), unknownTopic},
		{"message.max.bytes", kafka.MessageSizeTooLarge, tooLarge},
		{"segment.bytes", kafka.RecordListTooLarge, tooLarge},
		{"for kafka-go", kafka.MessageTooLargeError{}, tooLarge},
		{"ACL", fmt.Errorf("%w: not you", kafka.TopicAuthorizationFailed), notAuthorized},
		{"cluster ACL", kafka.ClusterAuthorizationFailed, notAuthorized},
		{"password", fmt.Errorf("SASL: %w", kafka.SASLAuthenticationFailed), authentication},
		{"mechanism", kafka.UnsupportedSASLMechanism, authentication},
		{"exchange that we ended", fmt.Errorf("dial: %w", notOurs{}), authentication},
		{"certificate", handshake(t, secure.Listener.Addr().String()), tlsFailure},
		{"no TLS there", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, tlsFailure},
		{"alert", &net.OpError{Op: "remote error", Err: tls.AlertError(42)}, tlsFailure},
		{"old TLS", oldTLS(t), tlsFailure},
		{"HTTP", foreign{}, notKafka},
		{"Kafka after all", foreign{io.EOF}, disconnected},
		{"other code", kafka.InvalidRequiredAcks, broker},
		{"unknown code", kafka.Error(4242), broker},
		{"code -1", kafka.Unknown, broker},
		{"ended by us", ended.Err(), shutdown},
		{"dial ended by us", dial(ended, "127.0.0.1:1"), shutdown},
		{"hidden cause", fmt.Errorf("gave up: %w", notOurs{kafka.LeaderNotAvailable}), noLeader},
		{"no class", errors.New("the dog ate it"), other},
		{"other error of kafka-go", protocol.ErrNoRecord, other},
		{"none", nil, other},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := failureOf(c.err); got != c.want {
				t.Errorf("%v is %s, want %s", c.err, failureNames[got], failureNames[c.want])
			}
			if c.err == nil {
				return
			}
			if got := failureOf(fmt.Errorf("kafka.(*Client).Produce: %w", c.err)); got != c.want {
				t.Errorf("wrapped it is %s", failureNames[got])
			}
		})
	}
}

func TestEveryCodeOfABrokerHasAReason(t *testing.T) {
	for code := kafka.Error(-1); code < 130; code++ {
		if code == 0 {
			continue
		}
		if got := failureOf(code); got == other || got >= failures {
			t.Errorf("%v is %d", code, got)
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
		if got := failureOf(fmt.Errorf("kafka.(*Client).Produce: %w", err)); got != tlsFailure {
			t.Errorf("%v is %s", err, failureNames[got])
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

func TestReasonsAreShortAndDifferent(t *testing.T) {
	for _, set := range [][]string{failureNames[:], refusalNames[:]} {
		for i, name := range set {
			if name == "" || len(name) > 20 || slices.Index(set, name) != i {
				t.Errorf("%q", name)
			}
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
