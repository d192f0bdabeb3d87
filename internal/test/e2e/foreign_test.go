package e2e

import (
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"

	"kafka-upstream/internal/test/e2e/rig"
)

// One route whose brokers are no Kafka brokers, or say what none can say, is no other
// route's trouble.
func TestPeersThatAreNotKafkaDisturbNobody(t *testing.T) {
	t.Parallel()
	healthy := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	says := func(text string) *proxy {
		return startProxy(t, healthy.Addrs()[0], func(client, _ net.Conn) {
			_, _ = io.WriteString(client, text)
			_, _ = io.Copy(io.Discard, client)
		})
	}
	http, ones := says("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"), says("\xff\xff\xff\xff")
	// leading is a cluster whose metadata leads there.
	leading := func(host string, port int) *kafkatest.Fake {
		f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
		f.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
			f.KeepControl()
			resp := r.ResponseKind().(*kmsg.MetadataResponse)
			resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 0, Host: host, Port: int32(port)}}
			topic := kmsg.NewMetadataResponseTopic()
			topic.Topic, topic.Partitions = kmsg.StringPtr("t"), []kmsg.MetadataResponseTopicPartition{kmsg.NewMetadataResponseTopicPartition()}
			resp.Topics = append(resp.Topics, topic)
			return resp, nil, true
		})
		return f
	}
	toHTTP := leading("127.0.0.1", http.Addr().(*net.TCPAddr).Port)
	toComma := leading("127.0.0.1,127.0.0.1", 9092)
	s := secured(t, hosts(map[string][]byte{
		"ones":      rig.Settings(t, ones.addrs(), nil),
		"http":      rig.Settings(t, http.addrs(), nil),
		"http.sync": rig.Settings(t, http.addrs(), synced),
		"to.http":   rig.Settings(t, toHTTP.Addrs(), nil),
		"to.comma":  rig.Settings(t, toComma.Addrs(), nil),
		"healthy":   rig.Settings(t, healthy.Addrs(), synced),
	}), "-drain-timeout", "100ms")
	const foreign = "the answer is not Kafka's: "
	for host, text := range map[string]string{
		"ones":     "broker " + ones.Addr().String() + ": " + foreign + `it begins with "\xff\xff\xff\xff"`,
		"http":     "broker " + http.Addr().String() + ": " + foreign + `it begins with "HTTP/1.1 400"`,
		"to.http":  "broker " + http.Addr().String() + ": " + foreign + `it begins with "HTTP/1.1 400"`,
		"to.comma": "broker " + toComma.Addrs()[0] + ": " + foreign + `Metadata has a broker with the host "127.0.0.1,127.0.0.1"`,
	} {
		s.want(host, 200)
		s.wantError(host, text)
		s.want("healthy", 200)
	}
	s.want("http.sync", 502)
	s.want("healthy", 200)
	healthy.Records(t, "t", 5)
}
