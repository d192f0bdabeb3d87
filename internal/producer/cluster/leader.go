package cluster

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	metadataAPI "github.com/segmentio/kafka-go/protocol/metadata"
)

// election is what brokers said of a topic with a partition that had no leader.
type election struct {
	mu     sync.Mutex // held while brokers are asked, so that the partitions share the answer
	asked  time.Time
	answer *metadataAPI.Response // nil if there was none
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
		e.answer = c.askTopic(ctx, g, t)
		e.asked = time.Now()
	}
	if e.answer == nil {
		return true
	}
	m := metadata{response: e.answer}
	for i := range e.answer.Topics {
		if answer := &e.answer.Topics[i]; answer.Name == t.name {
			m.partitions = answer.Partitions
		}
	}
	return m.leader(partition) != ""
}

// askTopic requests the metadata of a topic, which a kafka.Transport does not: it answers with
// what it knows. It returns nil if there is no answer.
func (c *Cluster) askTopic(ctx context.Context, g *generation, t *topic) *metadataAPI.Response {
	ctx, cancel := c.limited(ctx)
	defer cancel()
	res, err := g.RoundTrip(ctx, c.addr, &topicRequest{name: t.name})
	if err != nil {
		return nil
	}
	return res.(*topicResponse).metadata
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
	res, err := protocol.RoundTrip(rw, r.version, correlation.Add(1), clientID, &metadataAPI.Request{TopicNames: []string{r.name}})
	if err != nil {
		return nil, err
	}
	return &topicResponse{res.(*metadataAPI.Response)}, nil
}
