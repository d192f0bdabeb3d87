// Package metrics serves metrics for Prometheus, health and readiness over HTTP. It reads
// the counts of the producers when it is scraped.
//
// Metrics are off unless asked for: a nil [*Metrics] is valid, and its methods do nothing.
package metrics

import (
	"runtime"
	"sync/atomic"

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
	notReady atomic.Pointer[string]
	stats    func() producer.Stats
	spool    func() (producer.SpoolStats, bool) // nil: there is none
}

// New returns the metrics of a process of that version, in a registry of their own. Each
// scrape calls stats.
func New(version string, stats func() producer.Stats) *Metrics {
	m := &Metrics{
		version:  version,
		registry: prometheus.NewRegistry(),
		stats:    stats,
	}
	m.registry.MustRegister(
		collector{m}, buildInfo(version),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "ready",
			Help: "1 if /readyz answers 200, 0 if it answers 503.",
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

// Memory exposes the memory limit of the process, and how much of it is used.
func (m *Metrics) Memory(l *memory.Limit) {
	if m == nil {
		return
	}
	gauge := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help},
			func() float64 { return float64(value()) })
	}
	m.registry.MustRegister(
		gauge("memory_limit_bytes", "Memory that records and bodies may take together (-memory-limit); 0 is no limit.", l.Size),
		gauge("memory_used_bytes", "Memory that records and bodies take, with its overhead.", l.Used))
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
