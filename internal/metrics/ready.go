package metrics

import (
	"fmt"
	"slices"
	"time"
)

const (
	// fullRatio is how full a buffer may be: above it, records will soon be
	// refused.
	fullRatio = 0.9
	// patience is how long a producer may have records that are due, and deliver
	// none. An election of leaders takes a few seconds, the restart of a broker
	// some more.
	patience = 30 * time.Second
)

// NotReady makes the server not ready, for that reason, as when it is shutting
// down. An empty reason takes that back.
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

// causes returns why the server is not ready, a line each, sorted; none where it
// is.
func (m *Metrics) causes() []string {
	var lines []string
	m.mu.Lock()
	for _, t := range m.topics {
		for p := range t.producers {
			lines = p.causes(lines)
		}
	}
	m.mu.Unlock()
	slices.Sort(lines)
	if reason := m.notReady.Load(); reason != nil {
		lines = slices.Insert(lines, 0, *reason)
	}
	return lines
}

func (p *Producer) causes(lines []string) []string {
	if p.orphaned.Load() {
		return lines
	}
	c := p.condition()
	if c.fill > fullRatio {
		lines = append(lines, fmt.Sprintf("topic %s: the buffer is %.0f %% full (%d records, %d bytes)",
			p.topic.name, 100*c.fill, c.records, c.bytes))
	}
	if c.stalled >= patience {
		lines = append(lines, fmt.Sprintf("topic %s: nothing was delivered for %v (records in the buffer: %d)",
			p.topic.name, c.stalled.Truncate(time.Second), c.records))
	}
	return lines
}
