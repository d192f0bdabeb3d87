package metrics

import (
	"iter"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// RequestCounts are the requests that were answered for one reason.
type RequestCounts struct {
	Status  int
	Reason  string
	Count   uint64
	Seconds float64            // that all of them took together
	Buckets map[float64]uint64 // how many took at most so many seconds
}

// Requests exposes the requests that were answered. counts is called by each scrape.
func (m *Metrics) Requests(counts func() iter.Seq[RequestCounts]) {
	if m != nil {
		m.registry.MustRegister(requestCollector(counts))
	}
}

type requestCollector func() iter.Seq[RequestCounts]

var (
	descRequests = prometheus.NewDesc(namespace+"_requests_total",
		"Requests that were answered, by the HTTP status of the answer and its reason.", []string{"status", "reason"}, nil)
	descRequestDuration = prometheus.NewDesc(namespace+"_request_duration_seconds",
		"Time from the arrival of a request, as Kong announces it, to its answer.", []string{"status"}, nil)
)

// Describe implements prometheus.Collector.
func (requestCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descRequests
	ch <- descRequestDuration
}

// Collect implements prometheus.Collector. The histograms are those of the reasons with
// the same status together.
func (c requestCollector) Collect(ch chan<- prometheus.Metric) {
	byStatus := make(map[int]RequestCounts)
	for r := range c() {
		ch <- prometheus.MustNewConstMetric(descRequests, prometheus.CounterValue, float64(r.Count), strconv.Itoa(r.Status), r.Reason)
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
		ch <- prometheus.MustNewConstHistogram(descRequestDuration, sum.Count, sum.Seconds, sum.Buckets, strconv.Itoa(status))
	}
}
