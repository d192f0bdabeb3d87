package kafkaerr

import (
	"crypto/tls"
	"errors"
	"net"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// IsUnsent reports whether err shows that no record was sent: there was no connection, no
// broker to connect to, or a peer that is not a Kafka broker.
func IsUnsent(err error) bool {
	return says(err, unsent.Unsent) ||
		// What a kafka.Transport says if its metadata lacks what the request needs.
		isAny(err, protocol.ErrNoTopic, protocol.ErrNoPartition, protocol.ErrNoLeader, kafka.BrokerNotAvailable)
}

// IsUnreachable reports whether err, of a metadata request, shows that no broker can be
// talked to: there is none, or those there are close the connection or never answer. A
// broker that answers with an error code, or refuses a login, can be reached.
func IsUnreachable(err error) bool {
	switch {
	case err == nil, IsAuthentication(err):
		return false
	case IsUnsent(err):
		return true
	}
	if has[kafka.Error](err) { // an answer
		return false
	}
	class := Of(err)
	return class == Timeout || class == Unreachable || class == Disconnected
}

// IsDisconnected reports whether a connection was cut. With TLS 1.3 that may be all that
// shows of a broker that refused our certificate.
func IsDisconnected(err error) bool { return ofNetwork(err) == Disconnected }

// IsAuthentication reports whether the broker and we did not accept who the other is: a
// SASL exchange that either side refused, a broker's certificate that we do not trust, or a
// TLS alert from the broker, such as for a client certificate that expired. No waiting mends
// that. False does not exclude it: a broker may just close the connection.
func IsAuthentication(err error) bool {
	if says(err, authentication.AuthenticationFailed) || has[*tls.CertificateVerificationError](err) {
		return true
	}
	if code, ok := errors.AsType[kafka.Error](err); ok && ofCode(code) == Authentication {
		return true
	}
	// crypto/tls reports the alert of the other side under this operation.
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// IsMissingTopic reports whether a broker says that the topic or the partition does not
// exist, or does not have a leader yet.
func IsMissingTopic(err error) bool {
	return isAny(err, kafka.UnknownTopicOrPartition, kafka.LeaderNotAvailable)
}

// IsTooLarge reports whether the broker found a batch larger than it allows.
func IsTooLarge(err error) bool {
	return isAny(err, kafka.MessageSizeTooLarge, kafka.RecordListTooLarge)
}

// IsTemporary reports whether the broker may accept the batch later. Kafka counts more codes
// as such than kafka-go does.
func IsTemporary(code kafka.Error) bool {
	return code == kafka.BrokerNotAvailable || code == kafka.ReplicaNotAvailable || code.Temporary()
}

// IsStaleLeader reports whether the code says that the connections or the metadata are out
// of date: another broker leads the partition.
func IsStaleLeader(code kafka.Error) bool {
	switch code {
	case kafka.UnknownTopicOrPartition, kafka.LeaderNotAvailable, kafka.NotLeaderForPartition,
		kafka.BrokerNotAvailable, kafka.ReplicaNotAvailable, kafka.NetworkException,
		kafka.KafkaStorageError, kafka.ListenerNotFound, kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch:
		return true
	}
	return false
}
