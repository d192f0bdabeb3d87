package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record/registry"
)

func TestRequestsAreCountedByStatusAndReason(t *testing.T) {
	m := New("1.2.3", none)
	var c plugin.Counters
	c.Answered(plugin.Sent, 150*time.Microsecond)
	c.Answered(plugin.Sent, 150*time.Microsecond)
	c.Answered(plugin.BufferFull, time.Second)
	c.Answered(plugin.ShuttingDown, time.Second)
	m.Requests(DoorProtocol, c.Counts)
	const want = `
# HELP kafka_upstream_requests_total Requests that were answered, by the HTTP status of the answer, its reason, and how the request came here.
# TYPE kafka_upstream_requests_total counter
kafka_upstream_requests_total{door="plugin_protocol",reason="bad_config",status="500"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="bad_request",status="400"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="buffer_full",status="503"} 1
kafka_upstream_requests_total{door="plugin_protocol",reason="filtered",status="200"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="function_failed",status="500"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="memory_full",status="503"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="mismatch",status="400"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="no_body",status="500"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="no_certificate",status="502"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="no_schema",status="502"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="no_token",status="502"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="not_delivered",status="502"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="panic",status="500"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="sent",status="200"} 2
kafka_upstream_requests_total{door="plugin_protocol",reason="shutting_down",status="503"} 1
kafka_upstream_requests_total{door="plugin_protocol",reason="spool_failed",status="503"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="spool_full",status="503"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="timed_out",status="502"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="too_large",status="413"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="topic_not_allowed",status="502"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="unexpected",status="500"} 0
kafka_upstream_requests_total{door="plugin_protocol",reason="unhealthy",status="503"} 0
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), "kafka_upstream_requests_total"); err != nil {
		t.Error(err)
	}
	expect(t, m, map[string]float64{
		`kafka_upstream_request_duration_seconds_count{door="plugin_protocol",status="200"}`: 2,
		`kafka_upstream_request_duration_seconds_sum{door="plugin_protocol",status="200"}`:   0.0003,
		`kafka_upstream_request_duration_seconds_sum{door="plugin_protocol",status="503"}`:   2,
		`kafka_upstream_request_duration_seconds_count{door="plugin_protocol",status="500"}`: 0,
	})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, series := range []string{`{door="plugin_protocol",status="503",le="0.5"} 0`, `{door="plugin_protocol",status="503",le="1"} 2`, `{door="plugin_protocol",status="200",le="0.00025"} 2`, `{door="plugin_protocol",status="200",le="60"} 2`} {
		if !strings.Contains(w.Body.String(), "kafka_upstream_request_duration_seconds_bucket"+series+"\n") {
			t.Errorf("there is no bucket %s", series)
		}
	}
}

func TestTopicHasItsCountsAndAllOfThemFromTheStart(t *testing.T) {
	var topic producer.TopicStats
	m := New("1.2.3", func() producer.Stats {
		return producer.Stats{Topics: []producer.TopicStats{topic}, Connections: producer.ConnectionStats{Opened: 2, Closed: 1, Failed: failed(1)}}
	})
	topic.Topic = "orders"
	topic.Buffers = []producer.BufferStats{{Limit: producer.Amount{Records: 10, Bytes: 100}}}
	if got := testutil.CollectAndCount(collector{m}); got != 24+producer.Rejections+5*kafkaerr.Classes {
		t.Errorf("%d series of a topic to which nothing has happened yet", got)
	}
	topic = busyTopic("orders")
	expect(t, m, map[string]float64{
		`kafka_upstream_producers{topic="orders"}`:            2,
		`kafka_upstream_buffer_limit_records{topic="orders"}`: 110,
		`kafka_upstream_buffer_limit_bytes{topic="orders"}`:   1100,
		`kafka_upstream_buffer_fill_ratio{topic="orders"}`:    0.3, // of the fullest
		`kafka_upstream_stalled_seconds{topic="orders"}`:      2,   // of the most stalled

		`kafka_upstream_accepted_records_total{topic="orders"}`:                          10,
		`kafka_upstream_accepted_bytes_total{topic="orders"}`:                            50,
		`kafka_upstream_spooled_records_total{topic="orders"}`:                           9,
		`kafka_upstream_spooled_bytes_total{topic="orders"}`:                             45,
		`kafka_upstream_returned_records_total{topic="orders"}`:                          2,
		`kafka_upstream_returned_bytes_total{topic="orders"}`:                            10,
		`kafka_upstream_delivered_records_total{topic="orders"}`:                         2,
		`kafka_upstream_delivered_bytes_total{topic="orders"}`:                           10,
		`kafka_upstream_sent_records_total{topic="orders"}`:                              1,
		`kafka_upstream_sent_bytes_total{topic="orders"}`:                                5,
		`kafka_upstream_failed_records_total{reason="other",topic="orders"}`:             1,
		`kafka_upstream_failed_bytes_total{reason="other",topic="orders"}`:               5,
		`kafka_upstream_failed_records_total{reason="timeout",topic="orders"}`:           0,
		`kafka_upstream_undelivered_records_total{topic="orders"}`:                       1,
		`kafka_upstream_undelivered_bytes_total{topic="orders"}`:                         5,
		`kafka_upstream_buffered_records{topic="orders"}`:                                3,
		`kafka_upstream_buffered_bytes{topic="orders"}`:                                  15,
		`kafka_upstream_rejected_records_total{reason="too_large",topic="orders"}`:       1,
		`kafka_upstream_rejected_records_total{reason="buffer_full",topic="orders"}`:     2,
		`kafka_upstream_rejected_records_total{reason="memory_full",topic="orders"}`:     3,
		`kafka_upstream_rejected_records_total{reason="shutting_down",topic="orders"}`:   4,
		`kafka_upstream_rejected_records_total{reason="unhealthy",topic="orders"}`:       5,
		`kafka_upstream_rejected_records_total{reason="spool_full",topic="orders"}`:      6,
		`kafka_upstream_rejected_records_total{reason="spool_failed",topic="orders"}`:    7,
		`kafka_upstream_healthy{topic="orders"}`:                                         1,
		`kafka_upstream_compressed_batches_total{codec="lz4",topic="orders"}`:            3,
		`kafka_upstream_compression_input_bytes_total{codec="lz4",topic="orders"}`:       1000,
		`kafka_upstream_compression_output_bytes_total{codec="lz4",topic="orders"}`:      100,
		`kafka_upstream_compression_fallbacks_total{codec="lz4",topic="orders"}`:         1,
		`kafka_upstream_duplicate_batches_total{topic="orders"}`:                         2,
		`kafka_upstream_inexact_batches_total{reason="no_producer_id",topic="orders"}`:   4,
		`kafka_upstream_inexact_batches_total{reason="sequence_refused",topic="orders"}`: 5,
		`kafka_upstream_inexact_batches_total{reason="unknown_outcome",topic="orders"}`:  6,

		`kafka_upstream_produce_requests_total{topic="orders"}`:                        2,
		`kafka_upstream_produce_requests_failed_total{reason="other",topic="orders"}`:  1,
		`kafka_upstream_produce_retries_total{topic="orders"}`:                         1,
		`kafka_upstream_produce_request_duration_seconds_count{topic="orders"}`:        2,
		`kafka_upstream_produce_request_duration_seconds_sum{topic="orders"}`:          400.02, // one above the last bound
		`kafka_upstream_delivery_duration_seconds_count{topic="orders"}`:               1,
		`kafka_upstream_delivery_duration_seconds_sum{topic="orders"}`:                 0.15,
		`kafka_upstream_batch_records_count{topic="orders"}`:                           1,
		`kafka_upstream_batch_records_sum{topic="orders"}`:                             2,
		`kafka_upstream_batch_bytes_sum{topic="orders"}`:                               10,
		`kafka_upstream_metadata_requests_total{topic="orders"}`:                       2,
		`kafka_upstream_metadata_requests_failed_total{reason="other",topic="orders"}`: 1,
		`kafka_upstream_connections`:                                                   1,
		`kafka_upstream_connections_opened_total`:                                      2,
		`kafka_upstream_connections_failed_total{reason="other"}`:                      1,
	})
	topic.Buffers = nil // its producers are closed
	expect(t, m, map[string]float64{
		`kafka_upstream_producers{topic="orders"}`:              0,
		`kafka_upstream_buffer_limit_records{topic="orders"}`:   0,
		`kafka_upstream_buffer_fill_ratio{topic="orders"}`:      0,
		`kafka_upstream_accepted_records_total{topic="orders"}`: 10,
		`kafka_upstream_buffered_records{topic="orders"}`:       3, // not lost from the sums
	})
}

func TestTopicIsHealthyIfAllItsProducersAre(t *testing.T) {
	topic := producer.TopicStats{Topic: "orders", Buffers: make([]producer.BufferStats, 2)}
	m := New("1.2.3", func() producer.Stats { return producer.Stats{Topics: []producer.TopicStats{topic}} })
	const series = `kafka_upstream_healthy{topic="orders"}`
	if v, ok := scrape(t, m)[series]; ok {
		t.Errorf("without gating it is %v", v)
	}
	topic.Buffers[0].Gated = true
	expect(t, m, map[string]float64{series: 1})
	topic.Buffers[0].Unhealthy = true
	expect(t, m, map[string]float64{series: 0})
}

func TestSchemasAreCounted(t *testing.T) {
	m := New("1.2.3", none)
	m.Schemas(func() registry.Stats {
		s := registry.Stats{Stale: 1500 * time.Millisecond}
		s.Schemas[registry.Stale], s.Schemas[registry.Missing] = 2, 1
		s.Fetches[registry.Fetched], s.Fetches[registry.Unavailable] = 5, 3
		return s
	})
	expect(t, m, map[string]float64{
		`kafka_upstream_schemas{state="current"}`:                   0,
		`kafka_upstream_schemas{state="stale"}`:                     2,
		`kafka_upstream_schemas{state="missing"}`:                   1,
		`kafka_upstream_schema_stale_seconds`:                       1.5,
		`kafka_upstream_schema_fetches_total{result="fetched"}`:     5,
		`kafka_upstream_schema_fetches_total{result="unavailable"}`: 3,
		`kafka_upstream_schema_fetches_total{result="unusable"}`:    0,
	})
}

func TestBuildInfoNamesVersionAndGo(t *testing.T) {
	values := scrape(t, New("1.2.3", none))
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
	a, b := New("1", none), New("1", none)
	var counts plugin.Counters
	counts.Answered(plugin.Sent, 0)
	a.Requests(DoorProtocol, counts.Counts)
	b.Requests(DoorProtocol, new(plugin.Counters).Counts)
	const series = `kafka_upstream_requests_total{door="plugin_protocol",reason="sent",status="200"}`
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

// With as many topics as there may be, all of them at work and some brokers away, a
// scrape is no load to anybody.
func TestScrapeOfAThousandTopicsIsBounded(t *testing.T) {
	var stats producer.Stats
	for i := range producer.MaxTopics {
		stats.Topics = append(stats.Topics, busyTopic(fmt.Sprintf("topic-%d", i)))
	}
	last := &stats.Topics[producer.MaxTopics-1]
	last.Unconfirmed, last.Undelivered, last.MetadataRequestsFailed = producer.Amount{}, producer.Amount{}, failed(0)
	m := New("1.2.3", func() producer.Stats { return stats })
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if size := w.Body.Len(); size > 4<<20 {
		t.Errorf("%d bytes", size)
	}
	expect(t, m, map[string]float64{
		`kafka_upstream_delivery_duration_seconds_count{topic="topic-0"}`:                 1,
		`kafka_upstream_produce_requests_failed_total{reason="tls",topic="topic-0"}`:      0,
		`kafka_upstream_undelivered_records_total{topic="topic-0"}`:                       1,
		`kafka_upstream_delivery_duration_seconds_count{topic="(other)"}`:                 producer.MaxTopics - detailedTopics,
		`kafka_upstream_failed_records_total{reason="tls",topic="topic-999"}`:             0,
		`kafka_upstream_produce_requests_failed_total{reason="other",topic="topic-999"}`:  1,
		`kafka_upstream_metadata_requests_failed_total{reason="other",topic="topic-999"}`: 0, // for sums
		`kafka_upstream_buffered_records{topic="topic-999"}`:                              3,
	})
	values := scrape(t, m)
	for _, name := range []string{`delivery_duration_seconds_count{topic="topic-999"}`, `produce_requests_failed_total{reason="tls",topic="topic-999"}`, `undelivered_records_total{topic="topic-999"}`} {
		if hasSeries(values, namespace+"_"+name) {
			t.Errorf("there is %s", name)
		}
	}
	all, err := testutil.GatherAndCount(m.registry)
	if err != nil || all > 110*(producer.MaxTopics+1)+1000 {
		t.Errorf("%d series, %v", all, err)
	}
}

func hasSeries(values map[string]float64, series string) bool {
	_, ok := values[series]
	return ok
}

func FuzzTopic(f *testing.F) {
	for _, s := range []string{"orders", "", "(other)", "a\nb", `"`, `\`, "\xff", "ü", "{}", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		pool := producer.NewPool(producer.PoolOptions{Log: slog.New(slog.DiscardHandler), Security: func(context.Context, producer.Options) (producer.Access, error) {
			return producer.Access{}, nil
		}})
		defer pool.Close(t.Context())
		h, err := pool.Acquire(t.Context(), producer.Options{BatchRecords: 1}, topic)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Send(t.Context(), producer.Record{Topic: topic}); err == nil {
			t.Fatal("accepted by a buffer without room")
		}
		m := New("1.2.3", pool.Stats)
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
	m.Requests(DoorProtocol, nil)
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
}
