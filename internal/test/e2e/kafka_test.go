//go:build kafka

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/kafkatest"

	"kafka-upstream/internal/test/e2e/rig"
)

// post sends a form as curl --data does, and returns status and body.
func post(t *testing.T, to, host, form string) (int, string) {
	t.Helper()
	req, err := http.NewRequest("POST", to, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// The quickstart of Kong's documentation, with a declarative configuration and
// with the Admin API: a topic, a route, a POST, and Kafka's own consumer prints
// the message.
func TestQuickstart(t *testing.T) {
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		kafka := kafkatest.Shared(t, version)
		brokers := kafka.Addrs(kafkatest.Plaintext)
		consumed := func(t *testing.T, topic string) map[string]any {
			t.Helper()
			var m map[string]any
			out := kafka.ConsoleConsumer(t, topic, 1)
			if err := json.Unmarshal([]byte(out), &m); err != nil {
				t.Fatalf("the console consumer printed %q", out)
			}
			return m
		}
		check := func(t *testing.T, base, topic string) {
			t.Helper()
			if status, body := post(t, base, "kafka-upstream.dev", "foo=bar"); status != 200 || body != `{"message":"message sent"}` {
				t.Fatalf("answered %d %s", status, body)
			}
			m := consumed(t, topic)
			args, _ := m["body_args"].(map[string]any)
			if m["body"] != "foo=bar" || args["foo"] != "bar" || len(m) != 2 {
				t.Errorf("the console consumer printed %v", m)
			}
		}
		t.Run("declarative", func(t *testing.T) {
			topic := kafka.CreateTopic(t, "kong-upstream", 10, 1, nil)
			sim := gateway(t, kongYAML(t, rig.Settings(t, brokers, map[string]any{"topic": topic})))
			check(t, sim.URL(), topic)
		})
		t.Run("admin API", func(t *testing.T) {
			topic := kafka.CreateTopic(t, "kong-upstream-2", 10, 1, nil)
			sim := gateway(t, `_format_version: "3.0"`)
			if status, body := post(t, sim.AdminURL()+"/routes", "", "name=kafka-upstream&hosts[]=kafka-upstream.dev"); status != 201 {
				t.Fatalf("making the route: %d %s", status, body)
			}
			host, port, _ := strings.Cut(brokers[0], ":")
			form := url.Values{"name": {"kafka-upstream"}, "config.topic": {topic}, "config.timeout": {"1000"},
				"config.bootstrap_servers[1].host": {host}, "config.bootstrap_servers[1].port": {port}}
			if status, body := post(t, sim.AdminURL()+"/routes/kafka-upstream/plugins", "", form.Encode()); status != 201 {
				t.Fatalf("making the plugin: %d %s", status, body)
			}
			check(t, sim.URL(), topic)
		})
	})
}

// Ten thousand requests for each way to send.
func TestTrafficReachesRealKafka(t *testing.T) {
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		kafka := kafkatest.Shared(t, version)
		for topic, more := range map[string]map[string]any{
			"async":          {"producer_async": true},
			"async-all-acks": {"producer_async": true, "producer_request_acks": -1},
			"sync":           {"producer_async": false},
		} {
			t.Run(topic, func(t *testing.T) {
				more["topic"] = kafka.CreateTopic(t, topic, 10, 1, nil)
				sim := gateway(t, kongYAML(t, rig.Settings(t, kafka.Addrs(kafkatest.Plaintext), all(more))))
				traffic(t, sim.URL(), 10000, func(n int) []*kgo.Record { return kafka.Records(t, topic, n) })
			})
		}
	})
}

// A record of the size that the default allows is taken by a broker with its
// default limit, one byte more is refused before it is sent.
func TestLargestRecordIsTakenByRealKafka(t *testing.T) {
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		kafka := kafkatest.Shared(t, version)
		topic := kafka.CreateTopic(t, "large", 1, 1, nil)
		sim := gateway(t, kongYAML(t, rig.Settings(t, kafka.Addrs(kafkatest.Plaintext), map[string]any{"topic": topic, "producer_async": false})))
		const envelope = len(`{"body":"","body_args":{}}`)
		for n, want := range map[int]int{1048492 - envelope: 200, 1048492 - envelope + 1: 413} {
			q := request{method: "POST", target: "/", typ: "text/plain", body: strings.Repeat("x", n)}
			if status, body, err := q.send(sim.URL()); err != nil || status != want {
				t.Errorf("a body of %d bytes: %d %s %v, want %d", n, status, body, err, want)
			}
		}
		if got := kafka.Records(t, topic, 1); len(got) != 1 || len(got[0].Value) != 1048492 {
			t.Errorf("%d records", len(got))
		}
	})
}
