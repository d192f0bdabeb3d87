package producer

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"
)

// completed is the Writer's Completion: it receives the result of each batch.
func (p *Producer) completed(messages []kafka.Message, err error) {
	partition := int32(messages[0].Partition) // as the dispatcher chose it
	p.completeBatch(messages, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.inFlight, partition)
	if p.wakeOnCompletion {
		p.signal()
	}
}

// completeBatch completes a batch. If only some of its records were rejected, the
// others are sent again; the partition has no other batch in flight meanwhile, so
// they keep their order.
func (p *Producer) completeBatch(messages []kafka.Message, err error) {
	if gone, ok := errors.AsType[*partitionGoneError](err); ok {
		p.reassign(messages, gone)
		return
	}
	if len(messages) > 1 {
		if tooLarge(err) {
			p.split(messages)
			return
		}
		if refused, ok := errors.AsType[*recordsRefusedError](err); ok {
			p.sift(messages, refused)
			return
		}
	}
	p.completeWhole(messages, err)
}

func (p *Producer) completeWhole(messages []kafka.Message, err error) {
	p.metrics.Batch(len(messages), sizes(messages))
	p.complete(messages, err)
}

// complete accounts for accepted records that are delivered or given up, and tells
// senders that wait. Each record passes through it exactly once.
func (p *Producer) complete(messages []kafka.Message, err error) {
	bytes, taken := sizes(messages), int64(0)
	for i := range messages {
		taken += memoryOf(int64(len(messages[i].Key) + len(messages[i].Value)))
	}
	undelivered := errors.Is(err, errAbandoned)
	switch {
	case err == nil:
		p.metrics.Delivered(len(messages), bytes)
	case undelivered:
		p.metrics.Left(len(messages), bytes)
	default:
		p.metrics.Failed(err, len(messages), bytes)
		if p.o.Async { // else the sender is told
			p.status.lose(len(messages), p.transport.leader(int32(messages[0].Partition)), err)
		}
	}
	p.memory.Return(taken)
	p.mu.Lock()
	n := int64(len(messages))
	switch s := &p.stats; {
	case err == nil:
		s.Delivered += n
	case undelivered:
		s.Left += n
	default:
		s.Failed += n
	}
	p.stats.Buffered -= n
	p.stats.BufferedBytes -= bytes
	p.mu.Unlock()
	if p.o.Async {
		return
	}
	if err != nil {
		err = &undeliveredError{err, p.transport.leader(int32(messages[0].Partition))}
	}
	for i := range messages {
		messages[i].WriterData.(chan error) <- err
	}
}

func sizes(messages []kafka.Message) (bytes int64) {
	for i := range messages {
		bytes += int64(len(messages[i].Key) + len(messages[i].Value))
	}
	return bytes
}

// tooLarge reports whether the broker found a batch larger than it allows.
func tooLarge(err error) bool {
	return errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge)
}

// split delivers a batch that was too large for the broker (its
// message.max.bytes, or the topic's, is below our limit) in halves, recursively, so
// that only records that are too large by themselves fail.
func (p *Producer) split(messages []kafka.Message) {
	half := len(messages) / 2
	for _, part := range [][]kafka.Message{messages[:half], messages[half:]} {
		p.completeBatch(part, p.deliver(part))
	}
}

// sift fails the records for which the broker rejected the batch, and delivers the
// others.
func (p *Producer) sift(messages []kafka.Message, refused *recordsRefusedError) {
	var good, bad []kafka.Message
	for i, m := range messages {
		if refused.records[i] {
			bad = append(bad, m)
		} else {
			good = append(good, m)
		}
	}
	if len(bad) == 0 || len(good) == 0 {
		p.completeWhole(messages, refused)
		return
	}
	p.completeWhole(bad, refused)
	p.completeBatch(good, p.deliver(good))
}

// reassign returns the records of a batch whose partition is gone to the head of the
// backlog of records without a key. Those with a key belong to that partition alone, and
// fail.
func (p *Producer) reassign(messages []kafka.Message, gone *partitionGoneError) {
	var keyed []kafka.Message
	var unkeyed []queued
	for _, m := range messages {
		if m.Key != nil {
			keyed = append(keyed, m)
			continue
		}
		done, _ := m.WriterData.(chan error)
		unkeyed = append(unkeyed, queued{value: m.Value, time: m.Time, done: done})
	}
	if len(keyed) > 0 {
		p.completeWhole(keyed, gone)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unkeyed.pushFront(unkeyed)
	p.backlogged += len(unkeyed)
	p.signal()
}

// deliver sends one batch to the partition of its messages, with as many attempts as the
// Writer would make.
func (p *Producer) deliver(messages []kafka.Message) error {
	t := p.transport
	client := &kafka.Client{Addr: t.servers, Transport: t}
	for attempt := 1; ; attempt++ {
		records := make([]kafka.Record, len(messages))
		for i, m := range messages {
			records[i] = kafka.Record{Time: m.Time, Value: kafka.NewBytes(m.Value), Headers: m.Headers}
			if m.Key != nil {
				records[i].Key = kafka.NewBytes(m.Key)
			}
		}
		res, err := client.Produce(context.Background(), &kafka.ProduceRequest{
			Topic: messages[0].Topic, Partition: messages[0].Partition,
			RequiredAcks: kafka.RequiredAcks(p.o.Acks), Records: kafka.NewRecordReader(records...),
		})
		if err == nil && res != nil {
			err = res.Error
		}
		passes, ok := errors.AsType[interface {
			error
			Temporary() bool
		}](err)
		if err == nil || !ok || !passes.Temporary() || attempt >= t.maxAttempts {
			return err
		}
		select {
		case <-time.After(p.o.Backoff):
		case <-t.ctx.Done():
			return context.Cause(t.ctx)
		}
	}
}
