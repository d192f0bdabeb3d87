package producer

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lineEvery is the shortest time between two lines about the same topic in
	// Kong's error log.
	lineEvery = time.Second
	// waitingEvery is the shortest time between two lines that say that records
	// wait, which is no loss.
	waitingEvery = 10 * time.Second
)

// status is what there is to say about one producer's deliveries: to stderr as
// it happens, and to Kong's error log by way of the next request, for a failed
// delivery has no request of its own any more.
type status struct {
	topic    string
	log      *slog.Logger
	failed   func(error) // told of every trouble; may be nil
	troubled atomic.Bool // cause is set
	news     atomic.Bool // there may be something to say to Kong

	mu       sync.Mutex
	cause    string // of the trouble at hand; "" for none
	since    time.Time
	lost     tally     // not yet told to Kong
	refused  tally     // likewise
	logged   time.Time // last line to stderr about refused records
	unlogged int       // refused since
	told     time.Time // last line to Kong
	toldWait time.Time // last line to Kong about records that wait
}

// tally counts records that met the same fate.
type tally struct {
	records int
	since   time.Time
	cause   string // the latest
}

func (t *tally) add(n int, now time.Time, cause string) {
	if t.records == 0 {
		t.since = now
	}
	t.records += n
	t.cause = cause
}

func newStatus(topic string, log *slog.Logger) *status {
	return &status{topic: topic, log: log.With("topic", topic)}
}

// trouble notes an attempt to deliver to a partition that failed. Nothing is
// lost by it yet.
func (s *status) trouble(at place, err error) {
	s.blocked(err)
	s.log.Warn("cannot deliver for now", "partition", at.partition, "broker", at.broker, "cause", sentence(err))
}

// unknown notes a request for the layout that failed.
func (s *status) unknown(err error) {
	s.blocked(err)
	s.log.Warn("cannot learn the topic's partitions", "cause", sentence(err))
}

func (s *status) blocked(err error) {
	if s.failed != nil {
		s.failed(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == "" {
		s.since = time.Now()
	}
	s.cause = sentence(err)
	s.troubled.Store(true)
	s.news.Store(true)
}

// fine notes an attempt that succeeded.
func (s *status) fine() {
	if !s.troubled.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != "" {
		s.log.Info("delivering again", "after", time.Since(s.since).Round(time.Millisecond))
	}
	s.cause = ""
	s.troubled.Store(false)
}

// lastCause returns why records could not be delivered the last time, "" if they
// all were, or were merely too slow.
func (s *status) lastCause() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != "" {
		return s.cause
	}
	return s.lost.cause
}

// lose notes records that were accepted and will not be delivered.
func (s *status) lose(n int, at place, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cause := sentence(err)
	s.lost.add(n, time.Now(), cause)
	s.news.Store(true)
	s.log.Error("records lost", "records", n, "partition", at.partition, "broker", at.broker, "cause", cause)
}

// refuse notes a record that was not accepted for want of room. It is cheap: many
// are refused when there is least time for it.
func (s *status) refuse(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused.add(1, now, ErrFull.Error())
	s.news.Store(true)
	s.unlogged++
	if now.Sub(s.logged) < lineEvery {
		return
	}
	s.log.Error("records refused", "records", s.unlogged, "cause", s.refused.cause)
	s.logged, s.unlogged = now, 0
}

// kong returns what Kong's error log has to be told, "" for nothing: at most
// one line per lineEvery. waiting is the number of records in the buffer.
func (s *status) kong(waiting int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.told) < lineEvery {
		return ""
	}
	const clock = "15:04:05"
	var parts []string
	if s.lost.records > 0 {
		parts = append(parts, fmt.Sprintf("%d records to topic %s lost since %s: %s",
			s.lost.records, s.topic, s.lost.since.Format(clock), s.lost.cause))
	}
	if s.refused.records > 0 {
		text := fmt.Sprintf("%d records to topic %s refused since %s: %s",
			s.refused.records, s.topic, s.refused.since.Format(clock), s.refused.cause)
		if s.cause != "" {
			text += "; cannot deliver since " + s.since.Format(clock) + ": " + s.cause
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 && s.cause != "" && waiting > 0 && now.Sub(s.since) >= lineEvery && now.Sub(s.toldWait) >= waitingEvery {
		parts = append(parts, fmt.Sprintf("%d records to topic %s are waiting: cannot deliver since %s: %s",
			waiting, s.topic, s.since.Format(clock), s.cause))
	}
	if len(parts) == 0 {
		s.news.Store(s.cause != "")
		return ""
	}
	s.lost, s.refused = tally{}, tally{}
	s.told, s.toldWait = now, now
	return strings.Join(parts, "; ")
}

// sentence is err without what kafka-go puts before it, on one line.
func sentence(err error) string {
	text := strings.TrimPrefix(err.Error(), "kafka.(*Client).Produce: ")
	return strings.Join(strings.Fields(text), " ")
}
