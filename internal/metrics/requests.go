package metrics

import (
	"iter"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"kafka-upstream/internal/plugin"
)

// Requests exposes the requests that were answered. Each scrape calls counts.
func (m *Metrics) Requests(counts func() iter.Seq[plugin.Counts]) {
	if m != nil {
		m.registry.MustRegister(requestCollector(counts))
	}
}

type requestCollector func() iter.Seq[plugin.Counts]

var (
	descAnswers = prometheus.NewDesc(namespace+"_requests_total",
		"Requests that were answered, by the HTTP status of the answer and its reason.", []string{"status", "reason"}, nil)
	descAnswerDuration = prometheus.NewDesc(namespace+"_request_duration_seconds",
		"Time from the arrival of a request, as Kong announces it, to its answer.", []string{"status"}, nil)
)

// Describe implements prometheus.Collector.
func (requestCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descAnswers
	ch <- descAnswerDuration
}

// Collect implements prometheus.Collector. The histograms are those of the reasons with
// the same status together.
func (c requestCollector) Collect(ch chan<- prometheus.Metric) {
	byStatus := make(map[int]plugin.Counts)
	for r := range c() {
		ch <- prometheus.MustNewConstMetric(descAnswers, prometheus.CounterValue, float64(r.Count), strconv.Itoa(r.Status), r.Reason)
		sum, ok := byStatus[r.Status]
		if !ok {
			sum.Buckets = make(map[float64]uint64, len(r.Buckets))
		}
		sum.Count += r.Count
		sum.Seconds += r.Seconds
		for bound, n := range r.Buckets {
			sum.Buckets[bound] += n
		}
		byStatus[r.Status] = sum
	}
	for status, sum := range byStatus {
		ch <- prometheus.MustNewConstHistogram(descAnswerDuration, sum.Count, sum.Seconds, sum.Buckets, strconv.Itoa(status))
	}
}
