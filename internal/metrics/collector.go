package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"kafka-upstream/internal/kafkaerr"
)

// collector exposes the counts of the topics. It reads them itself, topic by
// topic, because their sums must agree within each scrape.
//
// The series of a topic start at 0 with its first producer, because Prometheus sees no
// increase in a series that appears with its first event. For exceptions see
// detailedTopics.
type collector struct{ metrics *Metrics }

var _ prometheus.Collector = collector{}

func perTopic(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, append([]string{"topic"}, labels...), nil)
}

var (
	descProducers    = perTopic("producers", "Producers there are now: one for each set of settings of Kafka that instances have in common.")
	descFill         = perTopic("buffer_fill_ratio", "How full the buffer of the fullest producer is, by records or by bytes, whichever is nearer to its limit; 1 is full.")
	descStalled      = perTopic("stalled_seconds", "For how long the producer that is stalled for longest has had records that were due, beyond its flush timeout, and delivered none; near 0 while all goes well.")
	descLimitRecords = perTopic("buffer_limit_records", "Records that the buffers of all producers may hold.")
	descLimitBytes   = perTopic("buffer_limit_bytes", "Bytes of keys and values that the buffers of all producers may hold.")

	descBufferedRecords  = perTopic("buffered_records", "Records that are accepted and have not met their fate: they wait, or are on their way.")
	descBufferedBytes    = perTopic("buffered_bytes", "Bytes of the keys and values of buffered records.")
	descAcceptedRecords  = perTopic("accepted_records_total", "Records that went into a buffer. It is the sum of delivered, sent, failed, left and buffered.")
	descAcceptedBytes    = perTopic("accepted_bytes_total", "Bytes of the keys and values of accepted records.")
	descRefusedRecords   = perTopic("refused_records_total", "Records that were not accepted, by reason.", "reason")
	descDeliveredRecords = perTopic("delivered_records_total", "Records that the brokers acknowledged (acks 1 and -1).")
	descDeliveredBytes   = perTopic("delivered_bytes_total", "Bytes of the keys and values of delivered records.")
	descSentRecords      = perTopic("sent_records_total", "Records that were written to a connection and will not be acknowledged (acks 0): nobody knows whether a broker has them.")
	descSentBytes        = perTopic("sent_bytes_total", "Bytes of the keys and values of sent records.")
	descFailedRecords    = perTopic("failed_records_total", "Records that were accepted and given up, by reason. They are lost, or with producer_async off their clients were told.", "reason")
	descFailedBytes      = perTopic("failed_bytes_total", "Bytes of the keys and values of failed records, by reason.", "reason")
	descLeftRecords      = perTopic("left_records_total", "Records that were accepted and given up because the server ended. They are lost.")
	descLeftBytes        = perTopic("left_bytes_total", "Bytes of the keys and values of the records left.")

	descAttempts       = perTopic("attempts_total", "Attempts to produce a batch.")
	descAttemptsFailed = perTopic("attempts_failed_total", "Attempts to produce a batch that failed, by reason.", "reason")
	descRetries        = perTopic("retries_total", "Attempts to produce a batch that were not its first.")
	descLookups        = perTopic("lookups_total", "Requests for the topic's partitions and their leaders.")
	descLookupsFailed  = perTopic("lookups_failed_total", "Requests for the topic's partitions that failed, by reason. While no broker can be reached these go on, and attempts do not.", "reason")

	descConnections       = perTopic("connections", "Connections to brokers that are open now.")
	descConnectionsOpened = perTopic("connections_opened_total", "Connections to brokers that were opened.")
	descConnectionsFailed = perTopic("connections_failed_total", "Connections to brokers that could not be opened, by reason. TLS and SASL come later: attempts and lookups fail by them.", "reason")
)

var descriptions = []*prometheus.Desc{
	descProducers, descFill, descStalled, descLimitRecords, descLimitBytes,
	descBufferedRecords, descBufferedBytes, descAcceptedRecords, descAcceptedBytes, descRefusedRecords,
	descDeliveredRecords, descDeliveredBytes, descSentRecords, descSentBytes,
	descFailedRecords, descFailedBytes, descLeftRecords, descLeftBytes,
	descAttempts, descAttemptsFailed, descRetries, descLookups, descLookupsFailed,
	descConnections, descConnectionsOpened, descConnectionsFailed,
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.metrics.snapshots() {
		s.collect(ch)
	}
}

func (s *snapshot) collect(ch chan<- prometheus.Metric) {
	t := s.topic
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, t.name)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{t.name}, labels...)...)
	}
	var shown [kafkaerr.Classes]bool // the reasons that have a series
	for i := range shown {
		shown[i] = t.detailed || t.hasFailed(i)
	}
	byFailure := func(d *prometheus.Desc, counts *[kafkaerr.Classes]atomic.Int64) {
		for i := range counts {
			if shown[i] {
				counter(d, counts[i].Load(), kafkaerr.Class(i).String())
			}
		}
	}

	gauge(descProducers, float64(s.producers))
	gauge(descFill, s.fill)
	gauge(descStalled, s.stalled.Seconds())
	gauge(descLimitRecords, float64(s.limits.Records))
	gauge(descLimitBytes, float64(s.limits.Bytes))

	gauge(descBufferedRecords, float64(s.buffered.records))
	gauge(descBufferedBytes, float64(s.buffered.bytes))
	counter(descAcceptedRecords, s.accepted.records)
	counter(descAcceptedBytes, s.accepted.bytes)
	counter(descDeliveredRecords, s.delivered.records)
	counter(descDeliveredBytes, s.delivered.bytes)
	if t.detailed || s.sent.records > 0 {
		counter(descSentRecords, s.sent.records)
		counter(descSentBytes, s.sent.bytes)
	}
	if t.detailed || s.left.records > 0 {
		counter(descLeftRecords, s.left.records)
		counter(descLeftBytes, s.left.bytes)
	}
	for i, a := range s.failed {
		counter(descFailedRecords, a.records, kafkaerr.Class(i).String())
		if shown[i] {
			counter(descFailedBytes, a.bytes, kafkaerr.Class(i).String())
		}
	}
	for i := range t.refused {
		counter(descRefusedRecords, t.refused[i].Load(), refusalNames[i])
	}

	counter(descRetries, t.retries.Load())
	byFailure(descAttemptsFailed, &t.attemptsFailed)
	counter(descAttempts, t.attempts.Load()) // after what is a part of them
	byFailure(descLookupsFailed, &t.lookupsFailed)
	counter(descLookups, t.lookups.Load())

	closed := t.connectionsClosed.Load()
	opened := t.connectionsOpened.Load()
	gauge(descConnections, float64(opened-closed))
	counter(descConnectionsOpened, opened)
	byFailure(descConnectionsFailed, &t.connectionsFailed)
}
