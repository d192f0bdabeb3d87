package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/producer"
)

// collector exposes the producers' Stats. They are read once for each scrape, so that their
// sums agree within it.
//
// The series of a topic start at 0 with its first producer, because Prometheus sees no
// increase in a series that appears with its first event. For exceptions see
// detailedTopics.
type collector struct{ metrics *Metrics }

var _ prometheus.Collector = collector{}

// detailedTopics is how many topics have histograms of their own, and all their series at 0
// from the start: with all topics a scrape would be four times as large. The histograms of
// further topics add up under [producer.OtherTopics], and their series of records sent or
// undelivered, and of failures by reason, appear when they are above 0. But records that
// failed have a series at 0 for every reason, since a loss must be seen as an increase.
const detailedTopics = 50

func description(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

func perTopic(name, help string, labels ...string) *prometheus.Desc {
	return description(name, help, append([]string{"topic"}, labels...)...)
}

var (
	descProducers    = perTopic("producers", "Producers that serve the topic now: one for each set of settings for Kafka that instances share.")
	descFill         = perTopic("buffer_fill_ratio", "How full the fullest buffer for the topic is, in records or in bytes, whichever is nearer to its limit; at 1 the topic's records are rejected. A buffer in front of which there is the spool (producer_async_durable) does not count.")
	descHealthy      = perTopic("healthy", "1 while records of the topic are accepted, 0 while a producer with producer_async_health_gating is unhealthy, and rejects them. Only topics with such a producer have it.")
	descStalled      = perTopic("stalled_seconds", "Longest time for which a producer has had records of the topic that were due, beyond its flush timeout, and delivered none; near 0 while all is well.")
	descLimitRecords = perTopic("buffer_limit_records", "Records that the buffers of the topic's producers may hold, including those of other topics that share them.")
	descLimitBytes   = perTopic("buffer_limit_bytes", "Bytes of keys, values and headers that the buffers of the topic's producers may hold, including those of other topics that share them.")

	descBufferedRecords    = perTopic("buffered_records", "Accepted records that are waiting or in flight.")
	descBufferedBytes      = perTopic("buffered_bytes", "Bytes of the keys, values and headers of buffered records.")
	descAcceptedRecords    = perTopic("accepted_records_total", "Records accepted into a buffer: the sum of delivered, sent, failed, undelivered, returned and buffered.")
	descAcceptedBytes      = perTopic("accepted_bytes_total", "Bytes of the keys, values and headers of accepted records.")
	descRejectedRecords    = perTopic("rejected_records_total", "Records that were not accepted, by reason.", "reason")
	descDeliveredRecords   = perTopic("delivered_records_total", "Records that the brokers acknowledged (acks 1 and -1).")
	descDeliveredBytes     = perTopic("delivered_bytes_total", "Bytes of the keys, values and headers of delivered records.")
	descSentRecords        = perTopic("sent_records_total", "Records that were written to a connection and will not be acknowledged (acks 0): whether a broker has them is unknown.")
	descSentBytes          = perTopic("sent_bytes_total", "Bytes of the keys, values and headers of sent records.")
	descFailedRecords      = perTopic("failed_records_total", "Records that were accepted and given up, by reason. They are lost; with producer_async off, their clients were answered 502.", "reason")
	descFailedBytes        = perTopic("failed_bytes_total", "Bytes of the keys, values and headers of failed records, by reason.", "reason")
	descUndeliveredRecords = perTopic("undelivered_records_total", "Records that were accepted and given up because the server ended. They are lost.")
	descUndeliveredBytes   = perTopic("undelivered_bytes_total", "Bytes of the keys, values and headers of undelivered records.")

	descSpooledRecords  = perTopic("spooled_records_total", "Records that were written to the spool (producer_async_durable), whose clients were answered 200. They are accepted when a buffer takes them.")
	descSpooledBytes    = perTopic("spooled_bytes_total", "Bytes of the keys, values and headers of spooled records.")
	descReturnedRecords = perTopic("returned_records_total", "Records that were accepted from the spool and given back to it, undelivered, for another configuration or for the next process.")
	descReturnedBytes   = perTopic("returned_bytes_total", "Bytes of the keys, values and headers of returned records.")

	descRequests         = perTopic("produce_requests_total", "Produce requests. Each is an attempt to deliver a batch.")
	descRequestsFailed   = perTopic("produce_requests_failed_total", "Produce requests that failed, by reason.", "reason")
	descRetries          = perTopic("produce_retries_total", "Produce requests that were not the first of their batch.")
	descMetadata         = perTopic("metadata_requests_total", "Metadata requests, for the topic's partitions and their leaders.")
	descMetadataFailed   = perTopic("metadata_requests_failed_total", "Metadata requests that failed, by reason. While no broker can be reached these continue, and produce requests do not.", "reason")
	descRequestDuration  = perTopic("produce_request_duration_seconds", "Time of a produce request, successful or not, including the wait for a reachable broker.")
	descDeliveryDuration = perTopic("delivery_duration_seconds", "Time from the first produce request of a batch to the end of the last one.")
	descBatchRecords     = perTopic("batch_records", "Records in a batch.")
	descBatchBytes       = perTopic("batch_bytes", "Bytes of the keys, values and headers in a batch.")

	descCompressedBatches    = perTopic("compressed_batches_total", "Batches that were compressed, by codec.", "codec")
	descCompressionInput     = perTopic("compression_input_bytes_total", "Bytes of the keys, values and headers in compressed batches, by codec.", "codec")
	descCompressionOutput    = perTopic("compression_output_bytes_total", "Bytes of compressed batches as they were sent, by codec.", "codec")
	descCompressionFallbacks = perTopic("compression_fallbacks_total", "Batches that were sent uncompressed because the configured codec failed or a broker does not support it, by codec.", "codec")

	descDuplicates = perTopic("duplicate_batches_total", "Batches that a broker answered it has already, because an acknowledgement was lost. They count as delivered, and are in the topic once. Newer brokers mostly answer such a batch like any other.")
	descInexact    = perTopic("inexact_batches_total", "Batches that may be in the topic twice, or be there though they count as failed, in spite of producer_idempotent, by reason: no_producer_id, sequence_refused or unknown_outcome.", "reason")

	descConnections       = description("connections", "Connections to brokers that are open now.")
	descConnectionsOpened = description("connections_opened_total", "Connections to brokers that were opened.")
	descConnectionsFailed = description("connections_failed_total", "Connections to brokers that could not be opened, by reason. Failures of TLS and SASL come later, and count as failed produce or metadata requests.", "reason")
)

// Describe implements prometheus.Collector. The collector is unchecked, because which
// series there are depends on the topics.
func (c collector) Describe(ch chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	stats := c.metrics.stats()
	other := producer.TopicStats{Topic: producer.OtherTopics} // has the histograms of topics that are not detailed
	for i := range stats.Topics {
		t := topicCollector{&stats.Topics[i], i < detailedTopics, ch}
		t.collect()
		if t.detailed {
			collectHistograms(t.TopicStats, ch)
			continue
		}
		other.RequestDuration.Add(&t.RequestDuration)
		other.DeliveryDuration.Add(&t.DeliveryDuration)
		other.BatchRecords.Add(&t.BatchRecords)
		other.BatchBytes.Add(&t.BatchBytes)
	}
	if len(stats.Topics) > detailedTopics {
		collectHistograms(&other, ch)
	}
	n := &stats.Connections
	ch <- prometheus.MustNewConstMetric(descConnections, prometheus.GaugeValue, float64(n.Opened-n.Closed))
	ch <- prometheus.MustNewConstMetric(descConnectionsOpened, prometheus.CounterValue, float64(n.Opened))
	for i, v := range n.Failed {
		ch <- prometheus.MustNewConstMetric(descConnectionsFailed, prometheus.CounterValue, float64(v), kafkaerr.Class(i).String())
	}
}

// topicCollector sends the metrics of one topic.
type topicCollector struct {
	*producer.TopicStats
	detailed bool
	ch       chan<- prometheus.Metric
}

func (t *topicCollector) gauge(d *prometheus.Desc, v float64) {
	t.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, t.Topic)
}

func (t *topicCollector) counter(d *prometheus.Desc, v int64, labels ...string) {
	t.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{t.Topic}, labels...)...)
}

func (t *topicCollector) amount(records, bytes *prometheus.Desc, a producer.Amount) {
	t.counter(records, a.Records)
	t.counter(bytes, a.Bytes)
}

func (t *topicCollector) collect() {
	var limit producer.Amount
	var fill, stalled float64
	gated, healthy, durable := false, 1.0, t.Appended.Records+t.Returned.Records > 0
	for _, b := range t.Buffers {
		gated = gated || b.Gated
		durable = durable || b.Durable
		if b.Unhealthy {
			healthy = 0
		}
		limit.Records += b.Limit.Records
		limit.Bytes += b.Limit.Bytes
		if !b.Durable { // else the spool takes records
			fill = max(fill, b.Fill)
		}
		stalled = max(stalled, b.Stalled.Seconds())
	}
	t.gauge(descProducers, float64(len(t.Buffers)))
	t.gauge(descFill, fill)
	t.gauge(descStalled, stalled)
	if gated {
		t.gauge(descHealthy, healthy)
	}
	t.gauge(descLimitRecords, float64(limit.Records))
	t.gauge(descLimitBytes, float64(limit.Bytes))
	t.gauge(descBufferedRecords, float64(t.Buffered.Records))
	t.gauge(descBufferedBytes, float64(t.Buffered.Bytes))

	acknowledged := producer.Amount{Records: t.Delivered.Records - t.Unconfirmed.Records, Bytes: t.Delivered.Bytes - t.Unconfirmed.Bytes}
	t.amount(descAcceptedRecords, descAcceptedBytes, t.Accepted)
	t.amount(descDeliveredRecords, descDeliveredBytes, acknowledged)
	if t.detailed || t.Unconfirmed.Records > 0 {
		t.amount(descSentRecords, descSentBytes, t.Unconfirmed)
	}
	if t.detailed || t.Undelivered.Records > 0 {
		t.amount(descUndeliveredRecords, descUndeliveredBytes, t.Undelivered)
	}
	if durable {
		t.counter(descSpooledRecords, t.Appended.Records)
		t.counter(descReturnedRecords, t.Returned.Records)
		if t.detailed {
			t.counter(descSpooledBytes, t.Appended.Bytes)
			t.counter(descReturnedBytes, t.Returned.Bytes)
		}
	}
	for i, n := range t.Rejected {
		t.counter(descRejectedRecords, n, producer.Rejection(i).String())
	}
	t.counter(descRequests, t.ProduceRequests)
	t.counter(descRetries, t.Retries)
	t.counter(descMetadata, t.MetadataRequests)
	for i := range t.Compression {
		if c := &t.Compression[i]; c.Configured {
			codec := producer.Codec(i).String()
			t.counter(descCompressedBatches, c.Batches, codec)
			t.counter(descCompressionInput, c.Before, codec)
			t.counter(descCompressionOutput, c.After, codec)
			t.counter(descCompressionFallbacks, c.Uncompressed, codec)
		}
	}
	if t.Idempotence.Configured {
		t.counter(descDuplicates, t.Idempotence.Duplicates)
		for i, n := range t.Idempotence.Inexact {
			t.counter(descInexact, n, producer.Inexactness(i).String())
		}
	}
	for i := range t.Failed {
		reason := kafkaerr.Class(i).String()
		t.counter(descFailedRecords, t.Failed[i].Records, reason)
		if t.detailed || t.Failed[i].Records+t.ProduceRequestsFailed[i]+t.MetadataRequestsFailed[i] > 0 {
			t.counter(descFailedBytes, t.Failed[i].Bytes, reason)
			t.counter(descRequestsFailed, t.ProduceRequestsFailed[i], reason)
			t.counter(descMetadataFailed, t.MetadataRequestsFailed[i], reason)
		}
	}
}

func collectHistograms(t *producer.TopicStats, ch chan<- prometheus.Metric) {
	for _, h := range []struct {
		desc   *prometheus.Desc
		bounds []float64
		*producer.Histogram
	}{
		{descRequestDuration, producer.DurationBounds, &t.RequestDuration},
		{descDeliveryDuration, producer.DurationBounds, &t.DeliveryDuration},
		{descBatchRecords, producer.RecordsBounds, &t.BatchRecords},
		{descBatchBytes, producer.BytesBounds, &t.BatchBytes},
	} {
		buckets, count := make(map[float64]uint64, len(h.bounds)), uint64(0)
		for i, bound := range h.bounds {
			count += uint64(h.Counts[i])
			buckets[bound] = count
		}
		count += uint64(h.Counts[len(h.bounds)])
		ch <- prometheus.MustNewConstHistogram(h.desc, count, h.Sum, buckets, t.Topic)
	}
}
