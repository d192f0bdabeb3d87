package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	metadataAPI "github.com/segmentio/kafka-go/protocol/metadata"

	"kafka-upstream/internal/kafkaerr"
)

// topic is a topic in use.
type topic struct {
	name       string
	generation uint64 // the first one that fetches the topic's metadata
	metadata   atomic.Pointer[metadata]
	refreshing atomic.Bool

	election election

	uncompressed atomic.Pointer[time.Time] // until when batches are not compressed
	refusal      atomic.Bool               // the last batch to be compressed was not taken, and that was reported

	sequences  sequences
	withoutIDs atomic.Pointer[withoutIDs] // nil: the topic takes batches with an identity
}

// metadata is what the cluster answered about a topic.
type metadata struct {
	response   *metadataAPI.Response
	partitions []metadataAPI.ResponsePartition // at least one
	operations int32                           // that the topic's ACLs allow, if the cluster was asked for them (KIP-430)
	fetched    time.Time
}

var errNoMetadata = errors.New("the topic's metadata is not known yet")

// use returns the topic of that name. A kafka.Transport fetches the metadata only of the
// topics that it was created with, so a new topic needs a new generation.
func (c *Cluster) use(name string) *topic {
	if t := (*c.topics.Load())[name]; t != nil {
		return t
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := (*c.topics.Load())[name]; t != nil {
		return t
	}
	t := &topic{name: name, generation: c.generation.number + 1}
	topics := maps.Clone(*c.topics.Load())
	topics[name] = t
	c.topics.Store(&topics)
	return t
}

// Forget removes a topic: further generations do not fetch its metadata.
func (c *Cluster) Forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	topics := maps.Clone(*c.topics.Load())
	delete(topics, name)
	c.topics.Store(&topics)
}

func (c *Cluster) metadataOf(name string) *metadata {
	if t := (*c.topics.Load())[name]; t != nil {
		return t.metadata.Load()
	}
	return nil
}

// Partitions returns the topic's partitions by its latest metadata, nil if it is not known.
func (c *Cluster) Partitions(topic string) []metadataAPI.ResponsePartition {
	if m := c.metadataOf(topic); m != nil {
		return m.partitions
	}
	return nil
}

// Leader returns the address of a partition's leader by the latest metadata, "" if it is
// not known.
func (c *Cluster) Leader(topic string, partition int32) string {
	if m := c.metadataOf(topic); m != nil {
		return m.leader(partition)
	}
	return ""
}

// leader returns the address of a partition's leader, "" if there is none.
func (m *metadata) leader(partition int32) string {
	for _, p := range m.partitions {
		if p.PartitionIndex != partition {
			continue
		}
		for _, b := range m.response.Brokers {
			if b.NodeID == p.LeaderID {
				return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
			}
		}
	}
	return ""
}

// Await requests the topic's metadata once, and returns when it is known, or why it is not;
// see [Cluster.Pause]. If the cluster creates topics by itself, it creates this one, as it
// does for Kong's own producer. With WaitForBroker a login that is held back is waited for, up
// to MaxUnavailable.
func (c *Cluster) Await(ctx context.Context, topic string) error {
	t := c.use(topic)
	for waiting := (time.Time{}); ; {
		err := c.await(ctx, t)
		if !c.o.WaitForBroker || !IsHeldBack(err) || exceeds(&waiting, c.o.MaxUnavailable) || !c.Pause(ctx, 0) {
			return err
		}
	}
}

func (c *Cluster) await(ctx context.Context, t *topic) error {
	if err := c.collectTopics(ctx, t); err != nil {
		return err
	}
	g := c.current(t)
	err := c.fetchMetadata(ctx, t, true)
	switch {
	case errors.Is(err, kafka.UnknownTopicOrPartition): // kafka-go asks again by itself, and the other topics are unaffected
	case isRefusal(err):
		c.invalidateRarely(g)
	case err != nil:
		c.invalidate(g)
	case c.newerThanAuthFailure(g):
		c.auth.succeeded()
	}
	return err
}

// isRefusal reports whether brokers answer that the topic is not to be had, such as for want of
// an ACL. It will not pass soon, and says nothing about other topics.
func isRefusal(err error) bool {
	code, ok := errors.AsType[kafka.Error](err)
	return ok && !kafkaerr.IsTemporary(code) && !kafkaerr.IsAuthentication(err)
}

// Reconnect requests the topic's metadata over new connections, with a login. The Observer is told
// how that ended.
func (c *Cluster) Reconnect(ctx context.Context, topic string) error {
	c.invalidate(c.current(nil))
	return c.fetchMetadata(ctx, c.use(topic), false)
}

// Refresh requests the topic's metadata in the background if it is old.
func (c *Cluster) Refresh(topic string) {
	if t := c.use(topic); t.metadata.Load() != nil && time.Since(t.metadata.Load().fetched) > MetadataTTL {
		c.refreshAsync(t)
	}
}

// refreshAsync keeps the last known metadata if the request fails.
func (c *Cluster) refreshAsync(t *topic) {
	if !t.refreshing.CompareAndSwap(false, true) {
		return
	}
	c.refreshes.Go(func() {
		defer t.refreshing.Store(false)
		if err := c.await(c.ctx, t); err != nil {
			m := t.metadata.Load()
			t.metadata.CompareAndSwap(m, &metadata{m.response, m.partitions, m.operations, time.Now()}) // the next refresh is not due at once
		}
	})
}

// fetchMetadata gets the topic's metadata from the current generation, or the error for which
// there is none. Only a new generation sends a request for it, and only one.
// A rejected login is that of one caller. The others, which share the generation, get an
// authBackoffError: no login was tried for them.
func (c *Cluster) fetchMetadata(ctx context.Context, t *topic, create bool) error {
	ctx, cancel := c.limited(ctx)
	defer cancel()
	g := c.current(t)
	began := time.Now()
	res, err := g.RoundTrip(ctx, c.addr, &metadataAPI.Request{
		TopicNames:             []string{t.name},
		AllowAutoTopicCreation: create,
	})
	err = withDuration(err, began)
	if err == nil {
		var m *metadata
		if m, err = t.metadataIn(res.(*metadataAPI.Response)); err == nil {
			t.metadata.Store(m)
		}
	}
	if c.noteAuthFailure(g, err) && !g.known.Load() {
		err = &authBackoffError{err}
	}
	c.o.Observer.MetadataRequested(t.name, err, IsHeldBack(err) || g.asked.Swap(true))
	return err
}

// metadataIn returns what the response says of the topic.
func (t *topic) metadataIn(res *metadataAPI.Response) (*metadata, error) {
	for i := range res.Topics {
		answer := &res.Topics[i]
		switch {
		case answer.Name != t.name:
		case answer.ErrorCode != 0:
			return nil, fmt.Errorf("topic %s: %w", t.name, kafka.Error(answer.ErrorCode))
		case len(answer.Partitions) > 0:
			return &metadata{res, answer.Partitions, answer.TopicAuthorizedOperations, time.Now()}, nil
		}
	}
	return nil, fmt.Errorf("topic %s has no partitions: %w", t.name, kafka.LeaderNotAvailable)
}

// partitionGone reports whether the cluster knows the topic but not the partition.
func (c *Cluster) partitionGone(ctx context.Context, t *topic, partition int32) bool {
	if c.fetchMetadata(ctx, t, false) != nil {
		return false
	}
	return !slices.ContainsFunc(t.metadata.Load().partitions, func(p metadataAPI.ResponsePartition) bool {
		return p.PartitionIndex == partition
	})
}
