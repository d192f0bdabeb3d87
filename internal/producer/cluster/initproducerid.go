package cluster

import (
	"context"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"kafka-upstream/internal/kafkaerr"
)

// initProducerID requests a producer id from the leader of the batch's partition, over the
// connection that the batch will need. The error is a [noIdentityError] if the batch might be
// taken without an identity.
func (c *Cluster) initProducerID(ctx context.Context, g *generation, b *batch) (Identity, error) {
	ctx, cancel := c.limited(ctx)
	defer cancel()
	began := time.Now()
	res, err := g.RoundTrip(ctx, c.addr, newIDRequest(b.topic, b.partition))
	if err != nil {
		if kafkaerr.IsUnsent(err) || kafkaerr.IsAuthentication(err) || IsHeldBack(err) || isStaleConnection(err) {
			return none, err // as for the batch itself
		}
		return none, &noIdentityError{withDuration(err, began)}
	}
	r := res.(*initproducerid.Response)
	if r.ErrorCode != 0 {
		return none, &noIdentityError{kafka.Error(r.ErrorCode)}
	}
	return Identity{ID: r.ProducerID, Epoch: r.ProducerEpoch}, nil // brokerconn has checked them
}

// idRequest is an InitProducerId request. kafka-go's own looks for the coordinator of a
// transaction first: brokers create a topic for transactions then, and may want a permission.
type idRequest struct {
	rawproduce.Request // finds the partition's leader
	version            int16
	known              bool // to the broker
}

var (
	_ protocol.BrokerMessage = (*idRequest)(nil)
	_ protocol.RawExchanger  = (*idRequest)(nil)
)

func newIDRequest(topic string, partition int32) *idRequest {
	return &idRequest{Request: rawproduce.Request{Topics: []rawproduce.RequestTopic{{Topic: topic, Partitions: []rawproduce.RequestPartition{{Partition: partition}}}}}}
}

// ApiKey implements protocol.Message.
func (*idRequest) ApiKey() protocol.ApiKey { return protocol.InitProducerId }

// Required implements protocol.RawExchanger.
func (r *idRequest) Required(versions map[protocol.ApiKey]int16) bool {
	r.version, r.known = versions[protocol.InitProducerId]
	r.known = r.known && r.version <= protocol.InitProducerId.MaxVersion()
	return true
}

// RawExchange implements protocol.RawExchanger. Brokers that do not know the request are not sent
// any: they would close the connection.
func (r *idRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if !r.known {
		return &initproducerid.Response{ErrorCode: int16(kafka.UnsupportedVersion)}, nil
	}
	return protocol.RoundTrip(rw, r.version, correlation.Add(1), clientID, &initproducerid.Request{ProducerID: -1, ProducerEpoch: -1})
}
