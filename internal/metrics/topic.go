package metrics

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kafka-upstream/internal/kafkaerr"
)

// topic counts what happens to the records of one topic, for all producers to
// it that there are and were. It is never removed: its counters must not go back.
type topic struct {
	name     string
	detailed bool // see detailedTopics

	// Touched by each request.
	accepted tally
	refused  [refusals]atomic.Int64

	_ [64]byte // what follows is touched by those that deliver

	delivered, sent, left tally
	failed                [kafkaerr.Classes]tally

	attempts, retries, lookups                 atomic.Int64
	attemptsFailed, lookupsFailed              [kafkaerr.Classes]atomic.Int64
	connectionsFailed                          [kafkaerr.Classes]atomic.Int64
	connectionsOpened, connectionsClosed       atomic.Int64
	produce, attempt, batchRecords, batchBytes prometheus.Observer

	producers map[*Producer]struct{} // guarded by Metrics.mu
}

func newTopic(name string, h histograms, detailed bool) *topic {
	shown := name
	if !detailed {
		shown = otherTopics
	}
	return &topic{
		name:         name,
		detailed:     detailed,
		produce:      h.produce.WithLabelValues(shown),
		attempt:      h.attempt.WithLabelValues(shown),
		batchRecords: h.batchRecords.WithLabelValues(shown),
		batchBytes:   h.batchBytes.WithLabelValues(shown),
		producers:    make(map[*Producer]struct{}),
	}
}

// hasFailed reports whether anything failed for that reason.
func (t *topic) hasFailed(i int) bool {
	return t.attemptsFailed[i].Load() > 0 || t.lookupsFailed[i].Load() > 0 || t.connectionsFailed[i].Load() > 0 || t.failed[i].records.Load() > 0
}

// tally counts records and their bytes.
type tally struct{ records, bytes atomic.Int64 }

func (t *tally) add(records, bytes int64) {
	t.records.Add(records)
	t.bytes.Add(bytes)
}

func (t *tally) read() amount { return amount{t.records.Load(), t.bytes.Load()} }

// amount is what a tally had at one moment.
type amount struct{ records, bytes int64 }

func (a amount) plus(b amount) amount  { return amount{a.records + b.records, a.bytes + b.bytes} }
func (a amount) minus(b amount) amount { return amount{a.records - b.records, a.bytes - b.bytes} }

// snapshot is the state of a topic's records at one moment, in which each
// accepted record is buffered or has met one fate:
//
//	accepted = delivered + sent + left + failed + buffered
type snapshot struct {
	topic                                     *topic
	accepted, delivered, sent, left, buffered amount
	failed                                    [kafkaerr.Classes]amount

	producers int
	limits    Limits        // sums
	fill      float64       // of the fullest producer
	stalled   time.Duration // of the producer that is stalled for longest
}

// snapshots returns one of each topic, sorted by name.
func (m *Metrics) snapshots() []snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]snapshot, 0, len(m.topics))
	for _, t := range m.topics {
		s := t.read()
		s.producers = len(t.producers)
		for p := range t.producers {
			s.limits.Records += p.limits.Records
			s.limits.Bytes += p.limits.Bytes
			c := p.condition()
			s.fill = max(s.fill, c.fill)
			s.stalled = max(s.stalled, c.stalled)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b snapshot) int { return strings.Compare(a.topic.name, b.topic.name) })
	return all
}

// read makes the sums agree without a lock that a request would have to wait
// for: the fates are read first, and what was accepted last. A record is counted
// as accepted before it can meet its fate, so each fate that is seen belongs to a
// record that is seen as accepted, and the difference is what is buffered.
func (t *topic) read() snapshot {
	s := snapshot{topic: t, delivered: t.delivered.read(), sent: t.sent.read(), left: t.left.read()}
	past := s.delivered.plus(s.sent).plus(s.left)
	for i := range t.failed {
		s.failed[i] = t.failed[i].read()
		past = past.plus(s.failed[i])
	}
	s.accepted = t.accepted.read()
	s.buffered = s.accepted.minus(past)
	return s
}
