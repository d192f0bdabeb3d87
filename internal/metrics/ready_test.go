package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kafka-upstream/internal/producer"
)

func get(t *testing.T, h http.Handler, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// isReady checks /readyz and the metric: want is "" for ready.
func isReady(t *testing.T, m *Metrics, want string) {
	t.Helper()
	wantStatus, wantMetric := http.StatusOK, 1.0
	if want == "" {
		want = "ready\n"
	} else {
		wantStatus, wantMetric = http.StatusServiceUnavailable, 0
	}
	if status, body := get(t, m.Handler(), "/readyz"); status != wantStatus || body != want {
		t.Errorf("got  %d %q\nwant %d %q", status, body, wantStatus, want)
	}
	if got := scrape(t, m)["kafka_upstream_ready"]; got != wantMetric {
		t.Errorf("kafka_upstream_ready is %v", got)
	}
}

func TestBufferThatIsOver90PercentFullIsNotReady(t *testing.T) {
	buffer := producer.BufferStats{Buffered: producer.Amount{Records: 9, Bytes: 90}, Fill: 0.9}
	m := New("1.2.3", buffers("orders", &buffer))
	isReady(t, m, "")
	buffer = producer.BufferStats{Buffered: producer.Amount{Records: 2, Bytes: 960}, Fill: 0.96}
	isReady(t, m, "topic orders: the buffer is 96 % full (2 records, 960 bytes)\n")
	buffer.Orphaned = true
	isReady(t, m, "")
}

func TestProducerThatDeliversNothingFor30SecondsIsNotReady(t *testing.T) {
	buffer := producer.BufferStats{Buffered: producer.Amount{Records: 2, Bytes: 2}, Stalled: 29 * time.Second}
	m := New("1.2.3", buffers("orders", &buffer))
	isReady(t, m, "")
	buffer.Stalled = 30*time.Second + 5*time.Millisecond
	isReady(t, m, "topic orders: nothing was delivered for 30s (records in the buffer: 2)\n")
	buffer.Orphaned = true
	isReady(t, m, "")
}

func TestProducerThatIsUnhealthyIsNotReady(t *testing.T) {
	buffer := producer.BufferStats{Gated: true}
	m := New("1.2.3", buffers("orders", &buffer))
	isReady(t, m, "")
	buffer.Unhealthy = true
	isReady(t, m, "topic orders: the producer is unhealthy, and rejects records\n")
	buffer.Orphaned = true
	isReady(t, m, "")
}

func TestServerThatShutsDownIsNotReady(t *testing.T) {
	full := producer.BufferStats{Buffered: producer.Amount{Records: 1, Bytes: 1}, Fill: 1}
	b, a := buffers("b", &full)(), buffers("a", &full)()
	m := New("1.2.3", func() producer.Stats { return producer.Stats{Topics: append(b.Topics, a.Topics...)} })
	m.NotReady("the server is shutting down")
	isReady(t, m, "the server is shutting down\n"+
		"topic a: the buffer is 100 % full (1 records, 1 bytes)\n"+
		"topic b: the buffer is 100 % full (1 records, 1 bytes)\n")
	m.NotReady("")
	if status, body := get(t, m.Handler(), "/readyz"); status != 503 || strings.Contains(body, "shutting") {
		t.Errorf("%d %s", status, body)
	}
}

// buffers returns the stats of a topic with one producer.
func buffers(topic string, b *producer.BufferStats) func() producer.Stats {
	return func() producer.Stats {
		return producer.Stats{Topics: []producer.TopicStats{{Topic: topic, Buffers: []producer.BufferStats{*b}}}}
	}
}
