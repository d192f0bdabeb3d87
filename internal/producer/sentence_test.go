package producer

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/foreign"
)

// secretLog is the log of a topic whose producer has a password, and what it logs.
func secretLog() (*deliveryLog, *strings.Builder) {
	var out strings.Builder
	log := testLog(slog.New(slog.NewTextHandler(&out, nil)))
	log.redact = foreign.NewRedactor("hush-hush", "\x00kong\x00hush-hush")
	log.buffered = func() int64 { return 1 }
	return log, &out
}

func TestSentenceOfAnErrorNamesTheBroker(t *testing.T) {
	s, _ := secretLog()
	at := partitionLeader{partition: 3, broker: "kafka-3:9092"}
	for _, row := range []struct {
		err  error
		at   partitionLeader
		want string
	}{
		{kafka.NotEnoughReplicas, at, "broker kafka-3:9092, partition 3: [19] Not Enough Replicas"},
		{fmt.Errorf("kafka.(*Client).Produce: %w", errors.New("EOF")), at, "broker kafka-3:9092, partition 3: EOF"},
		{kafka.SASLAuthenticationFailed, noPartition, "bootstrap servers kafka-1:9092,kafka-2:9092: [58] SASL Authentication Failed"},
		{errors.New("cannot reach broker kafka-4:9092: connection refused"), at, "cannot reach broker kafka-4:9092: connection refused"},
		{errors.New("gave up after 1m0s: cannot reach broker [::1]:9092: connection refused"), noPartition, "gave up after 1m0s: cannot reach broker [::1]:9092: connection refused"},
		{errors.New("SASL PLAIN with broker kafka-1:9092: the exchange is over"), noPartition, "SASL PLAIN with broker kafka-1:9092: the exchange is over"},
		{errors.New("could not get token: no bearer token has these characters"), at, "could not get token: no bearer token has these characters"},
		// What a broker says does not pass for the name of another one.
		{fmt.Errorf("%w: broker other:9092: all is well", kafka.SASLAuthenticationFailed), at, "broker kafka-3:9092, partition 3: [58] SASL Authentication Failed"},
		{errors.New("no answer within 14s"), at, "broker kafka-3:9092, partition 3: no answer within 14s"},
	} {
		if got := s.sentence(row.err, row.at); !strings.HasPrefix(got, row.want) {
			t.Errorf("%v: %s, want %s", row.err, got, row.want)
		}
	}
}

func TestWhatABrokerSaysIsOneShortLineWithoutSecrets(t *testing.T) {
	s, out := secretLog()
	err := fmt.Errorf("%w: login \x00kong\x00hush-hush refused\n2026/01/01 00:00:00 [crit] forged\x1b[31m\u202e %s", kafka.SASLAuthenticationFailed, strings.Repeat("hush-hush x ", 3000))
	at := partitionLeader{partition: 0, broker: "kafka-3:9092"}
	s.attemptFailed(at, err)
	s.metadataFailed(err)
	s.recordsLost(1, at, err)
	lines := append(strings.SplitAfter(out.String(), "\n"), s.line(), s.sentence(err, at))
	for _, line := range lines {
		if strings.Contains(line, "hush") || len(line) > 1200 || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\n\x00\x1b\u202e") {
			t.Errorf("%d bytes: %q", len(line), line)
		}
	}
	if text := out.String(); strings.Count(text, "\n") != 3 || strings.Count(text, "login [redacted] refused") != 3 {
		t.Errorf("the log reads\n%s", text)
	}
}

// The error that a sender has does not always say where it comes from.
func TestErrorOfASenderIsExplainedByTheLastFailure(t *testing.T) {
	s, _ := secretLog()
	h := &Handle{topics: []string{"t"}, producer: &Producer{wording: s.wording, topics: map[string]*topic{"t": {name: "t", log: s}}}}
	at := partitionLeader{partition: 3, broker: "kafka-3:9092"}
	if got := h.Unavailable("t"); got != "" {
		t.Errorf("at first: %s", got)
	}
	s.attemptFailed(at, kafka.NotEnoughReplicas)
	for err, want := range map[error]string{
		&undeliveredError{kafka.NotEnoughReplicas, at}: "broker kafka-3:9092, partition 3: [19] Not Enough Replicas: ",
		kafka.MessageSizeTooLarge:                      "bootstrap servers kafka-1:9092,kafka-2:9092: [10] Message Size Too Large: ",
		ErrClosed:                                      "the producer is closed",
		errAbandoned:                                   "the server was shut down before",
	} {
		if got := h.Explain(err); !strings.HasPrefix(got, want) {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
	if got := h.Unavailable("another"); got != "" {
		t.Errorf("another topic: %s", got)
	}
	if got := h.Unavailable("t"); !strings.HasPrefix(got, "cannot deliver since ") || !strings.Contains(got, "broker kafka-3:9092, partition 3: [19]") {
		t.Errorf("while it cannot deliver: %s", got)
	}
	s.recovered()
	if got := h.Unavailable("t"); got != "" {
		t.Errorf("afterwards: %s", got)
	}
}
