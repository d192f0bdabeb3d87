package producer

import (
	"fmt"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/producer/cluster"
	"kafka-upstream/internal/spool"
)

// With Options.Durable and Options.Idempotent the spool has what each batch is sent as, before it
// is sent. So the next process can send a batch whose acknowledgement was lost with the process
// exactly as it was, and the broker, if it has it, says so (KIP-98).

// journal writes to the spool what batches are sent as.
type journal struct{ p *Producer }

var _ cluster.Journal = journal{}

// Identified implements cluster.Journal.
func (j journal) Identified(topic string, partition int32, id cluster.Identity, records int) error {
	p := j.p
	p.mu.Lock()
	t := p.topics[topic]
	positions := t.sending[partition]
	p.mu.Unlock()
	if len(positions) != records {
		return fmt.Errorf("a batch of %d records in partition %d of topic %s is not the one of %d that was handed over", records, partition, topic, len(positions))
	}
	err := t.source.queue.WriteBatch(spool.Batch{Partition: partition, ProducerID: id.ID, Epoch: id.Epoch, Sequence: id.Sequence, Positions: positions})
	if err != nil { // an outage of the disk must not keep it from being emptied
		p.logger.Warn("a batch is sent though the spool could not note as what: if this process were killed now, its records might be doubled", "topic", topic, "partition", partition, "error", err)
	}
	return nil
}

// produce sends a part of a batch again.
func (p *Producer) produce(t *topic, messages []kafka.Message) error {
	p.mu.Lock()
	p.noteSending(t, messages)
	p.mu.Unlock()
	return p.cluster.Produce(p.cluster.Context(), messages)
}

// noteSending notes which records of the spool are the partition's batch in flight. The caller
// holds p.mu.
func (p *Producer) noteSending(t *topic, messages []kafka.Message) {
	if p.o.Durable && p.o.Idempotent {
		t.sending[int32(messages[0].Partition)] = positionsOf(messages)
	}
}

// resumption is a batch of a former process, which is sent as it was.
type resumption struct {
	backlog
	as cluster.Identity
}

// resumable reports whether a batch of a former process can be sent as it was: by the whole, and
// before any other of its partition that is not in flight yet. The caller holds p.mu.
func (p *Producer) resumable(t *topic, b *spool.RecoveredBatch) bool {
	bytes := int64(batchOverhead)
	for i := range b.Records {
		bytes += sizeOfStored(&b.Records[i]) + recordOverhead
	}
	return p.o.Idempotent && b.ProducerID >= 0 && t.resumed[b.Partition] == nil &&
		len(b.Records) <= p.o.BatchRecords && bytes <= int64(p.o.BatchBytes)
}

// resume puts the batches of former processes into the buffer, to be sent before all others of
// their partitions. It returns the records of those that are to be sent as new ones. Their memory
// was taken. The caller holds p.mu.
func (p *Producer) resume(t *topic, batches []spool.RecoveredBatch) (others []spool.Stored) {
	for i := range batches {
		b := &batches[i]
		if !p.resumable(t, b) {
			others = append(others, p.undone(t, b.Records)...)
			continue
		}
		to := &resumption{as: cluster.Identity{ID: b.ProducerID, Epoch: b.Epoch, Sequence: b.Sequence}}
		for i := range b.Records {
			to.push(p.take(t, &b.Records[i]))
		}
		t.resumed[b.Partition] = to
		p.addBacklogged(t, to.len())
		if !p.serve(t) {
			p.signal()
		}
	}
	return others
}

// undone returns the records of a batch that are to be sent as new ones: some may be done with. The
// caller holds p.mu.
func (p *Producer) undone(t *topic, batch []spool.Stored) []spool.Stored {
	undone := t.source.queue.Undone(batch)
	for i := range batch {
		p.memory.Return(memoryOfStored(&batch[i]))
	}
	for i := range undone {
		p.memory.Return(-memoryOfStored(&undone[i]))
	}
	return undone
}

// resumeCurrent has the current batch sent as a former process may have sent it. It is called just
// before that, when the partition has no other batch in flight: a batch that is given up before,
// or another one that is sent before, must not leave or get that identity, because the broker
// would take other records for these and drop them. The caller is the dispatcher.
func (p *Producer) resumeCurrent() {
	if r := p.resuming; r != nil {
		p.resuming = nil
		p.cluster.Resume(p.messages[0].Topic, int32(p.messages[0].Partition), r.as)
	}
}
