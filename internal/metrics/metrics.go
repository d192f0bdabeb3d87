// Package metrics is what operators read: metrics for Prometheus, and whether
// the server is alive and ready, over HTTP. It reads the counts of the producers when it
// is scraped.
//
// Metrics are off unless asked for: a nil [*Metrics] is valid, and its methods do nothing.
package metrics

import (
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/version"
)

//go:generate go test . -run ^TestDocumentation -update

const namespace = "kafka_upstream"

// Metrics is the set of all metrics of a process. Its methods may be called from
// many goroutines at once, and on a nil *Metrics.
type Metrics struct {
	version  string
	registry *prometheus.Registry
	requests [reasons]request // read-only, so that a request looks nothing up
	notReady atomic.Pointer[string]
	stats    func() producer.Stats
}

// request holds what counts the requests that ended in one way.
type request struct {
	count    prometheus.Counter
	duration prometheus.Observer
}

// Buckets of the duration of requests. A request is answered in a fraction of a millisecond
// with producer_async, and waits for up to 55 s without.
var requestBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// New returns the metrics of a process of that version, in a registry of their own. Each
// scrape calls stats.
func New(version string, stats func() producer.Stats) *Metrics {
	m := &Metrics{
		version:  version,
		registry: prometheus.NewRegistry(),
		stats:    stats,
	}
	count := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "requests_total",
		Help: "Requests that were answered, by the HTTP status of the answer and its reason.",
	}, []string{"status", "reason"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "request_duration_seconds", Buckets: requestBuckets,
		Help: "Time from the arrival of a request, as Kong announces it, to its answer.",
	}, []string{"status"})
	for r := range reasons {
		status := strconv.Itoa(r.Status())
		m.requests[r] = request{count.WithLabelValues(status, r.String()), duration.WithLabelValues(status)}
	}
	m.registry.MustRegister(
		count, duration,
		collector{m}, buildInfo(version),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "ready",
			Help: "1 where /readyz answers 200, 0 where it answers 503.",
		}, func() float64 {
			if stats := m.stats(); len(m.causes(&stats)) > 0 {
				return 0
			}
			return 1
		}),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Memory exposes a limit of the process, and how much of it is taken.
func (m *Metrics) Memory(l *memory.Limit) {
	if m == nil {
		return
	}
	gauge := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help},
			func() float64 { return float64(value()) })
	}
	m.registry.MustRegister(
		gauge("memory_limit_bytes", "What records and bodies may take in all (-memory-limit); 0 is no limit.", l.Size),
		gauge("memory_used_bytes", "What records and bodies take, with what is needed to keep them.", l.Used))
}

func buildInfo(release string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info",
		Help:        "1, labelled with the program's version, the revision of its source, and the Go that built it.",
		ConstLabels: prometheus.Labels{"version": release, "revision": version.Commit(), "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}

// Request counts a request that was answered for that reason, took after it
// arrived. It neither allocates nor waits for a lock.
func (m *Metrics) Request(r Reason, took time.Duration) {
	if m == nil {
		return
	}
	if r >= reasons {
		r = Unexpected
	}
	m.requests[r].count.Inc()
	m.requests[r].duration.Observe(took.Seconds())
}
