package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"kafka-upstream/internal/kafkaerr"
)

// Batches are compressed before their first attempt, and sent as these bytes by all of them.
// kafka-go would compress at each attempt, in the connection's goroutine, where an error of the
// codec ends the connection and looks like any other.

// UncompressedFor is how long the batches of a topic are sent uncompressed after one could not be
// compressed, or a broker did not take the codec. Then one tries again: brokers may have been
// upgraded.
const UncompressedFor = 10 * time.Minute

// codecs are the values of Options.Compression, as attributes of a batch.
var codecs = map[string]protocol.Attributes{
	"": 0, "none": 0, "gzip": protocol.Gzip, "snappy": protocol.Snappy, "lz4": protocol.Lz4, "zstd": protocol.Zstd,
}

// compress compresses the batch's records, if that is configured and the topic's brokers take it.
func (c *Cluster) compress(t *topic, b *batch) {
	if c.codec == 0 {
		return
	}
	b.measure()
	if until := t.uncompressed.Load(); until != nil && time.Now().Before(*until) {
		return
	}
	select {
	case compressing <- struct{}{}:
	case <-c.ctx.Done(): // there will be no attempt
		return
	}
	err := b.compress(c.codec)
	<-compressing
	if err != nil {
		c.leaveUncompressed(t, b, err)
	}
}

// compressing is held by each goroutine that compresses. A compressor for zstd takes 17 MiB, and
// after an outage the batches of all topics are due at once; more than one for each processor
// would not be faster.
var compressing = make(chan struct{}, min(runtime.GOMAXPROCS(0), 8))

// leaveUncompressed has this batch sent uncompressed, and the topic's next ones.
func (c *Cluster) leaveUncompressed(t *topic, b *batch, err error) {
	b.compressed = b.compressed[:0]
	until := time.Now().Add(UncompressedFor)
	t.uncompressed.Store(&until)
	if !t.refusal.Swap(true) {
		c.o.Observer.CompressionFailed(t.name, err)
	}
}

// codecRefused reports whether the broker does not take the codec of the batch, which is to be
// sent again uncompressed: by the error of an attempt, or the broker's answer.
func (c *Cluster) codecRefused(t *topic, b *batch, res kafka.Response, err error) bool {
	if len(b.compressed) == 0 {
		return false
	}
	if rejection := rejectionIn(res); rejection != nil {
		err = kafka.Error(rejection.ErrorCode)
	}
	// Some brokers mean the codec by UNSUPPORTED_FOR_MESSAGE_FORMAT. The batch has nothing else
	// that an older format lacks but record headers, with which it fails uncompressed, too.
	if !errors.Is(err, kafka.UnsupportedCompressionType) && !errors.Is(err, kafka.UnsupportedForMessageFormat) {
		return false
	}
	c.leaveUncompressed(t, b, err)
	return true
}

// grewTooLarge reports whether the broker finds the batch too large, which compression has made
// larger, as it does with images: it is to be sent again uncompressed.
func (b *batch) grewTooLarge(res kafka.Response) bool {
	rejection := rejectionIn(res)
	if rejection == nil || !kafkaerr.IsTooLarge(kafka.Error(rejection.ErrorCode)) || len(b.compressed) <= b.bytes {
		return false
	}
	b.compressed = b.compressed[:0]
	return true
}

// compressionAccepted notes that a broker took a batch.
func (t *topic) compressionAccepted(b *batch) {
	if len(b.compressed) > 0 && t.refusal.Load() {
		t.refusal.Store(false)
	}
}

// measure counts the bytes of the records' keys, values and headers.
func (b *batch) measure() {
	b.bytes = 0
	for i := range b.records {
		r := &b.records[i]
		b.bytes += len(r.key) + len(r.value)
		for _, h := range r.headers {
			b.bytes += len(h.Key) + len(h.Value)
		}
	}
}

// compress makes b.compressed: a batch of format 2 (KIP-98), with its size before it, as a
// produce request has it.
func (b *batch) compress(codec protocol.Attributes) error {
	b.codec = codec
	b.reader = reader{records: b.records}
	set := protocol.RecordSet{Version: 2, Attributes: b.attributes | codec, Records: &b.reader}
	_, err := set.WriteTo((*appender)(&b.compressed))
	return err
}

type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// compressedRequest is a produce request with a compressed batch. It is not sent to brokers that
// do not know its format or its codec: some close the connection instead of answering that.
type compressedRequest struct {
	rawproduce.Request
	codec   protocol.Attributes
	version int16
}

var (
	_ protocol.BrokerMessage = (*compressedRequest)(nil)
	_ protocol.RawExchanger  = (*compressedRequest)(nil)
)

// Required implements protocol.RawExchanger.
func (r *compressedRequest) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = versions[protocol.Produce]
	return true
}

var correlation atomic.Int32 // id of the last request that was not numbered by kafka-go

// RawExchange implements protocol.RawExchanger.
func (r *compressedRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	oldest := int16(3) // KIP-98
	if r.codec == protocol.Zstd {
		oldest = 7 // KIP-110
	}
	if r.version < oldest {
		return nil, fmt.Errorf("%w: the broker supports Produce version %d, and %v needs %d",
			kafka.UnsupportedCompressionType, r.version, r.codec, oldest)
	}
	return protocol.RoundTrip(rw, r.version, correlation.Add(1), clientID, &r.Request)
}

// compressedRequest returns a request for one use, as request does.
func (b *batch) compressedRequest() *compressedRequest {
	return &compressedRequest{
		codec: b.codec,
		Request: rawproduce.Request{Acks: b.acks, Timeout: b.timeout, Topics: []rawproduce.RequestTopic{{
			Topic: b.topic, Partitions: []rawproduce.RequestPartition{{Partition: b.partition, RecordSet: protocol.RawRecordSet{Reader: bytes.NewReader(b.compressed)}}},
		}}},
	}
}
