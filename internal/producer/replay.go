package producer

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	produceAPI "github.com/segmentio/kafka-go/protocol/produce"
)

// replay is a record reader for several attempts: it keeps what the first one reads.
// kafka-go's own can be read only once, so a second attempt would have no records, and
// count as delivered.
type replay struct {
	source protocol.RecordReader
	read   []replayed
	next   int

	record     protocol.Record // returned last
	key, value recordBytes
	kept       keeper
}

type replayed struct {
	time       time.Time
	headers    []protocol.Header
	key, value []byte
}

type recordBytes struct{ bytes.Reader }

func (*recordBytes) Close() error { return nil }

var replays = sync.Pool{New: func() any { return new(replay) }}

// replayOf puts a replay around the record reader of a request, which has one batch.
func replayOf(req *produceAPI.Request) *replay {
	r := replays.Get().(*replay)
	records := &req.Topics[0].Partitions[0].RecordSet.Records
	r.source, *records = *records, r
	return r
}

// rewind starts another attempt. The previous one must not be reading any more.
func (r *replay) rewind() { r.next = 0 }

// free puts r up for reuse. It must only be called after an answer: an attempt that ended
// without one leaves its request with a connection that may still read from r.
func (r *replay) free() {
	clear(r.read)
	*r = replay{read: r.read[:0]}
	replays.Put(r)
}

// ReadRecord implements protocol.RecordReader.
func (r *replay) ReadRecord() (*protocol.Record, error) {
	if r.next == len(r.read) {
		record, err := r.source.ReadRecord()
		if err != nil {
			return nil, err
		}
		key, err := r.content(record.Key)
		if err != nil {
			return nil, err
		}
		value, err := r.content(record.Value)
		if err != nil {
			return nil, err
		}
		r.read = append(r.read, replayed{record.Time, record.Headers, key, value})
	}
	from := &r.read[r.next]
	r.next++
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
func (r *replay) content(b protocol.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	w, ok := b.(io.WriterTo)
	if !ok {
		return io.ReadAll(b)
	}
	r.kept = keeper{}
	_, err := w.WriteTo(&r.kept)
	return r.kept, err
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
