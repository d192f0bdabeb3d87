package producer

import (
	"sync"

	"github.com/segmentio/kafka-go"
)

// chunkSize is how many records lie together. What a call of the Writer costs by
// itself is nothing to speak of when that many share it.
const chunkSize = 64

// chunk is a piece of a queue. A queue of chunks grows without being copied, and
// shrinks as it is emptied: after a burst nothing of it is held.
type chunk struct {
	next     *chunk
	from, to int // the messages that are in it
	rounds   [chunkSize]int32
	messages [chunkSize]kafka.Message
}

// chunks are those that are in no queue, of all producers together: one that is
// idle keeps none.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

// rest returns the messages of the chunk. They are good until it is freed.
func (c *chunk) rest() []kafka.Message { return c.messages[c.from:c.to] }

// free gives the chunk back, and returns the one after it.
func (c *chunk) free() *chunk {
	next := c.next
	clear(c.messages[:c.to]) // they hold the bytes of records
	c.next, c.from, c.to = nil, 0, 0
	chunks.Put(c)
	return next
}

// queue holds records in the order of their arrival. Its zero value is empty.
type queue struct {
	first, last *chunk
	records     int
	bytes       int64 // of keys and values
}

// put adds a record of that many bytes, which came in that round.
func (q *queue) put(r *Record, at arrival) {
	c := q.last
	if c == nil || c.to == chunkSize {
		c = chunks.Get().(*chunk)
		if q.last == nil {
			q.first = c
		} else {
			q.last.next = c
		}
		q.last = c
	}
	m := &c.messages[c.to]
	m.Topic, m.Key, m.Value, m.Time, m.WriterData = r.Topic, r.Key, r.Value, at.time, at.ticket
	c.rounds[c.to] = at.round
	c.to++
	q.records++
	q.bytes += size(m)
}

// takeAll empties the queue, and returns its first chunk.
func (q *queue) takeAll() *chunk {
	c := q.first
	*q = queue{}
	return c
}

// takeUntil takes the records before the first one for which stays reports true.
func (q *queue) takeUntil(stays func(m *kafka.Message, round int32) bool) (taken []kafka.Message) {
	for c := q.first; c != nil; c = q.first {
		for c.from < c.to {
			m := &c.messages[c.from]
			if stays(m, c.rounds[c.from]) {
				return taken
			}
			taken = append(taken, *m)
			q.records--
			q.bytes -= size(m)
			c.from++
		}
		if q.first = c.free(); q.first == nil {
			q.last = nil
		}
	}
	return taken
}

func size(m *kafka.Message) int64 { return int64(len(m.Key) + len(m.Value)) }
