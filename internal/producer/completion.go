package producer

import (
	"errors"
	"time"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/producer/cluster"
)

// completed is the Writer's Completion: it receives the result of each batch.
func (p *Producer) completed(messages []kafka.Message, err error) {
	partition := int32(messages[0].Partition) // as the dispatcher chose it
	p.mu.Lock()
	t := p.topics[messages[0].Topic] // it is not forgotten while it has records
	p.mu.Unlock()
	p.completeBatch(t, messages, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(t.inFlight, partition)
	p.inFlight--
	if p.wakeOnCompletion {
		p.signal()
	}
}

// completeBatch completes a batch. If only some of its records were rejected, the
// others are sent again; the partition has no other batch in flight meanwhile, so
// they keep their order.
func (p *Producer) completeBatch(t *topic, messages []kafka.Message, err error) {
	if gone, ok := errors.AsType[*cluster.PartitionGoneError](err); ok {
		p.reassign(t, messages, gone)
		return
	}
	if len(messages) > 1 {
		if kafkaerr.IsTooLarge(err) {
			p.split(t, messages)
			return
		}
		if rejected, ok := errors.AsType[*cluster.RecordsRejectedError](err); ok {
			p.retryWithoutRejected(t, messages, rejected)
			return
		}
	}
	p.completeWhole(t, messages, err)
}

func (p *Producer) completeWhole(t *topic, messages []kafka.Message, err error) {
	a := amountOf(messages)
	p.mu.Lock()
	t.ledger.batch(a)
	p.mu.Unlock()
	p.complete(t, messages, err)
}

// complete accounts for accepted records that are delivered or given up, and passes the
// result to senders that wait for it. Each record passes through it exactly once.
func (p *Producer) complete(t *topic, messages []kafka.Message, err error) {
	amount, taken := amountOf(messages), int64(0)
	for i := range messages {
		taken += memoryOf(sizeOfMessage(&messages[i]), len(messages[i].Headers))
		if p.o.Durable {
			taken += perStored
		}
	}
	if p.o.Durable && isReturned(err) {
		p.giveBack(t, messages, amount)
		return
	}
	if err != nil && p.o.Async && !errors.Is(err, errAbandoned) { // else the sender gets the error
		t.log.recordsLost(len(messages), p.leaderOf(t.name, int32(messages[0].Partition)), err)
	}
	p.memory.Return(taken)
	p.mu.Lock()
	p.reserve(t, Amount{-amount.Records, -amount.Bytes})
	t.ledger.complete(amount, err)
	p.startTaking()
	p.mu.Unlock()
	if p.o.Durable {
		p.done(t, messages)
	}
	if p.o.Async {
		return
	}
	if err != nil {
		err = &undeliveredError{err, p.leaderOf(t.name, int32(messages[0].Partition))}
	}
	for i := range messages {
		m := &messages[i]
		r := Result{int32(m.Partition), m.Offset, err}
		if err != nil || p.o.Acks == 0 || messages[0].Offset < 0 { // the broker did not say it, which -1 means
			r.Offset = -1
		}
		m.WriterData.(*delivery).set(r)
	}
}

func amountOf(messages []kafka.Message) Amount {
	a := Amount{Records: int64(len(messages))}
	for i := range messages {
		a.Bytes += sizeOfMessage(&messages[i])
	}
	return a
}

// split delivers a batch that was too large for the broker (message.max.bytes, or the
// topic's max.message.bytes, is below BatchBytes) in halves, recursively, so that only
// records that are too large by themselves fail.
func (p *Producer) split(t *topic, messages []kafka.Message) {
	half := len(messages) / 2
	for _, part := range [][]kafka.Message{messages[:half], messages[half:]} {
		p.completeBatch(t, part, p.produce(t, part))
	}
}

// retryWithoutRejected fails the records for which the broker rejected the batch, and
// delivers the others.
func (p *Producer) retryWithoutRejected(t *topic, messages []kafka.Message, rejected *cluster.RecordsRejectedError) {
	var good, bad []kafka.Message
	for i, m := range messages {
		if rejected.Records[i] {
			bad = append(bad, m)
		} else {
			good = append(good, m)
		}
	}
	if len(bad) == 0 || len(good) == 0 {
		p.completeWhole(t, messages, rejected)
		return
	}
	p.completeWhole(t, bad, rejected)
	p.completeBatch(t, good, p.produce(t, good))
}

// reassign returns the records of a batch whose partition is gone to the head of the
// backlog of those that may go to any partition. Those whose key chooses the partition
// belong to that one alone, and fail.
func (p *Producer) reassign(t *topic, messages []kafka.Message, gone *cluster.PartitionGoneError) {
	var keyed []kafka.Message
	var unkeyed []queued
	due := time.Since(p.started) - p.o.Linger // they have lingered
	for i := range messages {
		if m := &messages[i]; p.isKeyed(m.Key) {
			keyed = append(keyed, *m)
		} else {
			unkeyed = append(unkeyed, requeued(m, due))
		}
	}
	if len(keyed) > 0 {
		p.completeWhole(t, keyed, gone)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t.unkeyed.pushFront(unkeyed)
	p.addBacklogged(t, len(unkeyed))
	p.signal()
}
