package producer

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"
)

// tooLarge reports whether the broker found a batch larger than it allows.
func tooLarge(err error) bool {
	return errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge)
}

// split delivers a batch that was too large for the broker (its
// message.max.bytes, or the topic's, is below our limit) in halves, and these in
// halves again, so that only the records that are too large by themselves fail,
// and not those that happened to share their batch. The partition's goroutine
// does it, so the records keep their order.
func (p *Producer) split(messages []kafka.Message) {
	half := len(messages) / 2
	for _, part := range [][]kafka.Message{messages[:half], messages[half:]} {
		p.completeBatch(part, p.deliver(part))
	}
}

// sift delivers a batch without the records for which the broker refused it, and
// these fail: not those that happened to share their batch. It goes on as split does.
func (p *Producer) sift(messages []kafka.Message, refused *recordsRefusedError) {
	var good, bad []kafka.Message
	for i, m := range messages {
		m.Partition = int(refused.at.partition) // which the Writer notes only with an answer
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

// deliver sends one batch to the partition of its messages, as the Writer does.
func (p *Producer) deliver(messages []kafka.Message) error {
	client := &kafka.Client{Addr: p.transport.servers, Transport: p.transport}
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
			RequiredAcks: p.writer.RequiredAcks, Records: kafka.NewRecordReader(records...),
		})
		if err == nil && res != nil {
			err = res.Error
		}
		passes, ok := errors.AsType[interface {
			error
			Temporary() bool
		}](err)
		if err == nil || !ok || !passes.Temporary() || attempt >= p.writer.MaxAttempts {
			return err
		}
		time.Sleep(p.writer.WriteBackoffMax)
	}
}
