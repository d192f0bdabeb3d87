package cluster

import (
	"errors"
	"runtime"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"kafka-upstream/internal/kafkaerr"
)

// UncompressedFor is how long the batches of a topic are sent uncompressed after one could not be
// compressed, or a broker did not take the codec. Then one tries again: brokers may have been
// upgraded.
const UncompressedFor = 10 * time.Minute

// codecs are the values of Options.Compression, as attributes of a batch.
var codecs = map[string]protocol.Attributes{
	"": 0, "none": 0, "gzip": protocol.Gzip, "snappy": protocol.Snappy, "lz4": protocol.Lz4, "zstd": protocol.Zstd,
}

// codecOf returns the codec for the next batch of the topic.
func (c *Cluster) codecOf(t *topic) protocol.Attributes {
	if until := t.uncompressed.Load(); until != nil && time.Now().Before(*until) {
		return 0
	}
	return c.codec
}

// compressing is held by each goroutine that compresses. A compressor for zstd takes 17 MiB, and
// after an outage the batches of all topics are due at once; more than one for each processor
// would not be faster.
var compressing = make(chan struct{}, min(runtime.GOMAXPROCS(0), 8))

// appendCompressed appends records, compressed, to p.
func appendCompressed(p []byte, codec protocol.Attributes, records []byte) ([]byte, error) {
	compressing <- struct{}{}
	defer func() { <-compressing }()
	w := codec.Compression().Codec().NewWriter((*appender)(&p))
	_, err := w.Write(records)
	if closing := w.Close(); err == nil {
		err = closing
	}
	return p, err
}

type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// leaveUncompressed has this batch sent uncompressed, and the topic's next ones.
func (c *Cluster) leaveUncompressed(t *topic, b *batch, err error) {
	b.codec = 0
	until := time.Now().Add(UncompressedFor)
	t.uncompressed.Store(&until)
	if !t.refusal.Swap(true) {
		c.o.Observer.CompressionFailed(t.name, err)
	}
}

// noteCodec acts on a codec that failed in the last attempt, which was made uncompressed then.
func (c *Cluster) noteCodec(t *topic, b *batch) {
	b.mu.Lock()
	err := b.codecFailed
	b.codecFailed = nil
	b.mu.Unlock()
	if err != nil {
		c.leaveUncompressed(t, b, err)
	}
}

// codecRefused reports whether the broker does not take the codec of the batch, which is to be
// sent again uncompressed: by the error of an attempt, or the broker's answer.
func (c *Cluster) codecRefused(t *topic, b *batch, res kafka.Response, err error) bool {
	if b.codec == 0 {
		return false
	}
	if rejection := rejectionIn(res); rejection != nil {
		err = kafka.Error(rejection.ErrorCode)
	}
	// Some brokers mean the codec by UNSUPPORTED_FOR_MESSAGE_FORMAT. Otherwise they mean what an
	// older format lacks: the identity, see identityRefused, or record headers, with which the batch
	// fails uncompressed, too.
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
	if rejection == nil || !kafkaerr.IsTooLarge(kafka.Error(rejection.ErrorCode)) || b.compressedBytes() <= b.bytes {
		return false
	}
	b.codec = 0
	return true
}

// compressedBytes returns the size of the compressed batch as it was last sent; 0 if it was not
// compressed.
func (b *batch) compressedBytes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.compressed
}

// compressionAccepted notes that a broker took a batch.
func (t *topic) compressionAccepted(b *batch) {
	if b.codec != 0 && t.refusal.Load() {
		t.refusal.Store(false)
	}
}
