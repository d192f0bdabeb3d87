package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/kafkaerr"
)

// With Options.Idempotent each batch has an identity, by which its partition's leader knows it
// again (KIP-98). Each partition has a producer id of its own, so that what happens to one
// concerns no other. Its batches have the sequences of their first records, one after another,
// within an epoch.
//
// An identity is used for one set of records only. After a batch that was not delivered, whatever
// its outcome, the epoch is raised and the sequence begins again at 0 (KIP-360), for which no
// broker need be asked: so the next batch cannot be taken for that one, and that one is rejected
// if it arrives after all.

// Identity is what a batch is sent as.
type Identity struct {
	ID       int64 // of the producer
	Epoch    int16
	Sequence int32 // of the first record
}

// none is the identity of a batch without one.
var none = Identity{ID: -1, Epoch: -1, Sequence: -1}

// after returns the identity of the next batch.
func (id Identity) after(records int) Identity {
	id.Sequence = int32((int64(id.Sequence) + int64(records)) & math.MaxInt32) // as brokers count
	return id
}

// raised returns the first identity of the next epoch; none if id has the last one.
func (id Identity) raised() Identity {
	if id.Epoch == math.MaxInt16 {
		return none
	}
	return Identity{ID: id.ID, Epoch: id.Epoch + 1}
}

// Journal is told what a batch is sent as, before it is first sent as that. An error fails that
// attempt, and nothing is sent. It may block. A batch that is sent without an identity is not
// reported.
type Journal interface {
	Identified(topic string, partition int32, id Identity, records int) error
}

// Inexactness is why a batch may be in its partition twice.
type Inexactness uint8

// The reasons.
const (
	NoProducerID    Inexactness = iota // it was sent without one: brokers gave none, or refused it
	SequenceRefused                    // the broker has lost what it knew of a batch whose outcome is not known
	UnknownOutcome                     // it was given up without a broker having said whether it has it

	Inexactnesses = iota // how many there are
)

// String returns the reason as metrics name it.
func (i Inexactness) String() string {
	return [Inexactnesses]string{"no_producer_id", "sequence_refused", "unknown_outcome"}[i]
}

const (
	// WithoutIDsFor is how long batches that need a producer id are sent without one after none
	// was to be had.
	WithoutIDsFor = time.Minute
	// idPatience is how long a batch waits for a producer id while brokers have none or do not
	// answer: they may have lost their controller, and take batches without an identity all the same.
	idPatience = 5 * time.Second
)

// withoutIDs is why, and until when, batches that need a producer id are sent without one.
type withoutIDs struct {
	until time.Time
	err   error
}

// withoutID returns why the topic's batches that need a producer id are sent without one, nil if
// they are not.
func (c *Cluster) withoutID(t *topic) error {
	for _, p := range []*atomic.Pointer[withoutIDs]{&c.withoutIDs, &t.withoutIDs} {
		if w := p.Load(); w != nil && time.Now().Before(w.until) {
			return w.err
		}
	}
	return nil
}

// sequences are those of a topic's partitions. They are let go with the topic.
type sequences struct {
	mu  sync.Mutex // a leaf
	all map[int32]*sequence
}

// sequence gives the batches of a partition their identities.
type sequence struct {
	mu      sync.Mutex // held while the partition has a batch in flight
	next    Identity   // of the next batch
	resumed bool       // a former process may have sent a batch as next
}

// sequenceOf returns the sequence of a partition.
func (t *topic) sequenceOf(partition int32) *sequence {
	t.sequences.mu.Lock()
	defer t.sequences.mu.Unlock()
	s := t.sequences.all[partition]
	if s == nil {
		s = &sequence{next: none}
		if t.sequences.all == nil {
			t.sequences.all = make(map[int32]*sequence)
		}
		t.sequences.all[partition] = s
	}
	return s
}

// Resume has the next batch of the partition sent with this identity, which a former process may
// have sent it with. It is to be called while the partition has no batch in flight, and right before
// that batch; what its batches were sent as before is over then. An identity
// whose producer id, epoch or sequence is negative is ignored, as is any without
// Options.Idempotent.
func (c *Cluster) Resume(topic string, partition int32, id Identity) {
	if !c.o.Idempotent || id.ID < 0 || id.Epoch < 0 || id.Sequence < 0 {
		return
	}
	s := c.use(topic).sequenceOf(partition)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next, s.resumed = id, true
}

// identify gives the batch its identity, if it is to have one. The caller holds b.sequence.mu.
func (c *Cluster) identify(ctx context.Context, g *generation, t *topic, b *batch) error {
	s := b.sequence
	if s == nil || b.plain {
		return nil
	}
	if s.next == none {
		if err := c.withoutID(t); err != nil {
			c.leavePlain(t, b, err)
			return nil
		}
		id, err := c.initProducerID(ctx, g, b)
		if _, ok := err.(*noIdentityError); !ok { // an outage shows nothing of producer ids
			b.unidentified = time.Time{}
		}
		if err != nil {
			return err
		}
		s.next, s.resumed = id, false
	}
	if b.identity == s.next {
		return nil
	}
	if c.o.Journal != nil {
		if err := c.o.Journal.Identified(b.topic, b.partition, s.next, len(b.records)); err != nil {
			return &journalError{err}
		}
	}
	b.identity, b.uncertain = s.next, s.resumed
	return nil
}

// leavePlain has the batch sent without an identity.
func (c *Cluster) leavePlain(t *topic, b *batch, err error) {
	b.plain, b.identity, b.sequence.next = true, none, none
	c.o.Observer.Inexact(t.name, b.partition, NoProducerID, err)
}

// suspendIDs is leavePlain, also for other batches that need a producer id in the time to come: of
// the Cluster, or of the topic, whose field suspended is.
func (c *Cluster) suspendIDs(suspended *atomic.Pointer[withoutIDs], t *topic, b *batch, err error) {
	suspended.Store(&withoutIDs{time.Now().Add(WithoutIDsFor), err})
	c.leavePlain(t, b, err)
}

// awaitIdentity waits before the next request for a producer id, or has the batch sent without one.
// It reports false if ctx or the Cluster ended first.
func (c *Cluster) awaitIdentity(ctx context.Context, g *generation, t *topic, b *batch, err *noIdentityError) bool {
	if c.ctx.Err() != nil { // which may be the reason
		return false
	}
	code, answered := errors.AsType[kafka.Error](err.error)
	if answered && !kafkaerr.IsTemporary(code) || exceeds(&b.unidentified, c.idPatience) {
		c.suspendIDs(&c.withoutIDs, t, b, err)
		return true
	}
	if !answered {
		c.invalidate(g)
	}
	c.o.Observer.Unavailable(t.name, b.partition, err)
	return c.Pause(ctx, 0)
}

// noteOutcome notes whether the batch may be in the log after an attempt.
func (b *batch) noteOutcome(res kafka.Response, err error) {
	if err != nil {
		_, code := errors.AsType[kafka.Error](err) // an answer to what comes before the batch
		b.uncertain = b.uncertain || !code && !kafkaerr.IsUnsent(err) && !kafkaerr.IsAuthentication(err)
		return
	}
	rejection := rejectionIn(res)
	if rejection == nil || b.identity == none {
		return
	}
	b.uncertain = b.uncertain || !isNotAppended(kafka.Error(rejection.ErrorCode))
}

// isNotAppended reports whether a broker that answers with the code has not written the batch. Most
// codes do not say so: NOT_LEADER_OR_FOLLOWER, for one, is also the answer if the leader wrote it
// and lost its office before its replicas had it.
func isNotAppended(code kafka.Error) bool {
	switch code {
	case kafka.InvalidMessage, kafka.MessageSizeTooLarge, kafka.RecordListTooLarge, kafka.NotEnoughReplicas,
		kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed, kafka.InvalidTimestamp, kafka.InvalidRecord,
		kafka.UnsupportedForMessageFormat, kafka.UnsupportedCompressionType, kafka.InvalidRequiredAcks, kafka.InvalidTopic:
		return true
	}
	return isIdentityRefused(code)
}

// isIdentityRefused reports whether the code is about a batch's identity.
func isIdentityRefused(code kafka.Error) bool {
	switch code {
	case kafka.DuplicateSequenceNumber, kafka.OutOfOrderSequenceNumber, kafka.UnknownProducerId, kafka.InvalidProducerEpoch, kafka.ProducerFenced,
		kafka.InvalidProducerIDMapping, kafka.InvalidTransactionState:
		return true
	}
	return false
}

// identityRefused reports whether the batch is to be sent again at once, because the broker refuses
// its identity: in the next epoch; then with another producer id; then without. A duplicate of a
// batch that may be in the log is delivered. Any other one is that of another batch: a broker has
// given its producer id twice.
func (c *Cluster) identityRefused(t *topic, b *batch, res kafka.Response) bool {
	rejection := rejectionIn(res)
	if rejection == nil || b.identity == none {
		return false
	}
	switch code := kafka.Error(rejection.ErrorCode); {
	case code == kafka.DuplicateSequenceNumber && b.uncertain:
		b.duplicate = true
		rejection.ErrorCode, rejection.ErrorMessage, rejection.BaseOffset = 0, "", -1 // nor does it say where
		return false
	case code == kafka.ClusterAuthorizationFailed: // brokers before 2.8 want a permission for such batches (KIP-679)
		c.suspendIDs(&c.withoutIDs, t, b, code)
		return true
	case code == kafka.UnsupportedForMessageFormat: // of the topic, which is older than Kafka 0.11
		c.suspendIDs(&t.withoutIDs, t, b, code)
		return true
	case isIdentityRefused(code):
		b.refusals++
		switch {
		case b.refusals > 2:
			c.suspendIDs(&t.withoutIDs, t, b, code)
			return true
		case b.refusals > 1, code != kafka.OutOfOrderSequenceNumber && code != kafka.UnknownProducerId:
			b.sequence.next = none // another producer has the id, in a later epoch
		default:
			b.sequence.next = b.identity.raised()
		}
		b.sequence.resumed, b.identity = false, none
		c.o.Observer.Unavailable(t.name, b.partition, code)
		if b.uncertain {
			c.o.Observer.Inexact(t.name, b.partition, SequenceRefused, code)
		}
		return true
	}
	return false
}

// settle chooses the identity of the next batch, after the last attempt for this one.
func (c *Cluster) settle(b *batch, failure error) {
	if b.identity == none {
		return
	}
	s := b.sequence
	s.resumed = false
	if failure == nil {
		s.next = b.identity.after(len(b.records))
		return
	}
	s.next = b.identity.raised()
	if b.uncertain && c.ctx.Err() == nil { // else there is no next batch, and the records count as undelivered
		c.o.Observer.Inexact(b.topic, b.partition, UnknownOutcome, failure)
	}
}

// journalError is the error of a batch that was not sent because of the Journal.
type journalError struct{ error }

func (e *journalError) Error() string { return "the batch cannot be noted: " + e.error.Error() }
func (e *journalError) Unwrap() error { return e.error }

// noIdentityError is why brokers gave no producer id.
type noIdentityError struct{ error }

func (e *noIdentityError) Error() string { return fmt.Sprintf("no producer id: %v", e.error) }
func (e *noIdentityError) Unwrap() error { return e.error }
