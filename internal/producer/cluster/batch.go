package cluster

import (
	"io"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	produceAPI "github.com/segmentio/kafka-go/protocol/produce"
)

// batch holds the records of a produce request, so that it can be sent any number of times.
// kafka-go's own reader of records can be read only once: a second request would have no
// records, and count as delivered.
//
// The request is encoded when there is a connection for it, so that an outage costs no memory
// for it, and all attempts send these bytes.
type batch struct {
	topic     string
	partition int32
	acks      int16
	timeout   int32
	records   []record
	bytes     int // of keys, values and headers

	codec        protocol.Attributes // of the next attempt; 0: uncompressed
	identity     Identity            // of the next attempt; [none]: it has none
	sequence     *sequence           // gives the identity; nil: without idempotence
	plain        bool                // it is sent without an identity all the same
	uncertain    bool                // it may be in the log with this identity
	duplicate    bool                // the broker answered that it has it already
	refusals     int                 // of its identities
	unidentified time.Time           // since when brokers have had no producer id for it

	mu          sync.Mutex // guards what follows, which connections use
	frame       []byte     // the request as it was last sent, see encode
	form        form       // of frame
	compressed  int        // bytes of the batch in frame; 0: uncompressed
	codecFailed error      // why it is uncompressed
	unanswered  bool       // a connection may still read frame
	scratch     []byte     // records before they are compressed
	kept        keeper     // of content
}

type record struct {
	time       time.Time
	headers    []protocol.Header
	key, value []byte // nil: none
}

var batches = sync.Pool{New: func() any { return new(batch) }}

func newBatch(topic string, partition int32, acks int16) *batch {
	b := batches.Get().(*batch)
	b.topic, b.partition, b.acks, b.identity = topic, partition, acks, none
	return b
}

// batchOf returns the batch of messages, which are of one partition.
func batchOf(messages []kafka.Message, acks int16) *batch {
	b := newBatch(messages[0].Topic, int32(messages[0].Partition), acks)
	for i := range messages {
		m := &messages[i]
		b.add(record{m.Time, m.Headers, m.Key, m.Value})
	}
	return b
}

// batchIn returns the batch of a request, which has one partition.
func batchIn(req *produceAPI.Request) (*batch, error) {
	t := &req.Topics[0]
	p := &t.Partitions[0]
	b := newBatch(t.Topic, p.Partition, req.Acks)
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
		b.add(record{r.Time, r.Headers, key, value})
	}
}

func (b *batch) add(r record) {
	if r.time.IsZero() {
		r.time = time.Now()
	}
	b.bytes += len(r.key) + len(r.value)
	for i := range r.headers {
		b.bytes += len(r.headers[i].Key) + len(r.headers[i].Value)
	}
	b.records = append(b.records, r)
}

// free makes b available for reuse, unless a connection may still read from it.
func (b *batch) free() {
	b.mu.Lock()
	unanswered := b.unanswered
	b.mu.Unlock()
	if !unanswered {
		clear(b.records)
		*b = batch{records: b.records[:0], frame: b.frame[:0], scratch: b.scratch[:0]}
		batches.Put(b)
	}
}

// answered notes whether the last request was answered.
func (b *batch) answered(yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unanswered = b.unanswered || !yes
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
