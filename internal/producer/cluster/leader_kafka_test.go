//go:build kafka

package cluster

import (
	"errors"
	"testing"

	"github.com/segmentio/kafka-go"
	saslplain "github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kadm"

	"kafka-upstream/internal/test/kafkatest"
)

// What a genuine broker with an authorizer answers.
func TestKafkaWithPermissions(t *testing.T) {
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		broker := kafkatest.Start(t, kafkatest.Config{Version: version, Authorizer: true,
			SASL: &kafkatest.SASL{Plain: map[string]string{"orders": "password"}}})
		t.Run("knows a batch again", func(t *testing.T) { testKafkaKnowsABatchAgain(t, broker) })
		t.Run("says whether a topic may be written", func(t *testing.T) { testKafkaSaysWhetherATopicMayBeWritten(t, broker) })
	})
}

func testKafkaSaysWhetherATopicMayBeWritten(t *testing.T, broker *kafkatest.Cluster) {
	written := broker.CreateTopic(t, "written", 1, 1, nil)
	described := broker.CreateTopic(t, "described", 1, 1, nil)
	denied := broker.CreateTopic(t, "denied", 1, 1, nil)
	broker.Allow(t, "User:orders", written, kadm.OpWrite)
	broker.Allow(t, "User:orders", described, kadm.OpDescribe)
	c := newTestCluster(t, broker.Addrs(kafkatest.SASLPlaintext), func(o *Options) {
		o.Topics, o.SASL = []string{written, described, denied}, saslplain.Mechanism{Username: "orders", Password: "password"}
	})
	for _, topic := range []string{written, described, denied} {
		if err := c.CheckTopic(t.Context(), topic); (err == nil) != (topic == written) || err != nil && !errors.Is(err, kafka.TopicAuthorizationFailed) {
			t.Errorf("%s: %v", topic, err)
		}
	}
	open := newTestCluster(t, broker.Addrs(kafkatest.Plaintext), func(o *Options) { o.Topics = []string{denied} })
	if err := open.CheckTopic(t.Context(), denied); err != nil {
		t.Errorf("who may do everything: %v", err)
	}
}
