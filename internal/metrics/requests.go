package metrics

import (
	"iter"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"kafka-upstream/internal/plugin"
)

// Values of the label door: how requests came here.
const (
	DoorProtocol  = "plugin_protocol"
	DoorCompanion = "companion"
)

// Requests exposes the requests that came through a door and were answered. Each scrape calls
// counts.
func (m *Metrics) Requests(door string, counts func() iter.Seq[plugin.Counts]) {
	if m == nil {
		return
	}
	labels := prometheus.Labels{"door": door}
	m.registry.MustRegister(&requestCollector{counts,
		prometheus.NewDesc(namespace+"_requests_total",
			"Requests that were answered, by the HTTP status of the answer, its reason, and how the request came here.", []string{"status", "reason"}, labels),
		prometheus.NewDesc(namespace+"_request_duration_seconds",
			"Time from the arrival of a request, as Kong announces it, to its answer.", []string{"status"}, labels),
	})
}

type requestCollector struct {
	counts            func() iter.Seq[plugin.Counts]
	answers, duration *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *requestCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.answers
	ch <- c.duration
}

// Collect implements prometheus.Collector. The histograms are those of the reasons with
// the same status together.
func (c *requestCollector) Collect(ch chan<- prometheus.Metric) {
	byStatus := make(map[int]plugin.Counts)
	for r := range c.counts() {
		ch <- prometheus.MustNewConstMetric(c.answers, prometheus.CounterValue, float64(r.Count), strconv.Itoa(r.Status), r.Reason)
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
		ch <- prometheus.MustNewConstHistogram(c.duration, sum.Count, sum.Seconds, sum.Buckets, strconv.Itoa(status))
	}
}
