package metrics

import (
	"fmt"
	"slices"
	"time"

	"kafka-upstream/internal/producer"
)

// fullRatio is how full a buffer may be: above it, records will soon be rejected.
const fullRatio = 0.9

// NotReady makes the server not ready, for that reason, as when it is shutting down. An
// empty reason makes it ready again.
func (m *Metrics) NotReady(reason string) {
	if m == nil {
		return
	}
	if reason == "" {
		m.notReady.Store(nil)
	} else {
		m.notReady.Store(&reason)
	}
}

// causes returns why the server is not ready, a line each; none if it is.
func (m *Metrics) causes(stats *producer.Stats) []string {
	var lines []string
	for i := range stats.Topics {
		t := &stats.Topics[i]
		for _, b := range t.Buffers {
			if b.Orphaned { // no request depends on it
				continue
			}
			if b.Durable && !b.Unhealthy { // the spool takes its records
				continue
			}
			if b.Fill > fullRatio {
				lines = append(lines, fmt.Sprintf("topic %s: the buffer is %.0f %% full (%d records, %d bytes)",
					t.Topic, 100*b.Fill, b.Buffered.Records, b.Buffered.Bytes))
			}
			if b.Unhealthy {
				lines = append(lines, fmt.Sprintf("topic %s: the producer is unhealthy, and rejects records", t.Topic))
			}
			if b.Stalled >= producer.StallLimit {
				lines = append(lines, fmt.Sprintf("topic %s: nothing was delivered for %v (records in the buffer: %d)",
					t.Topic, b.Stalled.Truncate(time.Second), b.Buffered.Records))
			}
		}
	}
	slices.Sort(lines)
	if m.spool != nil {
		s, _ := m.spool()
		if cause := spoolCause(&s); cause != "" {
			lines = append(lines, cause)
		}
	}
	if reason := m.notReady.Load(); reason != nil {
		lines = slices.Insert(lines, 0, *reason)
	}
	return lines
}
