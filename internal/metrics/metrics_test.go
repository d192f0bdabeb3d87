package metrics

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
)

var errTest = errors.New("an error of the test")

func TestRequestsAreCountedByStatusAndReason(t *testing.T) {
	m := New("1.2.3")
	m.Requests(func() iter.Seq[RequestCounts] {
		return slices.Values([]RequestCounts{
			{200, "sent", 2, 0.0003, map[float64]uint64{0.001: 2, 1: 2}},
			{503, "buffer_full", 1, 1, map[float64]uint64{0.001: 0, 1: 1}},
			{503, "shutting_down", 2, 0.5, map[float64]uint64{0.001: 1, 1: 2}},
		})
	})
	const want = `
# HELP kafka_upstream_requests_total Requests that were answered, by the HTTP status of the answer and its reason.
# TYPE kafka_upstream_requests_total counter
kafka_upstream_requests_total{reason="buffer_full",status="503"} 1
kafka_upstream_requests_total{reason="sent",status="200"} 2
kafka_upstream_requests_total{reason="shutting_down",status="503"} 2
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), "kafka_upstream_requests_total"); err != nil {
		t.Error(err)
	}
	expect(t, m, map[string]float64{
		`kafka_upstream_request_duration_seconds_count{status="200"}`: 2,
		`kafka_upstream_request_duration_seconds_sum{status="200"}`:   0.0003,
		`kafka_upstream_request_duration_seconds_count{status="503"}`: 3,
		`kafka_upstream_request_duration_seconds_sum{status="503"}`:   1.5,
	})
	const histogram = `
# HELP kafka_upstream_request_duration_seconds Time from the arrival of a request, as Kong announces it, to its answer.
# TYPE kafka_upstream_request_duration_seconds histogram
kafka_upstream_request_duration_seconds_bucket{status="200",le="0.001"} 2
kafka_upstream_request_duration_seconds_bucket{status="200",le="1"} 2
kafka_upstream_request_duration_seconds_bucket{status="200",le="+Inf"} 2
kafka_upstream_request_duration_seconds_sum{status="200"} 0.0003
kafka_upstream_request_duration_seconds_count{status="200"} 2
kafka_upstream_request_duration_seconds_bucket{status="503",le="0.001"} 1
kafka_upstream_request_duration_seconds_bucket{status="503",le="1"} 3
kafka_upstream_request_duration_seconds_bucket{status="503",le="+Inf"} 3
kafka_upstream_request_duration_seconds_sum{status="503"} 1.5
kafka_upstream_request_duration_seconds_count{status="503"} 3
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(histogram), "kafka_upstream_request_duration_seconds"); err != nil {
		t.Error(err)
	}
}

func TestTopicHasItsCountsAndAllOfThemFromTheStart(t *testing.T) {
	m := New("1.2.3")
	p := m.Producer("orders", 1, Limits{Records: 10, Bytes: 100})
	if got := testutil.CollectAndCount(collector{m}); got != 20+refusals+5*len(failureNames) {
		t.Errorf("%d series of a topic to which nothing has happened yet", got)
	}
	for range 7 {
		p.Accepted(5)
	}
	p.Refused(BufferFull)
	p.Refused(TooLarge)
	p.Refused(ShuttingDown)
	p.Refused(Reason(200)) // makes no sense
	p.Batch(2, 10)
	p.Attempt(false, 20*time.Millisecond, errTest)
	p.Attempt(true, 30*time.Millisecond, nil)
	p.Produced(150 * time.Millisecond)
	p.Delivered(2, 10)
	p.Failed(errTest, 1, 5)
	p.Left(1, 5)
	p.Lookup(nil)
	p.Lookup(errTest)
	closed := p.ConnectionOpened()
	p.ConnectionOpened()
	closed()
	closed() // counts once
	p.ConnectionFailed(errTest)
	expect(t, m, map[string]float64{
		`kafka_upstream_producers{topic="orders"}`:            1,
		`kafka_upstream_buffer_limit_records{topic="orders"}`: 10,
		`kafka_upstream_buffer_limit_bytes{topic="orders"}`:   100,
		`kafka_upstream_buffer_fill_ratio{topic="orders"}`:    0.3,

		`kafka_upstream_accepted_records_total{topic="orders"}`:                       7,
		`kafka_upstream_accepted_bytes_total{topic="orders"}`:                         35,
		`kafka_upstream_delivered_records_total{topic="orders"}`:                      2,
		`kafka_upstream_delivered_bytes_total{topic="orders"}`:                        10,
		`kafka_upstream_sent_records_total{topic="orders"}`:                           0,
		`kafka_upstream_failed_records_total{reason="other",topic="orders"}`:          1,
		`kafka_upstream_failed_bytes_total{reason="other",topic="orders"}`:            5,
		`kafka_upstream_failed_records_total{reason="timeout",topic="orders"}`:        0,
		`kafka_upstream_left_records_total{topic="orders"}`:                           1,
		`kafka_upstream_left_bytes_total{topic="orders"}`:                             5,
		`kafka_upstream_buffered_records{topic="orders"}`:                             3,
		`kafka_upstream_buffered_bytes{topic="orders"}`:                               15,
		`kafka_upstream_refused_records_total{reason="buffer_full",topic="orders"}`:   1,
		`kafka_upstream_refused_records_total{reason="too_large",topic="orders"}`:     1,
		`kafka_upstream_refused_records_total{reason="shutting_down",topic="orders"}`: 1,
		`kafka_upstream_refused_records_total{reason="other",topic="orders"}`:         1,

		`kafka_upstream_attempts_total{topic="orders"}`:                          2,
		`kafka_upstream_attempts_failed_total{reason="other",topic="orders"}`:    1,
		`kafka_upstream_retries_total{topic="orders"}`:                           1,
		`kafka_upstream_attempt_duration_seconds_count{topic="orders"}`:          2,
		`kafka_upstream_attempt_duration_seconds_sum{topic="orders"}`:            0.05,
		`kafka_upstream_produce_duration_seconds_count{topic="orders"}`:          1,
		`kafka_upstream_produce_duration_seconds_sum{topic="orders"}`:            0.15,
		`kafka_upstream_batch_records_count{topic="orders"}`:                     1,
		`kafka_upstream_batch_records_sum{topic="orders"}`:                       2,
		`kafka_upstream_batch_bytes_sum{topic="orders"}`:                         10,
		`kafka_upstream_lookups_total{topic="orders"}`:                           2,
		`kafka_upstream_lookups_failed_total{reason="other",topic="orders"}`:     1,
		`kafka_upstream_connections{topic="orders"}`:                             1,
		`kafka_upstream_connections_opened_total{topic="orders"}`:                2,
		`kafka_upstream_connections_failed_total{reason="other",topic="orders"}`: 1,
	})
}

func TestRecordsWithoutAcknowledgementAreSentAndNotDelivered(t *testing.T) {
	m := New("1.2.3")
	p := m.Producer("sensors", 0, Limits{})
	p.Accepted(5)
	p.Delivered(1, 5)
	expect(t, m, map[string]float64{
		`kafka_upstream_sent_records_total{topic="sensors"}`:      1,
		`kafka_upstream_sent_bytes_total{topic="sensors"}`:        5,
		`kafka_upstream_delivered_records_total{topic="sensors"}`: 0,
		`kafka_upstream_delivered_bytes_total{topic="sensors"}`:   0,
	})
}

func TestProducersToOneTopicAddUpAndTheFullestCounts(t *testing.T) {
	m := New("1.2.3")
	a := m.Producer("orders", -1, Limits{Records: 10, Bytes: 1000})
	b := m.Producer("orders", 1, Limits{Records: 100, Bytes: 100})
	for range 3 {
		a.Accepted(10)
		b.Accepted(15)
	}
	want := map[string]float64{
		`kafka_upstream_producers{topic="orders"}`:              2,
		`kafka_upstream_buffer_limit_records{topic="orders"}`:   110,
		`kafka_upstream_buffer_limit_bytes{topic="orders"}`:     1100,
		`kafka_upstream_accepted_records_total{topic="orders"}`: 6,
		`kafka_upstream_buffered_records{topic="orders"}`:       6,
		`kafka_upstream_buffered_bytes{topic="orders"}`:         75,
		`kafka_upstream_buffer_fill_ratio{topic="orders"}`:      0.45, // b's bytes
	}
	expect(t, m, want)

	b.Close()
	b.Close() // once more is fine
	want[`kafka_upstream_producers{topic="orders"}`] = 1
	want[`kafka_upstream_buffer_limit_records{topic="orders"}`] = 10
	want[`kafka_upstream_buffer_limit_bytes{topic="orders"}`] = 1000
	want[`kafka_upstream_buffer_fill_ratio{topic="orders"}`] = 0.3
	expect(t, m, want) // what b has is not lost from the sums

	b.Delivered(3, 45) // late
	want[`kafka_upstream_buffered_records{topic="orders"}`] = 3
	want[`kafka_upstream_buffered_bytes{topic="orders"}`] = 30
	want[`kafka_upstream_delivered_records_total{topic="orders"}`] = 3
	expect(t, m, want)

	a.Close()
	want[`kafka_upstream_producers{topic="orders"}`] = 0
	want[`kafka_upstream_buffer_limit_records{topic="orders"}`] = 0
	want[`kafka_upstream_buffer_limit_bytes{topic="orders"}`] = 0
	want[`kafka_upstream_buffer_fill_ratio{topic="orders"}`] = 0
	expect(t, m, want) // counters stay
}

func TestLimitOfZeroIsNoLimit(t *testing.T) {
	m := New("1.2.3")
	p := m.Producer("orders", 1, Limits{})
	p.Accepted(1 << 40)
	expect(t, m, map[string]float64{`kafka_upstream_buffer_fill_ratio{topic="orders"}`: 0, `kafka_upstream_ready`: 1})
}

func TestBuildInfoNamesVersionAndGo(t *testing.T) {
	values := scrape(t, New("1.2.3"))
	if n := testutil.CollectAndCount(buildInfo("1.2.3")); n != 1 {
		t.Errorf("%d series of build_info", n)
	}
	found := false
	for series, v := range values {
		found = found || v == 1 && strings.HasPrefix(series, `kafka_upstream_build_info{goversion="`+runtime.Version()+`"`) && strings.Contains(series, `version="1.2.3"`)
	}
	if !found {
		t.Error("build_info is not there")
	}
	for _, name := range []string{"go_goroutines", "go_memstats_alloc_bytes"} {
		if values[name] == 0 {
			t.Errorf("%s is not there", name)
		}
	}
	if runtime.GOOS == "linux" && values["process_resident_memory_bytes"] == 0 {
		t.Error("process_resident_memory_bytes is not there")
	}
}

func TestTwoSetsOfMetricsKeepApart(t *testing.T) {
	a, b := New("1"), New("1")
	a.Producer("orders", 1, Limits{}).Accepted(1)
	b.Producer("orders", 1, Limits{})
	const series = `kafka_upstream_accepted_records_total{topic="orders"}`
	expect(t, a, map[string]float64{series: 1})
	expect(t, b, map[string]float64{series: 0})
}

func TestExpositionHasNothingThatPrometheusFrownsOn(t *testing.T) {
	problems, err := testutil.GatherAndLint(everything().registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestNumberOfSeriesIsBounded(t *testing.T) {
	m := New("1.2.3")
	for i := range maxTopics + 50 {
		p := m.Producer(fmt.Sprintf("topic-%d", i), 1, Limits{})
		p.Accepted(1)
		p.Failed(fmt.Errorf("error %d", i), 1, 1)
	}
	topics := testutil.CollectAndCount(collector{m}, "kafka_upstream_producers")
	if topics != maxTopics+1 {
		t.Errorf("%d topics", topics)
	}
	expect(t, m, map[string]float64{
		`kafka_upstream_producers{topic="topic-999"}`:                         1,
		`kafka_upstream_producers{topic="(other)"}`:                           50,
		`kafka_upstream_accepted_records_total{topic="(other)"}`:              50,
		`kafka_upstream_failed_records_total{reason="other",topic="(other)"}`: 50,
	})
	if m.Producer("topic-7", 1, Limits{}).topic.name != "topic-7" {
		t.Error("a topic that is known is not found any more")
	}
	all, err := testutil.GatherAndCount(m.registry)
	if err != nil || all > 110*(maxTopics+1)+1000 {
		t.Errorf("%d series, %v", all, err)
	}
}

// With as many topics as there may be, all of them at work and some brokers away, a
// scrape is no load to anybody.
func TestScrapeOfAThousandTopicsIsBounded(t *testing.T) {
	m := New("1.2.3")
	for i := range maxTopics {
		p := m.Producer(fmt.Sprintf("topic-%d", i), 1, Limits{Records: 50000, Bytes: 256 << 20})
		for range 1234 {
			p.Accepted(1024)
		}
		p.Delivered(1000, 1000<<10)
		p.Batch(1000, 1000<<10)
		p.Attempt(false, 3*time.Millisecond, nil)
		p.Attempt(true, 3*time.Millisecond, errTest)
		p.Produced(6 * time.Millisecond)
		p.ConnectionOpened()
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if size := w.Body.Len(); size > 4<<20 {
		t.Errorf("%d bytes", size)
	}
	first, last := 0, maxTopics-1
	expect(t, m, map[string]float64{
		fmt.Sprintf(`kafka_upstream_produce_duration_seconds_count{topic="topic-%d"}`, first):      1,
		fmt.Sprintf(`kafka_upstream_attempts_failed_total{reason="tls",topic="topic-%d"}`, first):  0,
		fmt.Sprintf(`kafka_upstream_left_records_total{topic="topic-%d"}`, first):                  0,
		`kafka_upstream_produce_duration_seconds_count{topic="(other)"}`:                           maxTopics - detailedTopics,
		fmt.Sprintf(`kafka_upstream_failed_records_total{reason="tls",topic="topic-%d"}`, last):    0,
		fmt.Sprintf(`kafka_upstream_attempts_failed_total{reason="other",topic="topic-%d"}`, last): 1,
		fmt.Sprintf(`kafka_upstream_lookups_failed_total{reason="other",topic="topic-%d"}`, last):  0, // for what adds them
		fmt.Sprintf(`kafka_upstream_buffered_records{topic="topic-%d"}`, last):                     234,
	})
	values := scrape(t, m)
	for _, name := range []string{`produce_duration_seconds_count{topic="topic-%d"}`, `attempts_failed_total{reason="tls",topic="topic-%d"}`, `left_records_total{topic="topic-%d"}`} {
		if series := namespace + "_" + fmt.Sprintf(name, last); hasSeries(values, series) {
			t.Errorf("there is %s", series)
		}
	}
}

func hasSeries(values map[string]float64, series string) bool {
	_, ok := values[series]
	return ok
}

func TestTopicThatIsNoNameDoesNotSpoilTheExposition(t *testing.T) {
	m := New("1.2.3")
	m.Producer("\xff\xfe", 1, Limits{}).Accepted(1)
	m.Producer(strings.Repeat("x", 250), 1, Limits{}).Accepted(1)
	m.Producer("other", 1, Limits{}).Accepted(1) // is a topic like any
	expect(t, m, map[string]float64{
		`kafka_upstream_accepted_records_total{topic="(other)"}`: 2,
		`kafka_upstream_accepted_records_total{topic="other"}`:   1,
	})
}

func FuzzTopic(f *testing.F) {
	for _, s := range []string{"orders", "", "(other)", "a\nb", `"`, `\`, "\xff", "ü", "{}", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		m := New("1.2.3")
		m.Producer(topic, 1, Limits{}).Accepted(1)
		b, err := testutil.GatherAndFormat(m.registry, expfmt.TypeTextPlain, "kafka_upstream_accepted_records_total")
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), "kafka_upstream_accepted_records_total{topic="); n != 1 {
			t.Errorf("%d series", n)
		}
	})
}

func TestMetricsThatAreOffDoNothing(t *testing.T) {
	var m *Metrics
	m.Requests(nil)
	m.NotReady("shutting down")
	if m.Handler() == nil {
		t.Error("there is no handler")
	}
	s, err := m.Serve(t.Context(), "127.0.0.1:0", nil)
	if s != nil || err != nil {
		t.Errorf("Serve returns %v, %v", s, err)
	}
	if s.Addr() != nil {
		t.Error("it has an address")
	}
	s.Wait()

	p := m.Producer("orders", 1, Limits{Records: 1, Bytes: 1})
	if p != nil {
		t.Fatal("there is a producer")
	}
	p.Accepted(1)
	p.Refused(BufferFull)
	p.Delivered(1, 1)
	p.Failed(errTest, 1, 1)
	p.Left(1, 1)
	p.Batch(1, 1)
	p.Attempt(true, 0, errTest)
	p.Produced(0)
	p.Lookup(errTest)
	p.ConnectionOpened()()
	p.ConnectionFailed(errTest)
	p.Close()
}
