package metrics

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// failure is the class of an error, the value of the label reason. The set is
// closed: no error's text ever becomes a label.
type failure uint8

const (
	other             failure = iota
	timeout                   // no answer in time, or the broker had none from its replicas
	unreachable               // no connection: refused, no route, no such host, no answer to the connect
	disconnected              // a connection that was there has ended
	noLeader                  // the partition has no leader, or another than we knew
	notEnoughReplicas         // fewer replicas in sync than min.insync.replicas
	unknownTopic
	tooLarge // for the broker
	notAuthorized
	authentication // SASL
	tlsFailure     // handshake, or a certificate that one side does not accept
	notKafka       // a peer that sends what no Kafka broker sends
	broker         // any other code of a broker
	shutdown       // we ended it
	failures
)

var failureNames = [failures]string{
	other:             "other",
	timeout:           "timeout",
	unreachable:       "unreachable",
	disconnected:      "disconnected",
	noLeader:          "no_leader",
	notEnoughReplicas: "not_enough_replicas",
	unknownTopic:      "unknown_topic",
	tooLarge:          "too_large",
	notAuthorized:     "not_authorized",
	authentication:    "authentication",
	tlsFailure:        "tls",
	notKafka:          "not_kafka",
	broker:            "broker",
	shutdown:          "shutdown",
}

// failureOf returns the class of an error as kafka-go, crypto/tls and net return
// them, wrapped or not. An error can classify itself by three methods: AuthenticationFailed() bool, NotKafka() bool, and Cause() error for one
// that must not unwrap to its cause.
func failureOf(err error) failure {
	if e, ok := errors.AsType[interface {
		error
		Cause() error
	}](err); ok && e.Cause() != nil {
		err = e.Cause()
	}
	if e, ok := errors.AsType[interface {
		error
		AuthenticationFailed() bool
	}](err); ok && e.AuthenticationFailed() {
		return authentication
	}
	switch {
	case errors.Is(err, context.Canceled):
		return shutdown
	case isTLS(err):
		return tlsFailure
	}
	if e, ok := errors.AsType[interface {
		error
		NotKafka() bool
	}](err); ok && e.NotKafka() {
		return notKafka
	}
	if code, ok := errors.AsType[kafka.Error](err); ok {
		return failureOfCode(code)
	}
	if e, ok := errors.AsType[protocol.Error](err); ok {
		switch e {
		case protocol.ErrNoTopic, protocol.ErrNoPartition:
			return unknownTopic
		case protocol.ErrNoLeader:
			return noLeader
		}
		return other
	}
	return failureOfNet(err)
}

func failureOfCode(code kafka.Error) failure {
	switch code {
	case kafka.RequestTimedOut:
		return timeout
	case kafka.BrokerNotAvailable: // what kafka-go says where it has no connection
		return unreachable
	case kafka.NetworkException:
		return disconnected
	case kafka.LeaderNotAvailable, kafka.NotLeaderForPartition, kafka.ReplicaNotAvailable,
		kafka.ListenerNotFound, kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch:
		return noLeader
	case kafka.NotEnoughReplicas, kafka.NotEnoughReplicasAfterAppend:
		return notEnoughReplicas
	case kafka.UnknownTopicOrPartition, kafka.InvalidTopic, kafka.UnknownTopicID:
		return unknownTopic
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge:
		return tooLarge
	case kafka.TopicAuthorizationFailed, kafka.GroupAuthorizationFailed, kafka.ClusterAuthorizationFailed:
		return notAuthorized
	case kafka.SASLAuthenticationFailed, kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState:
		return authentication
	}
	return broker
}

// isTLS does not see a broker that closes the connection in the handshake without
// an alert: that is a disconnect.
func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return true
	}
	// crypto/tls reports alerts, the other side's and its own, under these.
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "remote error" || op.Op == "local error") {
		return true
	}
	// Other handshake failures have no type, only a text.
	for ; err != nil; err = errors.Unwrap(err) {
		if text := err.Error(); strings.HasPrefix(text, "tls: ") || strings.HasPrefix(text, "x509: ") {
			return true
		}
	}
	return false
}

func failureOfNet(err error) failure {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return unreachable // even where it was a timeout: nobody was there
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return unreachable
	}
	for _, e := range []error{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH} {
		if errors.Is(err, e) {
			return unreachable
		}
	}
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE} {
		if errors.Is(err, e) {
			return disconnected
		}
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return timeout // context.DeadlineExceeded is one too
	}
	return other
}
