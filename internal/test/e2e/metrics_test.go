package e2e

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// get returns status and body of a GET.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// sample returns the value of a sample of an exposition, -1 if there is none.
func sample(exposition, name string) float64 {
	for line := range strings.Lines(exposition) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err == nil {
				return v
			}
		}
	}
	return -1
}

func TestMetricsTellWhatBecameOfRequestsAndRecords(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"), kfake.SeedTopics(1, "zero"))
	address := rig.ClosedPort(t)
	s := rig.Start(t, "-metrics", address, "-drain-timeout", "100ms")
	w := s.Worker()
	rig.SendN(t, w, rig.NewPlugin(rig.Settings(t, f.Addrs(), nil)), 30)
	rig.SendN(t, w, rig.NewPlugin(rig.Settings(t, f.Addrs(), map[string]any{"topic": "zero", "producer_request_acks": 0})), 5)
	if n := rig.SendN(t, w, rig.NewPlugin(rig.Settings(t, []string{rig.ClosedPort(t)}, map[string]any{"topic": "away", "producer_async_buffering_limits_messages_in_memory": 4})), 10); n != 4 {
		t.Errorf("%d were accepted", n)
	}
	rig.SendN(t, w, rig.NewPlugin(rig.Settings(t, f.Addrs(), map[string]any{"forward_body": false})), 2)
	rig.SendN(t, w, rig.NewPlugin(rig.Settings(t, f.Addrs(), map[string]any{"topic": "fault-panic"})), 1)
	want := map[string]float64{
		`kafka_upstream_requests_total{door="plugin_protocol",reason="sent",status="200"}`:        39,
		`kafka_upstream_requests_total{door="plugin_protocol",reason="buffer_full",status="503"}`: 6,
		`kafka_upstream_requests_total{door="plugin_protocol",reason="bad_config",status="500"}`:  2,
		`kafka_upstream_requests_total{door="plugin_protocol",reason="panic",status="500"}`:       1,
		`kafka_upstream_accepted_records_total{topic="t"}`:                                        30,
		`kafka_upstream_delivered_records_total{topic="t"}`:                                       30,
		`kafka_upstream_delivered_records_total{topic="zero"}`:                                    0,
		`kafka_upstream_sent_records_total{topic="zero"}`:                                         5,
		`kafka_upstream_accepted_records_total{topic="away"}`:                                     4,
		`kafka_upstream_buffered_records{topic="away"}`:                                           4,
		`kafka_upstream_buffered_records{topic="t"}`:                                              0,
	}
	// A request is counted once it was answered, so the last ones may be on their way.
	for name, v := range want {
		rig.Eventually(t, name+" is "+strconv.FormatFloat(v, 'f', -1, 64), func() bool {
			_, exposition := get(t, "http://"+address+"/metrics")
			return sample(exposition, name) == v
		})
	}
	if status, body := get(t, "http://"+address+"/healthz"); status != 200 {
		t.Errorf("healthz: %d %s", status, body)
	}
	// The buffer of "away" is full.
	if status, body := get(t, "http://"+address+"/readyz"); status != 503 || !strings.Contains(body, "away") {
		t.Errorf("readyz: %d %s", status, body)
	}
}
