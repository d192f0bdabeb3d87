package producer

import (
	"time"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/spool"
)

// queued is a record that was accepted and is not in flight.
type queued struct {
	key, value []byte          // nil: none
	headers    *[]kafka.Header // nil: none; most records have none
	accepted   time.Duration   // when, since Producer.started; all waits are counted from here
	timestamp  int64           // as the record has it, in ms since 1970: any time at all
	delivery   *delivery       // if the sender waits for it; else nil
	stored     *spool.Stored   // if it came from the spool; else nil
	rejections int32           // topic.rejections when the record was accepted
}

// size is what the record counts against the limits of the buffer.
func (q *queued) size() int64 {
	if q.headers == nil {
		return int64(len(q.key) + len(q.value))
	}
	return sizeOf(q.key, q.value, *q.headers)
}

func (q *queued) headerCount() int {
	if q.headers == nil {
		return 0
	}
	return len(*q.headers)
}

// sizeOf returns what a record counts against the limits of the buffer: its key, its value,
// and its headers with what each takes in a batch. A batch has recordOverhead besides.
func sizeOf(key, value []byte, headers []kafka.Header) int64 {
	n := len(key) + len(value)
	for i := range headers {
		n += len(headers[i].Key) + len(headers[i].Value) + HeaderOverhead
	}
	return int64(n)
}

func sizeOfMessage(m *kafka.Message) int64 { return sizeOf(m.Key, m.Value, m.Headers) }

// message returns the record as the Writer takes it.
func (q *queued) message(topic string, partition int32) kafka.Message {
	m := kafka.Message{Topic: topic, Partition: int(partition), Key: q.key, Value: q.value, Time: time.UnixMilli(q.timestamp)}
	if q.headers != nil {
		m.Headers = *q.headers
	}
	switch {
	case q.delivery != nil:
		m.WriterData = q.delivery
	case q.stored != nil:
		m.WriterData = q.stored
	}
	return m
}

// requeued returns the record of a message that goes back to the backlog. It has waited
// already.
func requeued(m *kafka.Message, accepted time.Duration) queued {
	q := queued{key: m.Key, value: m.Value, accepted: accepted, timestamp: m.Time.UnixMilli()}
	switch of := m.WriterData.(type) {
	case *delivery:
		q.delivery = of
	case *spool.Stored:
		q.stored = of
	}
	if len(m.Headers) > 0 {
		q.headers = &m.Headers
	}
	return q
}

// backlog is a FIFO of records for one partition, or of records without a key.
type backlog struct {
	records []queued // those before head are taken
	head    int
	bytes   int64 // of the records from head on, as they count in a batch
}

// keepBacklog is the capacity, in records, that an empty backlog keeps.
const keepBacklog = 1024

func (b *backlog) len() int       { return len(b.records) - b.head }
func (b *backlog) first() *queued { return &b.records[b.head] }

func (b *backlog) push(q queued) {
	if b.head > len(b.records)/2 && len(b.records) == cap(b.records) {
		n := copy(b.records, b.records[b.head:])
		clear(b.records[n:])
		b.records, b.head = b.records[:n], 0
	}
	b.records = append(b.records, q)
	b.bytes += q.size() + recordOverhead
}

// pushFront puts records before all others.
func (b *backlog) pushFront(records []queued) {
	all := make([]queued, 0, len(records)+b.len())
	all = append(append(all, records...), b.records[b.head:]...)
	b.records, b.head = all, 0
	for i := range records {
		b.bytes += records[i].size() + recordOverhead
	}
}

// batch returns how many records the next batch takes within these limits, and their
// bytes as they count in it. A record larger than maxBytes has a batch of its own.
func (b *backlog) batch(maxRecords int, maxBytes int64) (n int, bytes int64) {
	if b.len() <= maxRecords && b.bytes <= maxBytes {
		return b.len(), b.bytes
	}
	for ; n < min(b.len(), maxRecords); n++ {
		size := b.records[b.head+n].size() + recordOverhead
		if bytes+size > maxBytes && n > 0 {
			break
		}
		bytes += size
	}
	return n, bytes
}

// take hands the first n records to f, one by one, and forgets them.
func (b *backlog) take(n int, f func(*queued)) {
	taken := b.records[b.head : b.head+n]
	for i := range taken {
		b.bytes -= taken[i].size() + recordOverhead
		f(&taken[i])
	}
	clear(taken)
	if b.head += n; b.head == len(b.records) {
		b.records, b.head = b.records[:0], 0
		if cap(b.records) > keepBacklog {
			b.records = nil
		}
	}
}
