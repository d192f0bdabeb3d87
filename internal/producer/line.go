package producer

import (
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
)

// item is a record in a line.
type item struct {
	topic  string
	key    []byte
	value  []byte
	time   time.Time
	ticket *ticket
	round  int32       // how many looks for the layout were refused before it came
	there  atomic.Bool // all else is written, and is the taker's from now on
}

func (i *item) amount() amount { return amountOf(1, int64(len(i.key)+len(i.value))) }

// chunkSize is how many records lie together, in 8 KiB.
const chunkSize = 78

// chunk is a piece of a line. Its places are given away one after another, and only
// once: a sender may come late to a chunk that has left the line long ago, and finds
// it full. So it is left to the garbage collector, and never used again.
type chunk struct {
	next  atomic.Pointer[chunk]
	given atomic.Int32 // of the places; at chunkSize and above it is full
	items [chunkSize]item
}

// line is where senders leave their records. Any number of them may at the same time,
// and none waits for another; one goroutine at a time takes what is there, in the
// order in which places were given. It grows without being copied, and what was taken
// of it is not held.
type line struct {
	due  atomic.Uint64         // the amount of what is here, or announced
	tail atomic.Pointer[chunk] // where places are given, or one before that

	// Of who takes.
	head *chunk
	from int // those before were taken
}

func (l *line) init() {
	l.head = new(chunk)
	l.tail.Store(l.head)
}

// announce says that a record will be put here in a moment, or withdrawn.
func (l *line) announce(a amount) { l.due.Add(uint64(a)) }

// withdraw takes that back.
func (l *line) withdraw(a amount) { l.due.Add(-uint64(a)) }

// amount is how much is here, or announced, at this moment.
func (l *line) amount() amount { return amount(l.due.Load()) }

// put puts a record here that was announced.
func (l *line) put(r *Record, at time.Time, round int32, t *ticket) {
	i := l.place()
	i.topic, i.key, i.value, i.time, i.ticket, i.round = r.Topic, r.Key, r.Value, at, t, round
	i.there.Store(true)
}

// place returns the next place, for the caller alone.
func (l *line) place() *item {
	for {
		c := l.tail.Load()
		if n := c.given.Add(1); n <= chunkSize {
			return &c.items[n-1]
		}
		l.tail.CompareAndSwap(c, c.following())
	}
}

// following returns the chunk after this one, which it makes if there is none yet.
func (c *chunk) following() *chunk {
	if next := c.next.Load(); next != nil {
		return next
	}
	next := new(chunk)
	if c.next.CompareAndSwap(nil, next) {
		return next
	}
	return c.next.Load()
}

// first returns the record that is to be taken first, nil if there is none: also while
// its sender, who has the place, is not ready yet.
func (l *line) first() *item {
	if l.from == chunkSize {
		next := l.head.next.Load()
		if next == nil {
			return nil
		}
		l.head, l.from = next, 0
	}
	if i := &l.head.items[l.from]; i.there.Load() {
		return i
	}
	return nil
}

// each calls f with the records that are there, from the first one on, until f reports
// false. It returns the place where it ended: of a record that f did not want, or that
// is not there yet.
func (l *line) each(f func(*item) bool) *item {
	c, n := l.head, l.from
	for {
		if n == chunkSize {
			c, n = c.following(), 0
		}
		if i := &c.items[n]; !i.there.Load() || !f(i) {
			return i
		}
		n++
	}
}

// take takes records, from the first one on, while there is place for them and wanted
// does not report false; nil wants all. It returns how many.
func (l *line) take(messages []kafka.Message, wanted func(*item) bool) (n int) {
	var sum amount
	for ; n < len(messages); n++ {
		i := l.first()
		if i == nil || wanted != nil && !wanted(i) {
			break
		}
		messages[n] = kafka.Message{Topic: i.topic, Key: i.key, Value: i.value, Time: i.time, WriterData: i.ticket}
		sum += i.amount()
		i.topic, i.key, i.value, i.ticket = "", nil, nil, nil // others may keep the chunk for long
		l.from++
	}
	l.due.Add(-uint64(sum))
	return n
}
