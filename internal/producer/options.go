package producer

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"kafka-upstream/internal/security/sasl"
)

// Options are the settings of a producer, all but the topics of its records.
type Options struct {
	Servers []string // bootstrap servers, host:port; their order does not matter

	TLS           bool
	SkipVerify    bool   // of the brokers' certificates
	CertificateID string // of the client's certificate; "" for none
	SASL          sasl.Credentials

	Acks           int           // 0, 1 or -1
	Idempotent     bool          // with Acks -1: brokers write each batch once, however often it is sent
	RequestTimeout time.Duration // sent to the broker: how long it may wait for its replicas
	Timeout        time.Duration // of each step: connect, TLS handshake, write, answer
	Keepalive      time.Duration // of an idle connection
	MaxAttempts    int           // for each batch; at least 1
	Backoff        time.Duration // between two attempts

	BatchRecords int    // in a produce request
	BatchBytes   int    // in a produce request, with the envelopes of batch and records, before compression
	Compression  string // of batches: "none", which "" is, too; "gzip", "snappy", "lz4" or "zstd"

	// Partitioner is how a key chooses the partition of its record: "crc32" as Kong's own
	// producer (also ""), "murmur2" as Kafka's Java clients, or "sticky": not at all.
	Partitioner string

	Async         bool          // Send does not wait for the acknowledgement
	Durable       bool          // with Async: records go through the spool, by Append
	Linger        time.Duration // with Async: how long a record may wait for its batch to fill
	BufferRecords int           // accepted and not completed
	BufferBytes   int64         // keys, values and headers of these records
	HealthGating  HealthGating  // with Async
}

// destination names the cluster in the spool: records that a former process left are delivered
// by the producer of any configuration with the same brokers. It has no secrets.
func (o *Options) destination() string {
	h := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(o.Servers)), ",")))
	return hex.EncodeToString(h[:16])
}

// Key identifies Options. Producers are shared by key: two Options with the same key have
// the same producer, and two that differ in a credential or certificate never do. It is
// made with secrets, so it is never shown.
type Key [sha256.Size]byte

// Key returns the key of o.
func (o Options) Key() Key {
	o.Partitioner = cmp.Or(o.Partitioner, "crc32")
	o.Servers = slices.Sorted(slices.Values(o.Servers))
	if o.Compression == "none" {
		o.Compression = ""
	}
	if !o.gated() {
		o.HealthGating = HealthGating{}
	}
	type credentials sasl.Credentials // which do not marshal
	b, err := json.Marshal(struct {
		Options
		SASL credentials
	}{o, credentials(o.SASL)})
	if err != nil {
		panic(err) // plain strings, numbers and booleans
	}
	return sha256.Sum256(b)
}
