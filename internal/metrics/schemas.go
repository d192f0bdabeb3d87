package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"kafka-upstream/internal/record/registry"
)

// Schemas exposes the schemas of Schema Registries. Each scrape calls stats.
func (m *Metrics) Schemas(stats func() registry.Stats) {
	if m != nil {
		m.registry.MustRegister(schemaCollector(stats))
	}
}

type schemaCollector func() registry.Stats

var (
	descSchemas = description("schemas",
		"Schemas that configurations use, by state: current, stale while a newer version cannot be fetched, or missing while requests are rejected because no version can be used.", "state")
	descSchemaStale = description("schema_stale_seconds",
		"Longest time for which a schema in use could not be fetched; 0 while all is well.")
	descSchemaFetches = description("schema_fetches_total",
		"Fetches of schemas, each with its references, by result: fetched, unavailable, or unusable if the schema cannot be used.", "result")
)

// Describe implements prometheus.Collector.
func (schemaCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descSchemas
	ch <- descSchemaStale
	ch <- descSchemaFetches
}

// Collect implements prometheus.Collector.
func (c schemaCollector) Collect(ch chan<- prometheus.Metric) {
	s := c()
	for state, n := range s.Schemas {
		ch <- prometheus.MustNewConstMetric(descSchemas, prometheus.GaugeValue, float64(n), registry.State(state).String())
	}
	ch <- prometheus.MustNewConstMetric(descSchemaStale, prometheus.GaugeValue, s.Stale.Seconds())
	for result, n := range s.Fetches {
		ch <- prometheus.MustNewConstMetric(descSchemaFetches, prometheus.CounterValue, float64(n), registry.Result(result).String())
	}
}
