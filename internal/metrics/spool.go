package metrics

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/spool"
)

// Spool exposes the spool, and has readiness depend on it. Each scrape calls stats, which reports
// false if there is no spool.
func (m *Metrics) Spool(stats func() (producer.SpoolStats, bool)) {
	if m == nil {
		return
	}
	if _, ok := stats(); ok {
		m.spool = stats
		m.registry.MustRegister(spoolCollector(stats))
	}
}

type spoolCollector func() (producer.SpoolStats, bool)

var (
	descSpoolState     = description("spool_state", "1 for the state that the spool is in: ok, full or failed. While it is not ok, records are rejected.", "state")
	descSpoolRecords   = description("spool_records", "Records in the spool that are neither delivered nor failed, those in buffers included.")
	descSpoolUnclaimed = description("spool_unclaimed_records", "Records in the spool for which there is no configuration with the same brokers and topic, or was no request to one yet.")
	descSpoolBytes     = description("spool_bytes", "Bytes of the spool's files, with the room that they reserve.")
	descSpoolLimit     = description("spool_limit_bytes", "Bytes that the spool's files may have together (-spool-limit); 0 is no limit.")
	descSpoolSegments  = description("spool_segments", "Files of the spool with records.")
	descSpoolFailures  = description("spool_failures_total", "Operations on the spool's files that failed.")
	descSpoolDamaged   = description("spool_damaged_records_total", "Records of the spool that could not be read any more. They are lost.")
	descSpoolAdopted   = description("spool_adopted_records_total", "Records that a former process had left in the spool.")
	descSpoolFsync     = description("spool_fsync_duration_seconds", "Time in which a group of records was forced to the disk.")
)

// Describe implements prometheus.Collector.
func (spoolCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSpoolState, descSpoolRecords, descSpoolUnclaimed, descSpoolBytes, descSpoolLimit,
		descSpoolSegments, descSpoolFailures, descSpoolDamaged, descSpoolAdopted, descSpoolFsync} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c spoolCollector) Collect(ch chan<- prometheus.Metric) {
	s, _ := c()
	for _, state := range []spool.State{spool.OK, spool.Full, spool.Failed} {
		v := 0.0
		if s.State == state {
			v = 1
		}
		ch <- prometheus.MustNewConstMetric(descSpoolState, prometheus.GaugeValue, v, state.String())
	}
	for _, g := range []struct {
		desc *prometheus.Desc
		kind prometheus.ValueType
		v    float64
	}{
		{descSpoolRecords, prometheus.GaugeValue, float64(s.Records)},
		{descSpoolUnclaimed, prometheus.GaugeValue, float64(s.Unclaimed)},
		{descSpoolBytes, prometheus.GaugeValue, float64(s.Bytes)},
		{descSpoolLimit, prometheus.GaugeValue, float64(s.Limit)},
		{descSpoolSegments, prometheus.GaugeValue, float64(s.Segments)},
		{descSpoolFailures, prometheus.CounterValue, float64(s.Failures)},
		{descSpoolDamaged, prometheus.CounterValue, float64(s.Damaged)},
		{descSpoolAdopted, prometheus.CounterValue, float64(s.AdoptedRecords)},
	} {
		ch <- prometheus.MustNewConstMetric(g.desc, g.kind, g.v)
	}
	buckets, count := make(map[float64]uint64, len(spool.FsyncBuckets)), uint64(0)
	for i, bound := range spool.FsyncBuckets {
		count += s.Fsyncs.Buckets[i]
		buckets[bound.Seconds()] = count
	}
	ch <- prometheus.MustNewConstHistogram(descSpoolFsync, s.Fsyncs.Count, s.Fsyncs.Sum.Seconds(), buckets)
}

// spoolCause returns why the spool makes the server not ready, "" if it does not.
func spoolCause(s *producer.SpoolStats) string {
	switch {
	case s.State != spool.OK:
		return fmt.Sprintf("the spool is %s: %v", s.State, s.Reason)
	case s.Limit > 0 && float64(s.Bytes) > fullRatio*float64(s.Limit):
		return fmt.Sprintf("the spool is %.0f %% full (%d records, %d bytes)", 100*float64(s.Bytes)/float64(s.Limit), s.Records, s.Bytes)
	}
	return ""
}
