package cluster

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	produceAPI "github.com/segmentio/kafka-go/protocol/produce"
)

// batch holds the records of a produce request, so that it can be sent any number of times.
// kafka-go's own reader of records can be read only once: a second request would have no
// records, and count as delivered. A batch does not change once it is made: the connection
// of an unanswered request may still read from it.
type batch struct {
	topic      string
	partition  int32
	acks       int16
	timeout    int32
	attributes protocol.Attributes
	records    []record
	compressed []byte              // the records as they are sent; empty: uncompressed
	codec      protocol.Attributes // of compressed
	bytes      int                 // of keys, values and headers, if they are to be compressed

	first      *produceAPI.Request // until it was sent
	reader     reader              // of the first request
	unanswered bool                // a connection may still read the records
	kept       keeper              // of content
}

type record struct {
	time       time.Time
	headers    []protocol.Header
	key, value []byte // nil: none
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// newBatch returns the batch of a request, which has one partition.
func newBatch(req *produceAPI.Request) (*batch, error) {
	t := &req.Topics[0]
	p := &t.Partitions[0]
	b := batches.Get().(*batch)
	*b = batch{topic: t.Topic, partition: p.Partition, acks: req.Acks, timeout: req.Timeout,
		attributes: p.RecordSet.Attributes, records: b.records[:0], compressed: b.compressed[:0], first: req}
	for {
		r, err := p.RecordSet.Records.ReadRecord()
		if err == io.EOF {
			return b, nil
		}
		var key, value []byte
		if err == nil {
			key, err = b.content(r.Key)
		}
		if err == nil {
			value, err = b.content(r.Value)
		}
		if err != nil {
			return nil, err
		}
		b.records = append(b.records, record{r.Time, r.Headers, key, value})
	}
}

// free makes b available for reuse, unless a connection may still read from it.
func (b *batch) free() {
	if !b.unanswered {
		clear(b.records)
		*b = batch{records: b.records[:0], compressed: b.compressed[:0]}
		batches.Put(b)
	}
}

// request returns a request for one use: kafka-go writes to it, too.
func (b *batch) request() kafka.Request {
	if len(b.compressed) > 0 {
		return b.compressedRequest()
	}
	req, r := b.first, &b.reader
	if b.first = nil; req == nil {
		r = new(reader)
		req = &produceAPI.Request{Acks: b.acks, Timeout: b.timeout, Topics: []produceAPI.RequestTopic{{
			Topic: b.topic, Partitions: []produceAPI.RequestPartition{{Partition: b.partition}},
		}}}
	}
	r.records = b.records
	req.Topics[0].Partitions[0].RecordSet = protocol.RecordSet{Attributes: b.attributes, Records: r}
	return req
}

// reader reads the records of a batch.
type reader struct {
	records    []record // the others
	record     protocol.Record
	key, value recordBytes
}

type recordBytes struct{ bytes.Reader }

func (*recordBytes) Close() error { return nil }

// ReadRecord implements protocol.RecordReader.
func (r *reader) ReadRecord() (*protocol.Record, error) {
	if len(r.records) == 0 {
		return nil, io.EOF
	}
	from := &r.records[0]
	r.records = r.records[1:]
	r.record = protocol.Record{Time: from.time, Headers: from.headers}
	if from.key != nil {
		r.key.Reset(from.key)
		r.record.Key = &r.key
	}
	if from.value != nil {
		r.value.Reset(from.value)
		r.record.Value = &r.value
	}
	return &r.record, nil
}

// content returns the bytes of a key or a value, nil for none. It does not copy them:
// kafka-go's is a bytes.Reader, whose WriteTo passes on the slice that it was made of.
func (b *batch) content(from protocol.Bytes) ([]byte, error) {
	if from == nil {
		return nil, nil
	}
	w, ok := from.(io.WriterTo)
	if !ok {
		return io.ReadAll(from)
	}
	b.kept = keeper{}
	_, err := w.WriteTo(&b.kept)
	return b.kept, err
}

type keeper []byte

func (k *keeper) Write(p []byte) (int, error) {
	if len(*k) == 0 {
		*k = p
	} else {
		*k = append((*k)[:len(*k):len(*k)], p...)
	}
	return len(p), nil
}
