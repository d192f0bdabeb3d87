package e2e

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

const notSent = `{"message":"Service Unavailable","error":"could not send message to topic"}`

// Brokers are away, and the buffer has room for five records.
func TestRequestOfManyRecordsGetsRoomForAllOrNone(t *testing.T) {
	b := startBrokers(t, rand.New(rand.NewPCG(seed(t), 0)))
	b.Close()
	sim := gateway(t, kongYAML(t, rig.Settings(t, b.addrs, map[string]any{
		"split": "ndjson", "value_format": "body", "producer_async_buffering_limits_messages_in_memory": 5})))
	for _, s := range []sent{
		{body: "1\n2\n3"},
		{body: "4\n5\n6", status: 503, answer: notSent},
		{body: "7\n8"},
		{body: "9", status: 503, answer: notSent},
	} {
		s.target = "/"
		s.check(t, sim.URL(), host)
	}
	b.start()
	var got []string
	for _, r := range b.Records(t, "t", 5) {
		got = append(got, string(r.Value))
	}
	if slices.Sort(got); !slices.Equal(got, []string{"1", "2", "3", "7", "8"}) {
		t.Errorf("the records are %q", got)
	}
}

// Of two topics one has too few replicas: the answer says which record is where. The cause
// is the client's to read only if the configuration says so.
func TestAnswerSaysWhichRecordsWereNotAcknowledged(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t", "bad"))
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "bad", Err: kerr.NotEnoughReplicas, Count: -1})
	more := map[string]any{
		"topics_query_arg": "to", "allowed_topics": []string{"bad"}, "producer_async": false, "producer_request_retries_max_attempts": 1,
	}
	sim := gateway(t, hosts(map[string][]byte{
		"quiet": rig.Settings(t, f.Addrs(), more),
		"frank": rig.Settings(t, f.Addrs(), with(more, map[string]any{"error_handling": map[string]any{"return_error_message": true}})),
	}))
	sent{target: "/?to=t,bad", status: 502,
		answer: `{"message":"Bad Gateway","error":"could not send message to topic","records":[{"topic":"t","partition":0,"offset":0},{"topic":"bad","error":"could not send message to topic"}]}`,
	}.check(t, sim.URL(), "quiet")
	sent{target: "/?to=bad", status: 502, answer: `{"message":"Bad Gateway","error":"could not send message to topic"}`}.check(t, sim.URL(), "quiet")
	for _, frank := range []struct{ target, answer string }{
		{"/?to=bad", `{"message":"Bad Gateway","error":"CAUSE"}`},
		{"/?to=bad,t", `{"message":"Bad Gateway","error":"CAUSE","records":[{"topic":"bad","error":"CAUSE"},{"topic":"t","partition":0,"offset":1}]}`},
	} {
		status, _, body := sent{target: frank.target}.send(t, sim.URL(), "frank")
		if got := causes.ReplaceAllString(body, "CAUSE"); status != 502 || got != frank.answer {
			t.Errorf("the answer is %d %s, want %s", status, body, frank.answer)
		}
	}
}

var causes = regexp.MustCompile(`broker 127\.0\.0\.1:\d+, partition 0: NotEnoughReplicas: [^"]*`)

func TestBatchesAreCompressed(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, codecs...))
	configs := make(map[string][]byte)
	for _, codec := range codecs {
		configs[codec] = rig.Settings(t, f.Addrs(), map[string]any{"topic": codec, "compression_type": codec, "value_format": "body", "producer_async_flush_timeout": 50})
	}
	sim := gateway(t, hosts(configs))
	body := strings.Repeat("compressible ", 200)
	const n = 20
	for _, codec := range codecs {
		for range n {
			sent{target: "/", body: body}.check(t, sim.URL(), codec)
		}
	}
	for i, codec := range codecs {
		for _, r := range f.Records(t, codec, n) {
			if string(r.Value) != body {
				t.Errorf("%s: a record is %q", codec, r.Value)
			}
		}
		records, bytes := 0, 0
		for _, p := range f.Produces() {
			for _, b := range p.Batches {
				if b.Topic == codec {
					if int(b.Codec) != i {
						t.Errorf("%s: a batch has codec %d, want %d", codec, b.Codec, i)
					}
					records, bytes = records+b.Records, bytes+b.Bytes
				}
			}
		}
		if small := bytes < n*len(body)/2; records != n || small != (codec != "none") {
			t.Errorf("%s: %d records in batches of %d bytes together", codec, records, bytes)
		}
	}
}

// Brokers go away: after two failures requests are answered 503, until a probe has found them
// back. What was accepted is delivered.
func TestUnhealthyProducerRejectsUntilBrokersAreBack(t *testing.T) {
	b := startBrokers(t, rand.New(rand.NewPCG(seed(t), 0)))
	sim := gateway(t, kongYAML(t, rig.Settings(t, b.addrs, map[string]any{
		"producer_async_health_gating": true, "producer_async_health_failure_threshold": 2, "producer_async_health_probe_interval": 1200,
		"producer_request_retries_backoff_timeout": 20, "timeout": 500,
	})))
	accepted := 0
	send := func() (status int) {
		status, header, body := sent{target: "/"}.send(t, sim.URL(), host)
		switch {
		case status == 200:
			accepted++
		case status != 503 || body != notSent || header.Get("Retry-After") != "2":
			t.Errorf("answered %d %s, Retry-After %q", status, body, header.Get("Retry-After"))
		}
		return status
	}
	send()
	b.Records(t, "t", 1)
	b.Close()
	rig.Eventually(t, "requests are rejected", func() bool { return send() == 503 })
	before := accepted
	for range 10 {
		send()
	}
	if accepted != before {
		t.Error("a request was accepted while brokers were away")
	}
	rig.Eventually(t, "Kong's error log says so", func() bool {
		send()
		return strings.Contains(strings.Join(sim.ErrorLog(), "\n"), "unhealthy")
	})
	b.start()
	rig.Eventually(t, "requests are accepted again", func() bool { return send() == 200 })
	if got := len(b.Records(t, "t", accepted)); got != accepted {
		t.Errorf("%d records of %d that were accepted", got, accepted)
	}
}
