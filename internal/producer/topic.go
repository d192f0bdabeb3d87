package producer

import (
	"time"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/producer/cluster"
	"kafka-upstream/internal/spool"
)

// topic is the state of one topic in a producer, whose mutex guards it.
type topic struct {
	name   string
	ledger ledger
	log    *deliveryLog

	orphaned time.Time // since when no instance has had a share in it; zero if one has
	used     time.Time // when a record was last sent
	gaveUp   bool      // its records were given up because it is orphaned

	known      bool  // its metadata was fetched
	awaiting   bool  // its metadata is being requested
	rejections int32 // of metadata requests, by brokers

	unkeyed     backlog            // of records that may go to any partition
	keyed       map[int32]*backlog // of records whose key chooses the partition, by partition; none is empty
	backlogged  int                // records in all of them
	inFlight    map[int32]bool     // partitions with a batch in flight
	partitioner partitioner

	health health // of the topic alone

	source  *source                    // with Options.Durable; else nil
	taking  bool                       // the goroutine that takes records from the source is at this topic
	isReady bool                       // the source may have something to take
	resumed map[int32]*resumption      // batches of a former process, by partition; each is sent by the whole, before others
	sending map[int32][]spool.Position // of the last batch of each partition, with Options.Idempotent

	inexact [cluster.Inexactnesses]time.Time // when that was last logged
}

// topic returns the topic of that name. A topic that is new gets its share of the buffer.
// The caller holds p.mu.
func (p *Producer) topic(name string) *topic {
	t := p.topics[name]
	if t == nil {
		t = &topic{
			name:        name,
			ledger:      newLedger(name, &p.o),
			used:        time.Now(),
			keyed:       make(map[int32]*backlog),
			inFlight:    make(map[int32]bool),
			partitioner: newPartitioner(p.o.BatchRecords, int64(p.o.BatchBytes-batchOverhead)),
		}
		if p.o.Durable && !p.closed {
			t.resumed, t.sending = make(map[int32]*resumption), make(map[int32][]spool.Position)
			source, isNew := p.sources.join(p, name)
			switch t.source = source; {
			case isNew: // not acquired before
				p.requests.Go(func() { source.queue.Ready(source.onReady) })
			case source.isPending():
				p.requests.Go(source.notify)
			}
		}
		t.log = p.newDeliveryLog(t)
		p.topics[name] = t
		if p.ended {
			t.log.close()
		}
		p.shareBuffer()
		if p.claims[name] == 0 { // as when its instance has just released it
			t.orphaned = t.used
			p.removeUnusedIn(idleTime)
		}
	}
	return t
}

// logUndelivered logs, by topic, how many records a closed producer did not deliver.
func (p *Producer) logUndelivered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.topics {
		if s := &t.ledger; !p.o.Durable && s.Undelivered.Records+s.Buffered.Records > 0 {
			p.logger.Error("records left undelivered at shutdown", "topic", t.name,
				"records", s.Undelivered.Records+s.Buffered.Records, "delivered", s.Delivered.Records, "error", t.log.lastCause())
		}
	}
}

// shareBuffer divides the buffer among the topics. The caller holds p.mu.
func (p *Producer) shareBuffer() {
	var records, bytes []int64
	unused := len(p.claims) // topics that were never sent to
	for _, t := range p.topics {
		records = append(records, t.ledger.Buffered.Records)
		bytes = append(bytes, t.ledger.Buffered.Bytes)
		if p.claims[t.name] > 0 {
			unused--
		}
	}
	p.records.share(records, min(unused, 1))
	p.bytes.share(bytes, min(unused, 1))
}

// hasRoom reports whether the buffer has room for a record of that size. The caller holds
// p.mu.
func (p *Producer) hasRoom(t *topic, size int64) bool {
	b := &t.ledger.Buffered
	return p.records.room(b.Records) >= 1 && p.bytes.room(b.Bytes) >= size
}

// reserve adds to what the topic uses of the buffer, before the ledger does. The caller
// holds p.mu.
func (p *Producer) reserve(t *topic, a Amount) {
	b := &t.ledger.Buffered
	p.records.add(b.Records, a.Records)
	p.bytes.add(b.Bytes, a.Bytes)
}

// bufferStats returns the state of the buffer for a topic. The caller holds p.mu.
func (p *Producer) bufferStats(t *topic) BufferStats {
	b := t.ledger.Buffered
	return BufferStats{
		Buffered: b,
		Limit:    Amount{p.records.limit, p.bytes.limit},
		Fill:     max(p.records.fill(b.Records), p.bytes.fill(b.Bytes)),
		Stalled:  t.ledger.stalled(),

		Gated:     p.o.gated(),
		Unhealthy: p.unhealthy(t),
		Orphaned:  !t.orphaned.IsZero(),
		Durable:   p.o.Durable,
	}
}

// unassigned stands for the partition of keyed records until the metadata is known.
const unassigned = -1

// isKeyed reports whether the key chooses the partition; nil means no key.
func (p *Producer) isKeyed(key []byte) bool { return key != nil && p.hash != nil }

// backlogOf returns the topic's backlog for a key. The caller holds p.mu.
func (p *Producer) backlogOf(t *topic, key []byte) *backlog {
	if !p.isKeyed(key) {
		return &t.unkeyed
	}
	partition := int32(unassigned)
	if t.known {
		partition = partitionOf(p.hash(key), p.cluster.Partitions(t.name))
	}
	b := t.keyed[partition]
	if b == nil {
		b = new(backlog)
		t.keyed[partition] = b
	}
	return b
}

// addBacklogged counts records that were put into a backlog of the topic, or with a negative
// n were taken out. The caller holds p.mu.
func (p *Producer) addBacklogged(t *topic, n int) {
	before := t.backlogged
	t.backlogged += n
	p.backlogged += n
	if t.known {
		p.due.update(t, before)
	}
}

// nextBatchOf takes the records of a batch of the topic that is due and whose partition has
// none in flight, or returns how long to wait for one. The caller holds p.mu, and is the
// dispatcher.
func (p *Producer) nextBatchOf(t *topic, now time.Time) (messages []kafka.Message, wait time.Duration) {
	wait = time.Hour
	due := func(b *backlog) bool {
		if b.len() == 0 {
			return false
		}
		remaining := p.o.Linger - (now.Sub(p.started) - b.first().accepted)
		if p.closed || p.full(b) || remaining <= early {
			return true
		}
		wait = min(wait, remaining)
		return false
	}
	// A topic may always have one batch in flight, so that it does not wait for other topics
	// whose brokers do not answer.
	free := p.inFlight < p.maxInFlight || len(t.inFlight) == 0
	for partition, r := range t.resumed {
		if free && !t.inFlight[partition] {
			delete(t.resumed, partition)
			p.resuming = r
			return p.takeBatch(t, &r.backlog, r.len(), partition), 0
		}
		p.wakeOnCompletion = true // it is the next of its partition, and others need not wait for it
	}
	maxRecords, maxBytes := t.partitioner.maxRecords, t.partitioner.maxBytes
	if b := &t.unkeyed; due(b) {
		if free {
			n, bytes := b.batch(maxRecords, maxBytes)
			if partition, ok := t.partitioner.choose(p.cluster.Partitions(t.name), t.inFlight, n, bytes); ok {
				if k := t.keyed[partition]; k != nil && due(k) && k.first().accepted < b.first().accepted {
					b = k // or keyed records would wait for as long as others arrive
					n, _ = b.batch(maxRecords, maxBytes)
				}
				return p.takeBatch(t, b, n, partition), 0
			}
		}
		p.wakeOnCompletion = true
	}
	for partition, b := range t.keyed {
		if !due(b) {
			continue
		}
		if free && !t.inFlight[partition] {
			n, _ := b.batch(maxRecords, maxBytes)
			return p.takeBatch(t, b, n, partition), 0
		}
		p.wakeOnCompletion = true
	}
	return nil, wait
}

// full reports whether a batch of the backlog need not wait for more records.
func (p *Producer) full(b *backlog) bool {
	return p.o.Linger == 0 || b.len() >= p.o.BatchRecords || b.bytes >= int64(p.o.BatchBytes-batchOverhead)
}

// takeBatch returns the first n records of the backlog as messages to that partition, valid
// until the next call. The caller holds p.mu, and is the dispatcher.
func (p *Producer) takeBatch(t *topic, b *backlog, n int, partition int32) []kafka.Message {
	t.inFlight[partition] = true
	p.inFlight++
	p.messages = p.messages[:0]
	b.take(n, func(q *queued) {
		p.messages = append(p.messages, q.message(t.name, partition))
	})
	if b.len() == 0 && t.keyed[partition] == b {
		delete(t.keyed, partition)
	}
	p.addBacklogged(t, -n)
	p.noteSending(t, p.messages)
	return p.messages
}

// topicQueue has the topics with a backlog whose metadata is known. The dispatcher serves
// them in turn.
type topicQueue struct {
	topics []*topic
	next   int
}

// update adds or removes t after a change of its backlog, which had that many records before.
func (q *topicQueue) update(t *topic, before int) {
	switch {
	case before == 0 && t.backlogged > 0:
		q.topics = append(q.topics, t)
	case before > 0 && t.backlogged == 0:
		for i := range q.topics {
			if q.topics[i] == t {
				last := len(q.topics) - 1
				q.topics[i], q.topics[last] = q.topics[last], nil
				q.topics = q.topics[:last]
				return
			}
		}
	}
}
