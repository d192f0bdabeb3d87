// Package kafkaerr classifies the errors of producing to Kafka, as kafka-go, crypto/tls and
// net return them, wrapped or not. It is the only place that does.
//
// An error of another package classifies itself by methods: AuthenticationFailed() bool,
// NotKafka() bool, Unsent() bool, NoToken() bool, and Cause() error if it must not unwrap to its cause.
package kafkaerr

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Class is the class of an error. The set is closed, so that its labels can be those of a
// metric: no error's text ever becomes a label.
type Class uint8

// The classes of errors.
const (
	Other             Class = iota
	Timeout                 // no answer in time, or the broker had none from its replicas
	Unreachable             // no connection: refused, no route, no such host, no answer to the connect
	Disconnected            // a connection that was established has ended
	NoLeader                // the partition has no leader, or another than we knew
	NotEnoughReplicas       // fewer replicas in sync than min.insync.replicas
	UnknownTopic            // no such topic or partition
	TooLarge                // for the broker
	NotAuthorized           // by the broker's ACLs
	Authentication          // SASL
	NoToken                 // there is no access token to log in with: its issuer is away, or refuses us
	TLS                     // a failed handshake, or a certificate that one side does not accept
	NotKafka                // a peer that sends what no Kafka broker sends
	Broker                  // any other code of a broker
	Shutdown                // we ended it

	Classes = iota // how many there are
)

var labels = [Classes]string{
	Other:             "other",
	Timeout:           "timeout",
	Unreachable:       "unreachable",
	Disconnected:      "disconnected",
	NoLeader:          "no_leader",
	NotEnoughReplicas: "not_enough_replicas",
	UnknownTopic:      "unknown_topic",
	TooLarge:          "too_large",
	NotAuthorized:     "not_authorized",
	Authentication:    "authentication",
	NoToken:           "no_token",
	TLS:               "tls",
	NotKafka:          "not_kafka",
	Broker:            "broker",
	Shutdown:          "shutdown",
}

// String returns the class as metrics and log lines name it.
func (c Class) String() string { return labels[c] }

// Of returns the class of an error.
func Of(err error) Class {
	if e, ok := errors.AsType[withCause](err); ok && e.Cause() != nil {
		err = e.Cause()
	}
	switch {
	case says(err, noToken.NoToken):
		return NoToken
	case says(err, authentication.AuthenticationFailed):
		return Authentication
	case errors.Is(err, context.Canceled):
		return Shutdown
	case isTLS(err):
		return TLS
	case says(err, notKafka.NotKafka):
		return NotKafka
	}
	if code, ok := errors.AsType[kafka.Error](err); ok {
		return ofCode(code)
	}
	if e, ok := errors.AsType[protocol.Error](err); ok {
		switch e {
		case protocol.ErrNoTopic, protocol.ErrNoPartition:
			return UnknownTopic
		case protocol.ErrNoLeader:
			return NoLeader
		}
		return Other
	}
	return ofNetwork(err)
}

// How errors of other packages classify themselves.
type (
	withCause interface {
		error
		Cause() error // may be nil
	}
	authentication interface {
		error
		AuthenticationFailed() bool
	}
	notKafka interface {
		error
		NotKafka() bool
	}
	unsent interface {
		error
		Unsent() bool
	}
	noToken interface {
		error
		NoToken() bool
	}
)

// says reports whether err has an error of that type for which the method returns true.
func says[E error](err error, method func(E) bool) bool {
	e, ok := errors.AsType[E](err)
	return ok && method(e)
}

// has reports whether err has an error of that type.
func has[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func ofCode(code kafka.Error) Class {
	switch code {
	case kafka.RequestTimedOut:
		return Timeout
	case kafka.BrokerNotAvailable: // what kafka-go says where it has no connection
		return Unreachable
	case kafka.NetworkException:
		return Disconnected
	case kafka.LeaderNotAvailable, kafka.NotLeaderForPartition, kafka.ReplicaNotAvailable,
		kafka.ListenerNotFound, kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch:
		return NoLeader
	case kafka.NotEnoughReplicas, kafka.NotEnoughReplicasAfterAppend:
		return NotEnoughReplicas
	case kafka.UnknownTopicOrPartition, kafka.InvalidTopic, kafka.UnknownTopicID:
		return UnknownTopic
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge:
		return TooLarge
	case kafka.TopicAuthorizationFailed, kafka.GroupAuthorizationFailed, kafka.ClusterAuthorizationFailed:
		return NotAuthorized
	case kafka.SASLAuthenticationFailed, kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState:
		return Authentication
	}
	return Broker
}

// isTLS does not see a broker that closes the connection in the handshake without
// an alert: that is a disconnect.
func isTLS(err error) bool {
	if has[*tls.CertificateVerificationError](err) || has[tls.RecordHeaderError](err) || has[tls.AlertError](err) ||
		has[x509.UnknownAuthorityError](err) || has[x509.HostnameError](err) || has[x509.CertificateInvalidError](err) {
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

func ofNetwork(err error) Class {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" || has[*net.DNSError](err) {
		return Unreachable // even if it was a timeout: nobody was there
	}
	switch {
	case isAny(err, syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH):
		return Unreachable
	case isAny(err, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE):
		return Disconnected
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return Timeout // context.DeadlineExceeded is one too
	}
	return Other
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}
