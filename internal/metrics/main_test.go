package metrics

import (
	"maps"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scrape returns the values of all series by their text, such as
// kafka_upstream_connections{topic="t"}; of a histogram its count and sum, with
// these suffixes.
func scrape(t testing.TB, m *Metrics) map[string]float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		for _, s := range f.Metric {
			labels := labelText(s)
			switch {
			case s.Counter != nil:
				values[f.GetName()+labels] = s.Counter.GetValue()
			case s.Gauge != nil:
				values[f.GetName()+labels] = s.Gauge.GetValue()
			case s.Histogram != nil:
				values[f.GetName()+"_count"+labels] = float64(s.Histogram.GetSampleCount())
				values[f.GetName()+"_sum"+labels] = s.Histogram.GetSampleSum()
			}
		}
	}
	return values
}

func labelText(s *dto.Metric) string {
	if len(s.Label) == 0 {
		return ""
	}
	var parts []string
	for _, l := range s.Label {
		parts = append(parts, l.GetName()+`="`+l.GetValue()+`"`)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// expect compares the series that want names, and only those.
func expect(t *testing.T, m *Metrics, want map[string]float64) {
	t.Helper()
	got := scrape(t, m)
	for series, v := range want {
		if g, ok := got[series]; !ok || g != v {
			t.Errorf("%s is %v (there: %v), want %v", series, g, ok, v)
		}
	}
	if t.Failed() {
		maps.DeleteFunc(got, func(name string, v float64) bool { return v == 0 || !strings.HasPrefix(name, namespace) })
		t.Logf("the series that are not 0: %v", got)
	}
}

func none() producer.Stats { return producer.Stats{} }

// busyTopic is a topic in which something of every kind has happened, with two producers.
func busyTopic(name string) producer.TopicStats {
	t := producer.TopicStats{
		Topic:       name,
		Accepted:    producer.Amount{Records: 10, Bytes: 50},
		Delivered:   producer.Amount{Records: 3, Bytes: 15},
		Unconfirmed: producer.Amount{Records: 1, Bytes: 5},
		Undelivered: producer.Amount{Records: 1, Bytes: 5},
		Buffered:    producer.Amount{Records: 3, Bytes: 15},
		Rejected: [producer.Rejections]int64{
			producer.TooLarge: 1, producer.BufferFull: 2, producer.MemoryFull: 3, producer.ShuttingDown: 4, producer.Unhealthy: 5,
			producer.SpoolFull: 6, producer.SpoolFailed: 7,
		},
		Appended:        producer.Amount{Records: 9, Bytes: 45},
		Returned:        producer.Amount{Records: 2, Bytes: 10},
		ProduceRequests: 2, ProduceRequestsFailed: failed(1), Retries: 1,
		MetadataRequests: 2, MetadataRequestsFailed: failed(1),
		Buffers: []producer.BufferStats{
			{Limit: producer.Amount{Records: 10, Bytes: 1000}, Fill: 0.3, Stalled: time.Second},
			{Limit: producer.Amount{Records: 100, Bytes: 100}, Fill: 0.1, Stalled: 2 * time.Second, Gated: true},
		},
	}
	t.Compression[producer.Lz4] = producer.CompressionStats{Configured: true, Batches: 3, Uncompressed: 1, Before: 1000, After: 100}
	t.Idempotence = producer.IdempotenceStats{Configured: true, Duplicates: 2, Inexact: [producer.Inexactnesses]int64{4, 5, 6}}
	t.Failed[kafkaerr.Other] = producer.Amount{Records: 1, Bytes: 5}
	t.RequestDuration.Observe(producer.DurationBounds, 0.02)
	t.RequestDuration.Observe(producer.DurationBounds, 400)
	t.DeliveryDuration.Observe(producer.DurationBounds, 0.15)
	t.BatchRecords.Observe(producer.RecordsBounds, 2)
	t.BatchBytes.Observe(producer.BytesBounds, 10)
	return t
}

// failed has n failures for another reason.
func failed(n int64) (counts [kafkaerr.Classes]int64) {
	counts[kafkaerr.Other] = n
	return counts
}

// everything has each metric.
func everything() *Metrics {
	m := New("1.2.3", func() producer.Stats { return producer.Stats{Topics: []producer.TopicStats{busyTopic("orders")}} })
	m.Memory(memory.NewLimit(1000))
	m.Requests(DoorProtocol, new(plugin.Counters).Counts)
	m.Schemas(new(registry.Pool).Stats)
	m.Spool(func() (producer.SpoolStats, bool) { return producer.SpoolStats{}, true })
	return m
}

// failureLabels returns the values of the label reason for failures.
func failureLabels() (labels []string) {
	for c := range kafkaerr.Class(kafkaerr.Classes) {
		labels = append(labels, c.String())
	}
	return labels
}
