// Package metrics is what operators read: metrics for Prometheus, and whether
// the server is alive and ready, over HTTP. The rooms that do the work call it;
// it calls none of them.
//
// Metrics are off unless asked for: a nil [*Metrics] and a nil [*Producer] are
// valid, and their methods do nothing.
package metrics

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/version"
)

//go:generate go test . -run ^TestDocumentation -update

const (
	namespace = "kafka_upstream"

	// maxTopics bounds the series that configurations can make. Beyond it topics
	// add up under otherTopics, a name that no topic can have.
	maxTopics   = 1000
	otherTopics = "(other)"
	// detailedTopics is how many topics have histograms of their own, and all their
	// series at 0 from the start: with all topics a scrape would be four times as
	// large. The histograms of further topics add up under otherTopics, and their series
	// of records sent or left, and of failures by reason, appear when they are above 0.
	// But records that failed have a series at 0 for every reason, since a loss must be
	// seen as an increase.
	detailedTopics = 50
	// maxTopicName is Kafka's limit.
	maxTopicName = 249
)

// Metrics is the set of all metrics of a process. Its methods may be called from
// many goroutines at once, and on a nil *Metrics.
type Metrics struct {
	version  string
	registry *prometheus.Registry
	perTopic histograms
	start    time.Time // times are kept as durations since, which no clock's step can spoil
	notReady atomic.Pointer[string]

	mu     sync.Mutex
	topics map[string]*topic // never more than maxTopics and otherTopics
}

// Buckets of the histograms.
var (
	produceBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
	recordsBuckets = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000}
	bytesBuckets   = []float64{256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 100 << 20}
)

// histograms are those that there are for each topic.
type histograms struct {
	produce, attempt, batchRecords, batchBytes *prometheus.HistogramVec
}

// New returns the metrics of a process of that version, in a registry of their
// own.
func New(version string) *Metrics {
	m := &Metrics{
		version:  version,
		registry: prometheus.NewRegistry(),
		start:    time.Now(),
		topics:   make(map[string]*topic),
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		}, []string{"topic"})
	}
	m.perTopic = histograms{
		produce:      histogram("produce_duration_seconds", "Time from the first attempt to produce a batch to the end of the last one.", produceBuckets),
		attempt:      histogram("attempt_duration_seconds", "Time of one attempt to produce a batch, successful or not, with what it waited for a broker that can be reached.", produceBuckets),
		batchRecords: histogram("batch_records", "Records in a batch.", recordsBuckets),
		batchBytes:   histogram("batch_bytes", "Bytes of the keys and values in a batch.", bytesBuckets),
	}
	m.registry.MustRegister(
		m.perTopic.produce, m.perTopic.attempt, m.perTopic.batchRecords, m.perTopic.batchBytes,
		collector{m}, buildInfo(version),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "ready",
			Help: "1 where /readyz answers 200, 0 where it answers 503.",
		}, func() float64 {
			if len(m.causes()) > 0 {
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

// Limits are what a producer's buffer may hold, and for how long.
type Limits struct {
	Records int64 // 0: no limit
	Bytes   int64 // of keys and values; 0: no limit
	// Linger is how long a record may wait for others to make a batch with. It is
	// the time in which nothing needs to be delivered.
	Linger time.Duration
}

// Producer returns what a new producer to topic reports to, until its Close.
// With acks 0 no broker confirms anything, so what other producers deliver such
// a one has only sent. Producers to the same topic add up.
func (m *Metrics) Producer(topic string, acks int, limits Limits) *Producer {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.topic(topic)
	p := &Producer{metrics: m, topic: t, unconfirmed: acks == 0, limits: limits}
	t.producers[p] = struct{}{}
	return p
}

// topic returns the counts of a topic. The caller holds mu.
func (m *Metrics) topic(name string) *topic {
	if len(name) > maxTopicName || !utf8.ValidString(name) {
		name = otherTopics // one bad label would spoil the whole exposition
	}
	if t := m.topics[name]; t != nil {
		return t
	}
	if len(m.topics) >= maxTopics {
		name = otherTopics
		if t := m.topics[name]; t != nil {
			return t
		}
	}
	t := newTopic(name, m.perTopic, len(m.topics) < detailedTopics)
	m.topics[name] = t
	return t
}

// now is the time since start in nanoseconds, and never 0.
func (m *Metrics) now() int64 { return int64(time.Since(m.start)) + 1 }

// ratio is how full the producer's buffer is: of its two limits, the one that
// is nearer counts.
func (l Limits) ratio(records, bytes int64) float64 {
	of := func(n, limit int64) float64 {
		if limit <= 0 {
			return 0
		}
		return float64(n) / float64(limit)
	}
	return max(of(records, l.Records), of(bytes, l.Bytes))
}
