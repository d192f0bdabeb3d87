package producer

import "kafka-upstream/internal/producer/cluster"

// Codec is a codec of batches, as Options.Compression names it.
type Codec uint8

// The codecs.
const (
	Gzip Codec = iota
	Snappy
	Lz4
	Zstd

	Codecs = iota // how many there are
)

var codecNames = [Codecs]string{"gzip", "snappy", "lz4", "zstd"}

// String returns the codec as Options.Compression and metrics name it.
func (c Codec) String() string { return codecNames[c] }

// codec returns the codec of o; ok is false for none.
func (o *Options) codec() (codec Codec, ok bool) {
	for i, name := range codecNames {
		if name == o.Compression {
			return Codec(i), true
		}
	}
	return 0, false
}

// CompressionStats are the counts of the batches that are to be compressed with a codec.
type CompressionStats struct {
	Configured   bool  // for the topic
	Batches      int64 // that were compressed
	Uncompressed int64 // batches that were not, because of the codec or the broker
	Before       int64 // bytes of the keys, values and headers of Batches
	After        int64 // bytes of Batches, as they were sent
}

func (s *CompressionStats) add(t *CompressionStats) {
	s.Configured = s.Configured || t.Configured
	s.Batches += t.Batches
	s.Uncompressed += t.Uncompressed
	s.Before += t.Before
	s.After += t.After
}

// batch counts a batch with its last attempt.
func (s *CompressionStats) batch(a cluster.Attempt) {
	switch {
	case a.Uncompressed:
		s.Uncompressed++
	case a.Compressed > 0:
		s.Batches++
		s.Before += int64(a.Bytes)
		s.After += int64(a.Compressed)
	}
}

// CompressionFailed implements cluster.Observer.
func (o observer) CompressionFailed(topic string, err error) {
	if log := o.log(topic); log != nil {
		log.log.Warn("batches are sent uncompressed for now", "compression_type", o.p.o.Compression,
			"retry_after", cluster.UncompressedFor, "error", log.sentence(err, noPartition))
	}
}
