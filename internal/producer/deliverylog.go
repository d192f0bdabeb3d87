package producer

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kafka-upstream/internal/foreign"
)

const (
	// lineEvery is the shortest time between two lines about the same topic in
	// Kong's error log.
	lineEvery = time.Second
	// waitingEvery is the shortest time between two lines that say that records
	// wait, which is no loss.
	waitingEvery = 10 * time.Second
	// clock is how lines tell the time.
	clock = "15:04:05"
)

// deliveryLog reports on the deliveries of one topic in one producer: to the log as they
// happen, and to Kong's error log with the next request, since a failed delivery has no
// request of its own any more.
type deliveryLog struct {
	topic    string
	servers  string            // the bootstrap servers, for errors that name no broker
	redact   *foreign.Redactor // of what brokers say; nil: there are no secrets
	log      *slog.Logger
	failed   func(error)  // called with every error; may be nil
	buffered func() int64 // how many records the buffer holds
	news     *news
	failing  atomic.Bool // cause is set
	toTell   atomic.Bool // there may be something to report to Kong
	closed   atomic.Bool // close was called

	mu       sync.Mutex
	cause    string // why nothing can be delivered now; "" if that is not known to be so
	last     string // the latest cause, kept by close
	err      error  // the error of last
	since    time.Time
	lost     tally     // not yet reported to Kong
	rejected tally     // not yet reported to Kong
	logged   time.Time // last line to stderr about rejected records
	unlogged int       // rejected since
	told     time.Time // last line to Kong
	toldWait time.Time // last line to Kong about records that wait
}

// tally counts records with the same outcome.
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

func (p *Producer) newDeliveryLog(t *topic) *deliveryLog {
	s := &deliveryLog{
		topic: t.name, log: p.logger.With("topic", t.name), news: p.news,
		servers: p.cluster.Addr().String(), redact: p.access.Redact, failed: p.access.Failed,
		buffered: func() int64 {
			p.mu.Lock()
			defer p.mu.Unlock()
			return t.ledger.Buffered.Records
		},
	}
	p.news.add(s)
	return s
}

// close is called when the topic has no records any more, or its producer is closed. What was not reported yet still will be.
func (s *deliveryLog) close() {
	s.mu.Lock()
	s.cause = ""
	s.mu.Unlock()
	s.closed.Store(true)
	if !s.toTell.Load() {
		s.news.remove(s)
	}
}

// tell schedules a line for Kong's error log: with the next request if this is the first
// event of its kind since the last line, else with one soon after.
func (s *deliveryLog) tell(first bool) {
	s.toTell.Store(true)
	s.news.tell(first)
}

// lastError returns why nothing can be delivered now, nil if that is not known.
func (s *deliveryLog) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// attemptFailed notes a failed attempt to deliver to a partition. No record is lost yet.
func (s *deliveryLog) attemptFailed(at partitionLeader, err error) {
	cause := s.sentence(err, at)
	s.unavailable(err, cause)
	s.log.Warn("cannot deliver for now", "partition", at.partition, "broker", at.broker, "error", cause)
}

// metadataFailed notes a metadata request that failed.
func (s *deliveryLog) metadataFailed(err error) {
	cause := s.sentence(err, noPartition)
	s.unavailable(err, cause)
	s.log.Warn("cannot fetch the topic's metadata", "error", cause)
}

func (s *deliveryLog) unavailable(err error, cause string) {
	if s.failed != nil {
		s.failed(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == "" {
		s.since = time.Now()
	}
	s.cause, s.last, s.err = cause, cause, err
	s.failing.Store(true)
	s.tell(false)
}

// recovered notes an attempt that succeeded.
func (s *deliveryLog) recovered() {
	if !s.failing.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != "" {
		s.log.Info("delivering again", "after", time.Since(s.since).Round(time.Millisecond))
	}
	s.cause, s.last, s.err = "", "", nil
	s.failing.Store(false)
}

// lastCause returns the latest reason why records could not be delivered, "" if there
// was none since the last success.
func (s *deliveryLog) lastCause() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// recordsLost notes records that were accepted and will not be delivered.
func (s *deliveryLog) recordsLost(n int, at partitionLeader, err error) {
	cause := s.sentence(err, at)
	if s.closed.Load() { // the Writer was asleep when its producer was closed
		s.news.add(s)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(s.lost.records == 0)
	s.last = cause
	s.lost.add(n, time.Now(), cause)
	s.log.Error("records lost", "records", n, "partition", at.partition, "broker", at.broker, "error", cause)
}

// recordsRejected notes a record that was not accepted because a limit is reached; full says
// which. It is cheap, because many records are refused under the highest load.
func (s *deliveryLog) recordsRejected(now time.Time, full error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(s.rejected.records == 0)
	s.rejected.add(1, now, full.Error())
	s.unlogged++
	if now.Sub(s.logged) < lineEvery {
		return
	}
	s.log.Error("records rejected", "records", s.unlogged, "error", s.rejected.cause)
	s.logged, s.unlogged = now, 0
}

// line returns a line for Kong's error log, "" for none: at most one per lineEvery.
func (s *deliveryLog) line() string {
	waiting := s.buffered()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.told) < lineEvery {
		return ""
	}
	var parts []string
	if s.lost.records > 0 {
		parts = append(parts, fmt.Sprintf("%d records to topic %s lost since %s: %s",
			s.lost.records, s.topic, s.lost.since.Format(clock), s.lost.cause))
	}
	if s.rejected.records > 0 {
		text := fmt.Sprintf("%d records to topic %s rejected since %s: %s",
			s.rejected.records, s.topic, s.rejected.since.Format(clock), s.rejected.cause)
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
		s.toTell.Store(s.cause != "")
		return ""
	}
	s.lost, s.rejected = tally{}, tally{}
	s.told, s.toldWait = now, now
	return strings.Join(parts, "; ")
}

// names matches the beginning of errors that name the broker themselves. What a broker
// sent comes only after that.
var names = regexp.MustCompile(`^(gave up after \S+: )?(cannot reach broker|broker|SASL \S+ with broker|negotating API versions with kafka broker at) \S+:\d`)

// sentence returns err as one line of bounded length that names a broker: the one that
// the error names, else the partition's leader, else the bootstrap servers. Secrets of
// the configuration are redacted, because a broker may echo them, and kafka-go's prefix
// is removed.
func (s *deliveryLog) sentence(err error, at partitionLeader) string {
	text := s.redact.Redact(strings.TrimPrefix(err.Error(), "kafka.(*Client).Produce: "))
	text = foreign.Text(strings.Join(strings.Fields(text), " "))
	switch {
	case names.MatchString(text):
		return text
	case at.broker != "" && at.broker != noPartition.broker:
		return fmt.Sprintf("broker %s, partition %d: %s", foreign.Text(at.broker), at.partition, text)
	case s.servers != "":
		return "bootstrap servers " + foreign.Cut(s.servers, maxServers) + ": " + text
	}
	return text
}

// maxServers is how many bytes of a sentence the bootstrap servers may take.
const maxServers = 320

// unavailableSince returns why records cannot be delivered at present, and since when; "" if
// no reason is known.
func (s *deliveryLog) unavailableSince() string {
	if !s.failing.Load() {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == "" {
		return ""
	}
	return "cannot deliver since " + s.since.Format(clock) + ": " + s.cause
}
