package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	produceAPI "github.com/segmentio/kafka-go/protocol/produce"

	"kafka-upstream/internal/kafkaerr"
)

// Produce sends a part of a batch, which must be of one partition, exactly as the whole
// batch was sent. It sets the messages' offsets, as kafka-go's Writer does, if the broker
// answers.
func (c *Cluster) Produce(ctx context.Context, messages []kafka.Message) error {
	res, err := c.produce(ctx, batchOf(messages, int16(c.o.Acks)))
	if err != nil || res == nil {
		return err
	}
	p := &res.(*produceAPI.Response).Topics[0].Partitions[0] // brokerconn has checked that there is one
	for i := range messages {
		messages[i].Offset = p.BaseOffset + int64(i)
	}
	switch {
	case p.ErrorCode == 0:
		return nil
	case p.ErrorMessage == "":
		return kafka.Error(p.ErrorCode)
	}
	return fmt.Errorf("%w: %s", kafka.Error(p.ErrorCode), p.ErrorMessage)
}

// produce makes attempts until one succeeds, fails for good, or was the last one. All
// batches pass through it, so it is where to set what they have in common.
func (c *Cluster) produce(ctx context.Context, b *batch) (kafka.Response, error) {
	defer b.free()
	b.timeout = int32(c.o.RequestTimeout / time.Millisecond)
	t := c.use(b.topic)
	b.codec = c.codecOf(t)
	if c.o.Idempotent {
		b.sequence = t.sequenceOf(b.partition)
		b.sequence.mu.Lock()
		defer b.sequence.mu.Unlock()
	}
	for first, n := time.Now(), 1; ; n++ {
		began := time.Now()
		res, err := c.produceOnce(ctx, t, b)
		failure, retry := c.failureOf(res, err)
		last := !retry || n >= c.o.MaxAttempts
		c.o.Observer.AttemptDone(t.name, c.attemptOf(b, Attempt{Retry: n > 1, Last: last, Took: time.Since(began), Total: time.Since(first), Err: failure}))
		if last {
			c.settle(b, failure)
			return res, err
		}
		if !c.sleep(ctx, c.o.Backoff) {
			c.settle(b, failure)
			if c.ctx.Err() != nil {
				return nil, context.Cause(c.ctx)
			}
			return res, err
		}
	}
}

// attemptOf returns a with what the Observer is told of the batch.
func (c *Cluster) attemptOf(b *batch, a Attempt) Attempt {
	a.Duplicate = b.duplicate
	if c.codec != 0 {
		a.Bytes, a.Compressed = b.bytes, b.compressedBytes()
		a.Uncompressed = b.codec == 0
	}
	return a
}

// failureOf returns why an attempt failed, and whether another one may succeed.
func (c *Cluster) failureOf(res kafka.Response, err error) (failure error, retry bool) {
	switch err.(type) {
	case nil:
		if rejection := rejectionIn(res); rejection != nil {
			code := kafka.Error(rejection.ErrorCode)
			return code, kafkaerr.IsTemporary(code)
		}
		return nil, false
	case *gaveUpError, *PartitionGoneError, *RecordsRejectedError:
		return err, false
	}
	return err, c.ctx.Err() == nil
}

// produceOnce makes one attempt. With WaitForBroker it lasts for as long as no broker can be
// reached, and, up to MaxUnavailable, while brokers do not know the partition or its leader, or
// while its login is held back for those of others.
func (c *Cluster) produceOnce(ctx context.Context, t *topic, b *batch) (kafka.Response, error) {
	var waiting time.Time // since when this attempt has waited for the topic, a leader or its login
	var gone time.Time    // since when the metadata has lacked the partition
	for {
		if c.ctx.Err() != nil { // else a batch would be sent that waited for another one to end
			return nil, context.Cause(c.ctx)
		}
		g := c.current(t)
		res, err := c.send(ctx, g, t, b)
		if c.codecRefused(t, b, res, err) || b.grewTooLarge(res) || c.identityRefused(t, b, res) {
			continue
		}
		switch e := err.(type) {
		case *journalError: // nothing was sent, and no broker is at fault
			c.o.Observer.Unavailable(t.name, b.partition, err)
			return nil, err
		case *noIdentityError:
			if !c.awaitIdentity(ctx, g, t, b, e) {
				if c.ctx.Err() != nil {
					return nil, context.Cause(c.ctx)
				}
				return nil, err
			}
			continue
		}
		if err == nil {
			rejection := rejectionIn(res)
			err = c.answered(g, t, b, rejection)
			if rejection == nil || kafka.Error(rejection.ErrorCode) != kafka.UnknownTopicOrPartition || !c.partitionGone(ctx, t, b.partition) {
				return res, err
			}
			if exceeds(&gone, propagation) {
				return nil, c.newPartitionGoneError(t, b.partition)
			}
			if !c.Pause(ctx, 0) {
				return res, err
			}
			continue
		}
		if isStaleConnection(err) { // retry on another idle connection, or a new one
			continue
		}
		c.noteAuthFailure(g, err)
		if c.authRecovered(ctx, g, t, err) {
			continue
		}
		unsent := kafkaerr.IsUnsent(err)
		waits := c.o.WaitForBroker && unsent
		var reason error // why there is no metadata
		if unsent {
			// The metadata shows whether this concerns the partition or the whole cluster.
			if reason = c.fetchMetadata(ctx, t, false); reason != nil {
				err = reason
			}
		}
		switch {
		case IsHeldBack(err) && reason == nil: // no sign that the metadata is stale
		case reason == nil && errors.Is(err, protocol.ErrNoLeader) && !c.leaderElected(ctx, g, t, b.partition):
			c.invalidateRarely(g) // in case that the broker which was asked is the last to know
		default:
			c.invalidate(g)
		}
		if c.ctx.Err() != nil {
			return nil, context.Cause(c.ctx)
		}
		// A broker may not know yet of a partition that was just added.
		if reason == nil && errors.Is(err, protocol.ErrNoPartition) && c.partitionGone(ctx, t, b.partition) {
			if exceeds(&gone, propagation) {
				return nil, c.newPartitionGoneError(t, b.partition)
			}
			waits = true // even at its last attempt
		}
		c.o.Observer.Unavailable(t.name, b.partition, err)
		switch {
		case c.o.WaitForBroker && IsHeldBack(err), // nothing was tried
			waits && (reason == nil || kafkaerr.IsMissingTopic(reason)):
			if exceeds(&waiting, c.o.MaxUnavailable) {
				return nil, &gaveUpError{err, c.o.MaxUnavailable}
			}
		case !waits, !kafkaerr.IsUnreachable(reason): // a broker answers, with an error
			return nil, err
		}
		if !c.Pause(ctx, 0) {
			if c.ctx.Err() != nil { // even at its last attempt, the record was waiting
				return nil, context.Cause(c.ctx)
			}
			return nil, err
		}
	}
}

// exceeds reports whether something that began at since, or begins now, lasts for too long.
func exceeds(since *time.Time, limit time.Duration) bool {
	if since.IsZero() {
		*since = time.Now()
	}
	return time.Since(*since) > limit
}

// send makes one request, or none if there is no connection.
func (c *Cluster) send(ctx context.Context, g *generation, t *topic, b *batch) (kafka.Response, error) {
	if err := c.identify(ctx, g, t, b); err != nil {
		return nil, err
	}
	ctx, cancel := c.limited(ctx)
	defer cancel()
	began := time.Now()
	res, err := g.RoundTrip(ctx, c.addr, b.request())
	b.answered(err == nil)
	b.noteOutcome(res, err)
	c.noteCodec(t, b)
	return res, withDuration(err, began)
}

// answered acts on a broker's answer: rejection is nil if the broker accepted the batch. The
// Writer reads the answer too, but fetches no metadata, and does not report which records
// were rejected.
func (c *Cluster) answered(g *generation, t *topic, b *batch, rejection *produceAPI.ResponsePartition) error {
	if rejection == nil {
		c.o.Observer.Recovered(t.name)
		t.compressionAccepted(b)
		c.auth.succeeded()
		return nil
	}
	code := kafka.Error(rejection.ErrorCode)
	c.o.Observer.Unavailable(t.name, b.partition, code)
	if kafkaerr.IsStaleLeader(code) {
		c.invalidate(g)
	}
	if !kafkaerr.IsTemporary(code) && !kafkaerr.IsTooLarge(code) {
		return recordsRejected(rejection)
	}
	return nil
}

// rejectionIn returns the partition in the answer if the broker rejected the batch. It
// returns nil if the broker accepted it, or sends no answer (acks 0).
func rejectionIn(res kafka.Response) *produceAPI.ResponsePartition {
	r, ok := res.(*produceAPI.Response)
	if !ok {
		return nil
	}
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			if p := &r.Topics[i].Partitions[j]; p.ErrorCode != 0 {
				return p
			}
		}
	}
	return nil
}
