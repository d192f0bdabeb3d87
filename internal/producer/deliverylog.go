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
	// waitingEvery is the shortest time between two lines about records that wait, which are
	// not lost.
	waitingEvery = 10 * time.Second
	// clock is the format of times in lines.
	clock = "15:04:05"
)

// deliveryLog reports on the deliveries of one topic in one producer: to the log as they
// happen, and to Kong's error log with the next request, since a failed delivery has no
// request of its own any more.
type deliveryLog struct {
	topic string
	wording
	log      *slog.Logger
	failed   func(error)  // called with every error; may be nil
	buffered func() int64 // how many records the buffer holds
	lines    *pendingLines
	failing  atomic.Bool // cause is set
	pending  atomic.Bool // there may be a line for Kong
	closed   atomic.Bool // close was called

	mu       sync.Mutex
	cause    string // why nothing can be delivered now; "" if no reason is known
	last     string // the latest cause, kept by close
	err      error  // the error of last
	since    time.Time
	lost     tally     // not yet reported to Kong
	rejected tally     // not yet reported to Kong
	logged   time.Time // last line to stderr about rejected records
	unlogged int       // rejected since
	reported time.Time // last line to Kong
	waiting  time.Time // last line to Kong about records that wait
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
	l := &deliveryLog{
		topic: t.name, log: p.logger.With("topic", t.name), lines: p.pending,
		wording: p.wording, failed: p.access.Failed,
		buffered: func() int64 {
			p.mu.Lock()
			defer p.mu.Unlock()
			return t.ledger.Buffered.Records
		},
	}
	p.pending.add(l)
	return l
}

// close is called when the topic is forgotten, or its producer is closed. What was not
// reported yet is still reported after that.
func (l *deliveryLog) close() {
	l.mu.Lock()
	l.cause = ""
	l.mu.Unlock()
	l.closed.Store(true)
	if !l.pending.Load() {
		l.lines.remove(l)
	}
}

// schedule announces a line for Kong's error log: with the next request if this is the first
// event of its kind since the last line, else with one soon after.
func (l *deliveryLog) schedule(first bool) {
	l.pending.Store(true)
	l.lines.schedule(first)
}

// lastError returns why nothing can be delivered now, nil if no reason is known.
func (l *deliveryLog) lastError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// attemptFailed notes a failed attempt to deliver to a partition. No record is lost yet.
func (l *deliveryLog) attemptFailed(at partitionLeader, err error) {
	cause := l.sentence(err, at)
	l.unavailable(err, cause)
	l.log.Warn("cannot deliver for now", "partition", at.partition, "broker", at.broker, "error", cause)
}

// metadataFailed notes a metadata request that failed.
func (l *deliveryLog) metadataFailed(err error) {
	cause := l.sentence(err, noPartition)
	l.unavailable(err, cause)
	l.log.Warn("cannot fetch the topic's metadata", "error", cause)
}

func (l *deliveryLog) unavailable(err error, cause string) {
	if l.failed != nil {
		l.failed(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == "" {
		l.since = time.Now()
	}
	l.cause, l.last, l.err = cause, cause, err
	l.failing.Store(true)
	l.schedule(false)
}

// recovered notes an attempt that succeeded.
func (l *deliveryLog) recovered() {
	if !l.failing.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != "" {
		l.log.Info("delivering again", "after", time.Since(l.since).Round(time.Millisecond))
	}
	l.cause, l.last, l.err = "", "", nil
	l.failing.Store(false)
}

// lastCause returns the latest reason why records could not be delivered, "" if there
// was none since the last success.
func (l *deliveryLog) lastCause() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// recordsLost notes records that were accepted and will not be delivered.
func (l *deliveryLog) recordsLost(n int, at partitionLeader, err error) {
	cause := l.sentence(err, at)
	if l.closed.Load() { // the producer was closed before this batch was completed
		l.lines.add(l)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.schedule(l.lost.records == 0)
	l.last = cause
	l.lost.add(n, time.Now(), cause)
	l.log.Error("records lost", "records", n, "partition", at.partition, "broker", at.broker, "error", cause)
}

// recordsRejected notes records that were not accepted because a limit is reached; the error
// full is that of the limit. It is cheap, because many records are rejected at the highest
// load.
func (l *deliveryLog) recordsRejected(n int, now time.Time, full error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.schedule(l.rejected.records == 0)
	l.rejected.add(n, now, full.Error())
	l.unlogged += n
	if now.Sub(l.logged) < lineEvery {
		return
	}
	l.log.Error("records rejected", "records", l.unlogged, "error", l.rejected.cause)
	l.logged, l.unlogged = now, 0
}

// line returns a line for Kong's error log, "" for none: at most one per lineEvery.
func (l *deliveryLog) line() string {
	waiting := l.buffered()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.reported) < lineEvery {
		return ""
	}
	var parts []string
	if l.lost.records > 0 {
		parts = append(parts, fmt.Sprintf("%d records to topic %s lost since %s: %s",
			l.lost.records, l.topic, l.lost.since.Format(clock), l.lost.cause))
	}
	if l.rejected.records > 0 {
		text := fmt.Sprintf("%d records to topic %s rejected since %s: %s",
			l.rejected.records, l.topic, l.rejected.since.Format(clock), l.rejected.cause)
		if l.cause != "" {
			text += "; cannot deliver since " + l.since.Format(clock) + ": " + l.cause
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 && l.cause != "" && waiting > 0 && now.Sub(l.since) >= lineEvery && now.Sub(l.waiting) >= waitingEvery {
		parts = append(parts, fmt.Sprintf("%d records to topic %s are waiting: cannot deliver since %s: %s",
			waiting, l.topic, l.since.Format(clock), l.cause))
	}
	if len(parts) == 0 {
		l.pending.Store(l.cause != "")
		return ""
	}
	l.lost, l.rejected = tally{}, tally{}
	l.reported, l.waiting = now, now
	return strings.Join(parts, "; ")
}

// namesBroker matches the beginning of errors that name the broker themselves, or concern none.
// Text that a broker sent comes only after it.
var namesBroker = regexp.MustCompile(`^(gave up after \S+: )?((cannot reach broker|broker|SASL \S+ with broker|negotating API versions with kafka broker at) \S+:\d|could not get (token[ :]|AWS credentials:))`)

// wording makes sentences of errors.
type wording struct {
	servers string            // the bootstrap servers, for errors that name no broker
	redact  *foreign.Redactor // of texts from brokers; nil: there are no secrets
}

// sentence returns err as one line of bounded length that names a broker: the one that
// the error names, else the partition's leader, else the bootstrap servers. Secrets of
// the configuration are redacted, because a broker may echo them, and kafka-go's prefix
// is removed.
func (w *wording) sentence(err error, at partitionLeader) string {
	text := w.redact.Redact(strings.TrimPrefix(err.Error(), "kafka.(*Client).Produce: "))
	text = foreign.Text(strings.Join(strings.Fields(text), " "))
	switch {
	case namesBroker.MatchString(text):
		return text
	case at.broker != "" && at.broker != noPartition.broker:
		return fmt.Sprintf("broker %s, partition %d: %s", foreign.Cut(w.redact.Redact(at.broker), maxServers), at.partition, text)
	case w.servers != "":
		return "bootstrap servers " + foreign.Cut(w.servers, maxServers) + ": " + text
	}
	return text
}

// maxServers is how many bytes of a sentence the bootstrap servers, or a broker, may take.
const maxServers = 320

// unavailableSince returns why records cannot be delivered at present, and since when; "" if
// no reason is known.
func (l *deliveryLog) unavailableSince() string {
	if !l.failing.Load() {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == "" {
		return ""
	}
	return "cannot deliver since " + l.since.Format(clock) + ": " + l.cause
}
