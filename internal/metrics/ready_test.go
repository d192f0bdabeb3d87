package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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
	m := New("1.2.3")
	p := m.Producer("orders", 1, Limits{Records: 10, Bytes: 1000})
	for range 9 {
		p.Accepted(10)
	}
	isReady(t, m, "")
	p.Accepted(10)
	isReady(t, m, "topic orders: the buffer is 100 % full (10 records, 100 bytes)\n")
	p.Delivered(9, 90)
	isReady(t, m, "")
	p.Accepted(950)
	isReady(t, m, "topic orders: the buffer is 96 % full (2 records, 960 bytes)\n")
	p.Close()
	isReady(t, m, "")
}

func TestProducerThatDeliversNothingFor30SecondsIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New("1.2.3")
		p := m.Producer("orders", 1, Limits{Records: 100, Bytes: 1000})
		time.Sleep(time.Hour) // idle
		isReady(t, m, "")
		p.Accepted(1)
		isReady(t, m, "")
		time.Sleep(29 * time.Second)
		p.Accepted(1)
		isReady(t, m, "")
		time.Sleep(time.Second)
		isReady(t, m, "topic orders: nothing was delivered for 30s (records in the buffer: 2)\n")
		p.Delivered(1, 1)
		isReady(t, m, "") // one still waits, but they move
		time.Sleep(time.Minute)
		isReady(t, m, "topic orders: nothing was delivered for 1m0s (records in the buffer: 1)\n")
		p.Delivered(1, 1)
		isReady(t, m, "")
	})
}

func TestProducerThatLosesAllItIsGivenIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New("1.2.3")
		p := m.Producer("orders", 1, Limits{})
		p.Accepted(1)
		p.Delivered(1, 1)
		for range 31 { // the buffer is empty each time
			isReady(t, m, "")
			p.Accepted(1)
			p.Failed(errTest, 1, 1)
			time.Sleep(time.Second)
		}
		isReady(t, m, "") // nothing waits
		p.Accepted(1)
		isReady(t, m, "topic orders: nothing was delivered for 31s (records in the buffer: 1)\n")
		p.Delivered(1, 1)
		p.Accepted(1)
		isReady(t, m, "")
	})
}

func TestFailureOfLongAgoDoesNotMakeANewRecordLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New("1.2.3")
		p := m.Producer("orders", 1, Limits{})
		p.Accepted(1)
		p.Failed(errTest, 1, 1)
		time.Sleep(30 * time.Second)
		p.Accepted(1)
		isReady(t, m, "")
	})
}

// A record may be meant to wait for longer than half a minute.
func TestProducerIsNotStalledWhileItsBatchFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New("1.2.3")
		p := m.Producer("orders", 1, Limits{Linger: time.Minute})
		p.Accepted(1)
		time.Sleep(time.Minute)
		expect(t, m, map[string]float64{`kafka_upstream_stalled_seconds{topic="orders"}`: 0})
		time.Sleep(29 * time.Second)
		isReady(t, m, "")
		expect(t, m, map[string]float64{`kafka_upstream_stalled_seconds{topic="orders"}`: 29})
		time.Sleep(time.Second)
		isReady(t, m, "topic orders: nothing was delivered for 30s (records in the buffer: 1)\n")
		p.Delivered(1, 1)
		expect(t, m, map[string]float64{`kafka_upstream_stalled_seconds{topic="orders"}`: 0})
	})
}

func TestRecordsSentWithoutAcknowledgementAreProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New("1.2.3")
		p := m.Producer("orders", 0, Limits{})
		p.Accepted(1)
		p.Accepted(1)
		time.Sleep(20 * time.Second)
		p.Delivered(1, 1)
		time.Sleep(20 * time.Second)
		isReady(t, m, "")
	})
}

func TestServerThatShutsDownIsNotReady(t *testing.T) {
	m := New("1.2.3")
	m.Producer("b", 1, Limits{Records: 1}).Accepted(1)
	m.Producer("a", 1, Limits{Records: 1}).Accepted(1)
	m.NotReady("the server is shutting down")
	isReady(t, m, "the server is shutting down\n"+
		"topic a: the buffer is 100 % full (1 records, 1 bytes)\n"+
		"topic b: the buffer is 100 % full (1 records, 1 bytes)\n")
	m.NotReady("")
	if status, body := get(t, m.Handler(), "/readyz"); status != 503 || strings.Contains(body, "shutting") {
		t.Errorf("%d %s", status, body)
	}
}
