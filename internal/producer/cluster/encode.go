package cluster

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
)

// form is what the bytes of a batch depend on, beside its records.
type form struct {
	version  int16 // of the produce request
	codec    protocol.Attributes
	identity Identity
}

// batchVersion is the first version of produce requests that have batches of format 2, with
// which Kafka 0.11 began (KIP-98). No older format is written.
const batchVersion = 3

// zstdVersion is the first version of produce requests that may have zstd (KIP-110). Older
// brokers close the connection.
const zstdVersion = 7

// writeSize is how many bytes of a request are written at a time: the timeout of a write is not that
// of a whole large batch.
const writeSize = 256 << 10

// produceRequest is a produce request with a batch that is encoded here.
type produceRequest struct {
	rawproduce.Request // finds the partition's leader
	batch              *batch
	form               form
}

var (
	_ protocol.BrokerMessage = (*produceRequest)(nil)
	_ protocol.RawExchanger  = (*produceRequest)(nil)
)

// request returns a request for one attempt.
func (b *batch) request() *produceRequest {
	return &produceRequest{
		Request: rawproduce.Request{Topics: []rawproduce.RequestTopic{{Topic: b.topic, Partitions: []rawproduce.RequestPartition{{Partition: b.partition}}}}},
		batch:   b, form: form{codec: b.codec, identity: b.identity},
	}
}

// Required implements protocol.RawExchanger.
func (r *produceRequest) Required(versions map[protocol.ApiKey]int16) bool {
	r.form.version = versions[protocol.Produce]
	return true
}

// RawExchange implements protocol.RawExchanger. The answer is nil with acks 0.
func (r *produceRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	switch f := r.form; {
	case f.version < batchVersion:
		return nil, fmt.Errorf("the broker has versions up to %d of Produce, and Kafka 0.11 began with %d: %w", f.version, batchVersion, kafka.UnsupportedVersion)
	case f.version < zstdVersion && f.codec == protocol.Zstd:
		return nil, fmt.Errorf("%w: the broker has versions up to %d of Produce, and %v needs %d", kafka.UnsupportedCompressionType, f.version, f.codec, zstdVersion)
	}
	frame := r.batch.encoded(r.form)
	for rest := frame; len(rest) > 0; {
		n, err := rw.Write(rest[:min(len(rest), writeSize)])
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	if r.batch.acks == 0 {
		return nil, nil
	}
	id, res, err := protocol.ReadResponse(rw, protocol.Produce, r.form.version)
	if err == nil && id != int32(binary.BigEndian.Uint32(frame[8:])) {
		err = fmt.Errorf("the answer is for request %d", id) // ruled out by brokerconn
	}
	return res, err
}

var correlation atomic.Int32 // id of the last request that was not numbered by kafka-go

// encoded returns the request in that form. It is not changed as long as a connection may read it.
func (b *batch) encoded(f form) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.frame) > 0 && b.form == f {
		return b.frame
	}
	if b.unanswered {
		b.frame = nil
	}
	b.form = f
	b.encode(f)
	return b.frame
}

// Where the fields of a batch of format 2 are.
const (
	atLength     = 8
	atMagic      = 16
	atCRC        = 17
	atAttributes = 21
	atLastOffset = 23
	atFirstTime  = 27
	atLastTime   = 35
	atProducer   = 43
	atEpoch      = 51
	atSequence   = 53
	atCount      = 57
	batchHeader  = 61
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode makes b.frame: the request with its size, in versions 3 to 8, and in it the batch of
// format 2 (KIP-98). The caller holds b.mu.
func (b *batch) encode(f form) {
	be := binary.BigEndian
	size := 128 + len(b.topic) + batchHeader + b.bytes
	for i := range b.records {
		size += (6 + 2*len(b.records[i].headers)) * binary.MaxVarintLen32
	}
	p := slices.Grow(b.frame[:0], size)
	p = append(p, 0, 0, 0, 0) // size
	p = be.AppendUint16(p, uint16(protocol.Produce))
	p = be.AppendUint16(p, uint16(f.version))
	p = be.AppendUint32(p, uint32(correlation.Add(1)))
	p = appendString(p, clientID)
	p = be.AppendUint16(p, 0xffff) // no transactional id
	p = be.AppendUint16(p, uint16(b.acks))
	p = be.AppendUint32(p, uint32(b.timeout))
	p = be.AppendUint32(p, 1) // topics
	p = appendString(p, b.topic)
	p = be.AppendUint32(p, 1) // partitions
	p = be.AppendUint32(p, uint32(b.partition))
	p = append(p, 0, 0, 0, 0) // size of the batch
	at := len(p)
	p = append(p, make([]byte, batchHeader)...)
	var first, last int64
	if f.codec == 0 {
		p, first, last = b.appendRecords(p)
	} else {
		b.scratch, first, last = b.appendRecords(slices.Grow(b.scratch[:0], size))
		if p, b.codecFailed = appendCompressed(p, f.codec, b.scratch); b.codecFailed != nil {
			f.codec = 0
			p = append(p[:at+batchHeader], b.scratch...)
		}
	}
	batch := p[at:]
	be.PutUint32(batch[atLength:], uint32(len(batch)-atLength-4))
	be.PutUint32(batch[atLength+4:], 0xffffffff) // epoch of the leader: the broker's to know
	batch[atMagic] = 2
	be.PutUint16(batch[atAttributes:], uint16(f.codec))
	be.PutUint32(batch[atLastOffset:], uint32(len(b.records)-1))
	be.PutUint64(batch[atFirstTime:], uint64(first))
	be.PutUint64(batch[atLastTime:], uint64(last))
	be.PutUint64(batch[atProducer:], uint64(f.identity.ID))
	be.PutUint16(batch[atEpoch:], uint16(f.identity.Epoch))
	be.PutUint32(batch[atSequence:], uint32(f.identity.Sequence))
	be.PutUint32(batch[atCount:], uint32(len(b.records)))
	be.PutUint32(batch[atCRC:], crc32.Checksum(batch[atAttributes:], castagnoli))
	be.PutUint32(p[at-4:], uint32(len(batch)))
	be.PutUint32(p, uint32(len(p)-4))
	b.frame, b.compressed = p, 0
	if f.codec != 0 {
		b.compressed = len(batch)
	}
}

// appendRecords also returns the first and the latest timestamp, in milliseconds.
func (b *batch) appendRecords(p []byte) (_ []byte, first, last int64) {
	for i := range b.records {
		r := &b.records[i]
		at := r.time.UnixMilli()
		if i == 0 {
			first, last = at, at
		}
		last = max(last, at)
		size := 1 + varintSize(at-first) + varintSize(int64(i)) + bytesSize(r.key) + bytesSize(r.value) + varintSize(int64(len(r.headers)))
		for j := range r.headers {
			h := &r.headers[j]
			size += varintSize(int64(len(h.Key))) + len(h.Key) + bytesSize(h.Value)
		}
		p = binary.AppendVarint(p, int64(size))
		p = append(p, 0) // attributes
		p = binary.AppendVarint(p, at-first)
		p = binary.AppendVarint(p, int64(i))
		p = appendBytes(p, r.key)
		p = appendBytes(p, r.value)
		p = binary.AppendVarint(p, int64(len(r.headers)))
		for j := range r.headers {
			h := &r.headers[j]
			p = binary.AppendVarint(p, int64(len(h.Key)))
			p = append(p, h.Key...)
			p = appendBytes(p, h.Value)
		}
	}
	return p, first, last
}

func appendString(p []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(p, uint16(len(s))), s...)
}

// appendBytes appends a length, -1 for nil, and the bytes.
func appendBytes(p, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(p, -1)
	}
	return append(binary.AppendVarint(p, int64(len(b))), b...)
}

func bytesSize(b []byte) int {
	if b == nil {
		return 1
	}
	return varintSize(int64(len(b))) + len(b)
}

// varintSize is the length of what binary.AppendVarint appends.
func varintSize(n int64) int {
	return (bits.Len64(uint64(n)<<1^uint64(n>>63)|1) + 6) / 7
}
