package producer

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	produceAPI "github.com/segmentio/kafka-go/protocol/produce"
)

// replay is the records of a produce request for more than one attempt: kafka-go's own
// reader can be read once, and takes a second attempt for one without records, which
// counts as delivered. It keeps what the first attempt reads.
type replay struct {
	source protocol.RecordReader
	read   []replayed
	next   int

	record     protocol.Record // the one that was returned last
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

// replayOf has the request's records read by way of a replay. A request of ours has one
// batch.
func replayOf(req *produceAPI.Request) *replay {
	r := replays.Get().(*replay)
	records := &req.Topics[0].Partitions[0].RecordSet.Records
	r.source, *records = *records, r
	return r
}

// rewind begins another attempt. Whoever read for the last one must be done.
func (r *replay) rewind() { r.next = 0 }

// free is called when nobody reads any more, after an answer for one: an attempt that
// ended without leaves its request with a connection that may yet begin to read.
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

// content returns the bytes of a key or a value, nil for none. They are not copied:
// what kafka-go reads from is a bytes.Reader, which writes what it was made of.
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
