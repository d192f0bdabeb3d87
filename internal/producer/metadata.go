package producer

import (
	"time"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/kafkaerr"
)

// missingPause is the longest time until brokers are asked again for a topic that does not exist,
// as that of Kafka's Java clients. It doubles up to that: a client may choose among many topics
// that do not exist, and with each request kafka-go fetches the metadata of all topics again.
const missingPause = time.Second

// awaitMetadata requests the topic's metadata until the cluster has answered: without it,
// the Writer would block, or drop the records. Other topics are delivered meanwhile. It
// gives up when the topic's backlog is empty, or when the producer is closed.
func (p *Producer) awaitMetadata(t *topic) {
	ctx := p.cluster.Context()
	var missing time.Time // since when brokers have answered that the topic does not exist
	for {
		pause := time.Duration(0)
		err := p.cluster.Await(ctx, t.name)
		if err == nil {
			t.log.recovered()
			p.metadataKnown(t)
			return
		}
		if ctx.Err() != nil {
			return // the dispatcher gives up the records
		}
		t.log.metadataFailed(err)
		switch {
		case p.o.Async && kafkaerr.IsUnreachable(err): // records wait, and use up no attempt
			missing = time.Time{}
		case p.o.Async && kafkaerr.IsMissingTopic(err):
			if missing.IsZero() {
				missing = time.Now()
			}
			pause = min(time.Since(missing), missingPause)
			if time.Since(missing) > p.maxUnavailable { // an outage before it does not count
				p.fail(t, func(q *queued) bool { return time.Since(p.started)-q.accepted > p.maxUnavailable }, err)
			}
		default: // counts as an attempt for each record in the backlog
			p.mu.Lock()
			t.rejections++
			rejections := t.rejections
			p.mu.Unlock()
			p.fail(t, func(q *queued) bool { return rejections-q.rejections >= int32(p.o.MaxAttempts) }, err)
		}
		// Pause before the next request, and send none if no record needs it.
		if !p.cluster.Pause(ctx, pause) {
			return
		}
		p.mu.Lock()
		if t.backlogged == 0 {
			t.awaiting = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
}

// metadataKnown lets the dispatcher deliver the topic's records from now on.
func (p *Producer) metadataKnown(t *topic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.known, t.awaiting = true, false
	if b := t.keyed[unassigned]; b != nil {
		delete(t.keyed, unassigned)
		b.take(b.len(), func(q *queued) { p.backlogOf(t, q.key).push(*q) })
	}
	p.due.update(t, 0)
	p.signal()
}

// fail gives up records at the head of each backlog of the topic for as long as over reports
// true.
func (p *Producer) fail(t *topic, over func(*queued) bool, err error) {
	var failed []kafka.Message
	p.mu.Lock()
	of := func(b *backlog, partition int32) {
		n := 0
		for n < b.len() && over(&b.records[b.head+n]) {
			n++
		}
		b.take(n, func(q *queued) { failed = append(failed, q.message(t.name, partition)) })
		p.addBacklogged(t, -n)
	}
	of(&t.unkeyed, unassigned)
	for partition, b := range t.keyed {
		if of(b, partition); b.len() == 0 {
			delete(t.keyed, partition)
		}
	}
	for partition, r := range t.resumed { // by the whole: what is left would not be that batch
		if over(r.first()) {
			p.addBacklogged(t, -r.len())
			r.take(r.len(), func(q *queued) { failed = append(failed, q.message(t.name, partition)) })
			delete(t.resumed, partition)
		}
	}
	p.mu.Unlock()
	if len(failed) == 0 {
		return
	}
	p.complete(t, failed, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wakeOnCompletion { // these may be the last records of a closed producer
		p.signal()
	}
}
