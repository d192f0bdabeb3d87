package brokerconn

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// The requests that the producer makes. Others are not sent, because their answers cannot
// be checked here.
const (
	produceKey          = int16(protocol.Produce)
	metadataKey         = int16(protocol.Metadata)
	saslHandshakeKey    = int16(protocol.SaslHandshake)
	apiVersionsKey      = int16(protocol.ApiVersions)
	initProducerIDKey   = int16(protocol.InitProducerId)
	saslAuthenticateKey = int16(protocol.SaslAuthenticate)
)

// newest returns the newest version of a request that kafka-go makes, which is also
// the newest whose answer is known here; -1 for a request that it does not make.
func newest(key int16) int16 {
	switch key {
	case produceKey, metadataKey:
		return 8
	case initProducerIDKey:
		return 4
	case apiVersionsKey:
		return 2
	case saslHandshakeKey, saslAuthenticateKey:
		return 1
	}
	return -1
}

// request has the properties of a request that check needs.
type request struct {
	size        int // in bytes, with the four of the size itself
	key         int16
	version     int16
	correlation int32
	answered    bool // a broker answers it: not with acks 0

	topics    [][]byte // that the request names
	partition int32    // of topics[0], for Produce
	records   int      // in the batch, for Produce from version 3 on

	session time.Duration // what the answer to a SaslAuthenticate says; 0 if it is unlimited
}

var errNoRequest = errors.New("what was to be written is no request")

// parse reads the beginning of a request.
func (r *request) parse(b []byte) error {
	w := walker{rest: b}
	*r = request{topics: r.topics[:0]}
	r.size = 4 + int(w.int32())
	r.key, r.version, r.correlation, r.answered = w.int16(), w.int16(), w.int32(), true
	w.string() // client id
	if w.err != nil || r.size < 4 {
		return errNoRequest
	}
	switch last := newest(r.key); {
	case r.key == saslHandshakeKey && r.version == 0:
		// What follows in that version are frames without a correlation id.
		return fmt.Errorf("the broker takes SASL only as Kafka did before 1.0, which is not supported: %w", kafka.UnsupportedVersion)
	case r.version < 0 || r.version > last:
		return fmt.Errorf("%w that can be made here: its key is %d, its version %d", errNoRequest, r.key, r.version)
	case r.key == metadataKey:
		for range w.array(2, maxFrame) {
			r.ask(w.string())
		}
	case r.key == produceKey:
		if r.version >= 3 {
			w.string() // transactional id
		}
		r.answered = w.int16() != 0 // acks
		w.int32()                   // timeout
		topics := w.int32()
		r.ask(w.string())
		partitions := w.int32()
		r.partition = w.int32()
		w.int32() // size of the batch
		r.records = recordsOf(w.rest)
		if topics != 1 || partitions != 1 {
			return fmt.Errorf("%w that can be made here: it is for %d topics and %d partitions", errNoRequest, topics, partitions)
		}
	}
	if w.err != nil {
		return errNoRequest
	}
	return nil
}

// ask adds a topic, in the memory of an earlier request's.
func (r *request) ask(topic []byte) {
	n := len(r.topics)
	if n == cap(r.topics) {
		r.topics = append(r.topics, nil)
	}
	r.topics = r.topics[:n+1]
	r.topics[n] = append(r.topics[n][:0], topic...)
}

// asked returns the index of the request's topic with that name, -1 for none.
func (r *request) asked(name []byte) int {
	for i, t := range r.topics {
		if bytes.Equal(t, name) {
			return i
		}
	}
	return -1
}

// recordsOf returns the record count in the header of a batch of format 2 (KIP-98), 0 for
// older formats.
func recordsOf(batch []byte) int {
	const magic, count = 16, 57
	w := walker{rest: batch}
	if len(batch) < count+4 || batch[magic] != 2 {
		return 0
	}
	w.take(count)
	return int(w.int32())
}

// limit is the largest size that an answer may have. It bounds what kafka-go allocates
// for it, which is several times as much.
func (r *request) limit() int {
	switch r.key {
	case metadataKey:
		return 8 << 20 // maxPartitions with 50 replicas each
	case produceKey:
		// A message of at most 32 KiB, and one for each record; brokers' own are short.
		return min(64<<10+r.records<<10, maxFrame)
	}
	return 64 << 10
}

// setsUp reports whether nothing can be sent to the broker without an answer to the request. A batch
// may be sent without a producer id.
func (r *request) setsUp() bool { return r.key != produceKey && r.key != initProducerIDKey }

func (r *request) name() string { return protocol.ApiKey(r.key).String() }
