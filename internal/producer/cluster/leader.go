package cluster

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	metadataAPI "github.com/segmentio/kafka-go/protocol/metadata"
)

// election is what brokers said of a topic with a partition that had no leader.
type election struct {
	mu     sync.Mutex // held while brokers are asked, so that the partitions share the answer
	asked  time.Time
	answer *metadata // nil if there was none
}

// leaderElected asks, over the connections of g, whether the partition has a leader by now, for
// which there is none in g. It asks once in each pause for all partitions of the topic: a new
// generation instead would cost all topics their connections, and a login. It also reports true
// if it gets no answer.
func (c *Cluster) leaderElected(ctx context.Context, g *generation, t *topic, partition int32) bool {
	e := &t.election
	e.mu.Lock()
	defer e.mu.Unlock()
	if time.Since(e.asked) >= c.pause {
		e.answer, _ = c.askTopic(ctx, g, t)
		e.asked = time.Now()
	}
	return e.answer == nil || e.answer.leader(partition) != ""
}

// CheckTopic asks whether records may be written to the topic. Brokers older than 2.3 only say whether
// its metadata may be read. It asks for no topic that is not in use, as one that was just forgotten.
func (c *Cluster) CheckTopic(ctx context.Context, topic string) error {
	t := (*c.topics.Load())[topic]
	if t == nil {
		return errNoMetadata
	}
	m, err := c.askTopic(ctx, c.current(t), t)
	if err != nil {
		return err
	}
	const unknown = math.MinInt32
	if ops := m.operations; ops != 0 && ops != unknown && ops&(1<<writeOperation) == 0 {
		return fmt.Errorf("topic %s: %w", topic, kafka.TopicAuthorizationFailed)
	}
	return nil
}

// writeOperation is the code of WRITE among the operations of ACLs (KIP-430).
const writeOperation = 4

// askTopic requests the metadata of a topic, which a kafka.Transport does not: it answers with
// what it knows.
func (c *Cluster) askTopic(ctx context.Context, g *generation, t *topic) (*metadata, error) {
	ctx, cancel := c.limited(ctx)
	defer cancel()
	began := time.Now()
	res, err := g.RoundTrip(ctx, c.addr, &topicRequest{name: t.name})
	err = withDuration(err, began)
	c.noteAuthFailure(g, err)
	var m *metadata
	if err == nil {
		m, err = t.metadataIn(res.(*topicResponse).metadata)
	}
	c.o.Observer.MetadataRequested(t.name, err, IsHeldBack(err))
	return m, err
}

// topicRequest is a metadata request for one topic. Its response has a type of its own, because
// kafka-go takes a metadata.Response for that of a metadata.Request.
type topicRequest struct {
	name    string
	version int16
}

type topicResponse struct{ metadata *metadataAPI.Response }

var (
	_ protocol.RawExchanger = (*topicRequest)(nil)
	_ protocol.Message      = (*topicResponse)(nil)
)

// ApiKey implements protocol.Message.
func (*topicRequest) ApiKey() protocol.ApiKey { return protocol.Metadata }

// ApiKey implements protocol.Message.
func (*topicResponse) ApiKey() protocol.ApiKey { return protocol.Metadata }

// Required implements protocol.RawExchanger.
func (r *topicRequest) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = versions[protocol.Metadata]
	return true
}

// RawExchange implements protocol.RawExchanger.
func (r *topicRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	res, err := protocol.RoundTrip(rw, r.version, correlation.Add(1), clientID, &metadataAPI.Request{
		TopicNames: []string{r.name}, IncludeTopicAuthorizedOperations: true,
	})
	if err != nil {
		return nil, err
	}
	return &topicResponse{res.(*metadataAPI.Response)}, nil
}
