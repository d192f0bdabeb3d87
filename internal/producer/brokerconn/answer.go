package brokerconn

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/segmentio/kafka-go"
)

// Bounds of a metadata answer. kafka-go keeps some 300 bytes for each partition, in
// two copies.
const (
	// maxPartitions is three times what Kafka's controller makes in one request
	// (10,000, KAFKA-17870). Partitions are numbered from 0, so it bounds their
	// numbers as well.
	maxPartitions = 1 << 15
	// maxBrokers is several times the size of the largest clusters.
	maxBrokers = 10_000
	// maxHost is the longest name of DNS, with its last dot (RFC 1035).
	maxHost = 254
)

// violation says how an answer violates Kafka's protocol. In an error it follows the
// answer's name.
type violation string

func (v violation) Error() string { return string(v) }

func violationf(format string, args ...any) error { return violation(fmt.Sprintf(format, args...)) }

// check walks an answer's body to its end. It verifies that all lengths and counts fit
// the body, that no byte remains, and that kafka-go can handle the values. The error is
// a violation, or the broker's refusal to answer.
func (r *request) check(body []byte) error {
	w := walker{rest: body}
	var err error
	switch r.key {
	case apiVersionsKey:
		err = w.apiVersions(r)
	case metadataKey:
		w.metadata(r)
	case produceKey:
		w.produce(r)
	case initProducerIDKey:
		w.initProducerID(r)
	case saslHandshakeKey:
		w.int16() // error
		for range w.array(2, maxFrame) {
			w.string()
		}
	case saslAuthenticateKey:
		w.int16()  // error
		w.string() // its message
		w.bytes()
		if r.version >= 1 {
			r.session = w.milliseconds()
		}
	}
	if len(w.rest) > 0 {
		w.fail("has %d bytes too many", len(w.rest))
	}
	if w.err != nil {
		return w.err
	}
	return err
}

// apiVersions also returns an error if the broker does not list its versions, or shares
// none with kafka-go, which would then use one that the broker does not support.
func (w *walker) apiVersions(r *request) error {
	code := kafka.Error(w.int16())
	produce, metadata := false, false
	var unknown error
	for range w.array(6, maxFrame) {
		key, first, last := w.int16(), w.int16(), w.int16()
		ours := newest(key)
		if ours < 0 || w.err != nil {
			continue
		}
		if key == produceKey && produce || key == metadataKey && metadata {
			w.fail("names API %d twice", key)
		}
		produce, metadata = produce || key == produceKey, metadata || key == metadataKey
		if first < 0 || first > last {
			w.fail("has versions %d to %d of API %d", first, last, key)
		}
		if first > ours && unknown == nil && key != initProducerIDKey { // which can be done without
			unknown = fmt.Errorf("the broker has versions %d to %d of API %d, and ours are 0 to %d: %w", first, last, key, ours, kafka.UnsupportedVersion)
		}
	}
	if r.version >= 1 {
		w.int32() // throttle time
	}
	switch {
	case code != 0:
		return fmt.Errorf("the broker does not tell its versions: %w", code)
	case !produce || !metadata:
		return fmt.Errorf("the broker takes no records, it may be a controller: %w", kafka.UnsupportedVersion)
	}
	return unknown
}

func (w *walker) metadata(r *request) {
	v := r.version
	if v >= 3 {
		w.int32() // throttle time
	}
	least := 4 + 2 + 4
	if v >= 1 {
		least += 2
	}
	brokers := w.array(least, maxBrokers)
	ids := make(map[int32]struct{}, brokers)
	for range brokers {
		id, host, port := w.int32(), w.string(), w.int32()
		if v >= 1 {
			w.string() // rack
		}
		if w.err != nil {
			return
		}
		if _, twice := ids[id]; id < 0 || twice {
			w.fail("has two brokers with the id %d, or a negative one", id)
		}
		ids[id] = struct{}{}
		if !isHost(host) {
			w.fail("has a broker with the host %.64q", host)
		}
		if port < 1 || port > 65535 {
			w.fail("has a broker with the port %d", port)
		}
	}
	if v >= 2 {
		w.string() // id of the cluster
	}
	if v >= 1 {
		w.int32() // controller
	}
	least = 2 + 2 + 4
	if v >= 1 {
		least++
	}
	if v >= 8 {
		least += 4
	}
	var partitions bitmap
	seen := make([]bool, len(r.topics))
	for range w.array(least, len(r.topics)) {
		w.int16() // error
		i := r.asked(w.string())
		if w.err == nil && (i < 0 || seen[i]) {
			w.fail("is of a topic that was not asked for, or of one twice")
		}
		if v >= 1 {
			w.take(1) // whether it is Kafka's own
		}
		if w.err != nil {
			return
		}
		seen[i] = true
		w.partitions(v, &partitions)
		if v >= 8 {
			w.int32() // permitted operations
		}
	}
	if v >= 8 {
		w.int32() // permitted operations
	}
}

// partitions walks the partitions of one topic.
func (w *walker) partitions(v int16, seen *bitmap) {
	least := 2 + 4 + 4 + 4 + 4
	if v >= 5 {
		least += 4
	}
	if v >= 7 {
		least += 4
	}
	seen.clear()
	for range w.array(least, maxPartitions) {
		w.int16() // error
		number := w.int32()
		w.int32() // leader
		if v >= 7 {
			w.int32() // epoch of the leader
		}
		w.take(4 * w.array(4, maxFrame)) // replicas
		w.take(4 * w.array(4, maxFrame)) // in-sync replicas
		if v >= 5 {
			w.take(4 * w.array(4, maxFrame)) // offline replicas
		}
		if w.err != nil {
			return
		}
		if number < 0 || number >= maxPartitions || seen.set(int(number)) {
			w.fail("has two partitions with the number %d, or a number that none can have", number)
		}
	}
}

// produce accepts only an answer for the one partition of the request.
func (w *walker) produce(r *request) {
	v := r.version
	topics := w.array(2+4, maxFrame)
	if topics != 1 {
		w.fail("is for %d topics, and one was written to", topics)
	}
	if topic := w.string(); !bytes.Equal(topic, r.topics[0]) {
		w.fail("is for topic %.64q, and %q was written to", topic, r.topics[0])
	}
	partitions := w.array(4+2+8, maxFrame)
	if partitions != 1 {
		w.fail("is for %d partitions, and one was written to", partitions)
	}
	if partition := w.int32(); partition != r.partition {
		w.fail("is for partition %d, and %d was written to", partition, r.partition)
	}
	w.take(2 + 8) // error, offset
	if v >= 2 {
		w.take(8) // time of the append
	}
	if v >= 5 {
		w.take(8) // first offset of the log
	}
	if v >= 8 {
		for range w.array(4+2, r.records) {
			w.int32()  // the record's number in the batch
			w.string() // what is wrong with it
		}
		w.string() // message of the error
	}
	if v >= 1 {
		w.int32() // throttle time
	}
}

// initProducerID accepts a producer id that a batch can have, or an error.
func (w *walker) initProducerID(r *request) {
	if r.version >= 2 {
		w.tags() // of the header
	}
	w.int32() // throttle time
	code, id, epoch := w.int16(), w.int64(), w.int16()
	if code == 0 && (id < 0 || epoch < 0) {
		w.fail("has the producer id %d with the epoch %d", id, epoch)
	}
	if r.version >= 2 {
		w.tags()
	}
}

// isHost reports whether host is a single name or address that can be dialled: kafka-go
// splits addresses at commas, and panics.
func isHost(host []byte) bool {
	if len(host) == 0 || len(host) > maxHost {
		return false
	}
	for _, b := range host {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '.', b == '-', b == '_':
		default:
			a, err := netip.ParseAddr(string(host)) // IPv6 has colons, and may have a zone
			return err == nil && a.Is6() && !bytes.ContainsAny(host, ",[]") && isPrintable(host)
		}
	}
	return true
}

func isPrintable(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// walker reads a message of Kafka's protocol from its beginning on. After the first error it reads zeros, and no array
// has an element.
type walker struct {
	rest []byte
	err  error
}

func (w *walker) fail(format string, args ...any) {
	if w.err == nil {
		w.err = violationf(format, args...)
	}
	w.rest = nil
}

// take returns the next n bytes, or fails if fewer remain.
func (w *walker) take(n int) []byte {
	if n < 0 || n > len(w.rest) {
		w.fail("ends too early")
		return nil
	}
	b := w.rest[:n]
	w.rest = w.rest[n:]
	return b
}

func (w *walker) int16() int16 {
	if b := w.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (w *walker) int32() int32 {
	if b := w.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (w *walker) int64() int64 {
	if b := w.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// tags reads tagged fields (KIP-482). None is known here.
func (w *walker) tags() {
	for range w.uvarint(2) {
		w.uvarint(0) // which field
		w.take(w.uvarint(1))
	}
}

// uvarint reads a number. If least is not 0, it is that of things of which each takes at least as
// many bytes.
func (w *walker) uvarint(least int) int {
	n, size := binary.Uvarint(w.rest)
	if size <= 0 || size > binary.MaxVarintLen32 || n > math.MaxInt32 {
		w.fail("has a number that does not end or is too large")
		return 0
	}
	w.rest = w.rest[size:]
	if least > 0 && int(n) > len(w.rest)/least {
		w.fail("announces %d elements in %d bytes", n, len(w.rest))
		return 0
	}
	return int(n)
}

// milliseconds reads a time of 64 bits; 0 for one that is negative, or more than Go can express.
func (w *walker) milliseconds() time.Duration {
	ms := w.int64()
	if ms < 0 || ms > math.MaxInt64/int64(time.Millisecond) {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// string reads a nullable string.
func (w *walker) string() []byte { return w.sized(int(w.int16())) }

// bytes reads nullable bytes.
func (w *walker) bytes() []byte { return w.sized(int(w.int32())) }

func (w *walker) sized(n int) []byte {
	if n < -1 {
		w.fail("has a text of %d bytes", n)
	}
	if n < 0 {
		return nil
	}
	return w.take(n)
}

// array reads the number of elements of an array, each of which takes at least that many
// bytes. Brokers write -1 for a null array.
func (w *walker) array(least, most int) int {
	n := int(w.int32())
	switch {
	case n == -1:
		return 0
	case n < 0 || n > len(w.rest)/least:
		w.fail("announces %d elements in %d bytes", n, len(w.rest))
		return 0
	case n > most:
		w.fail("announces %d elements, and %d are the most that are taken", n, most)
		return 0
	}
	return n
}

// bitmap is a set of small numbers.
type bitmap []uint64

func (s bitmap) clear() { clear(s) }

// set adds a number, and reports whether the set had it already.
func (s *bitmap) set(n int) (twice bool) {
	for n/64 >= len(*s) {
		*s = append(*s, 0)
	}
	bit := uint64(1) << (n % 64)
	twice = (*s)[n/64]&bit != 0
	(*s)[n/64] |= bit
	return twice
}
