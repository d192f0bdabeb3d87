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

// testStatus is the status of a producer with a password, which logs into the buffer.
func secretStatus() (*status, *strings.Builder) {
	var out strings.Builder
	s := newStatus("orders", slog.New(slog.NewTextHandler(&out, nil)), new(news), func() int64 { return 1 })
	s.servers = "kafka-1:9092,kafka-2:9092"
	s.redact = foreign.NewRedactor("hush-hush", "\x00kong\x00hush-hush")
	return s, &out
}

func TestSentenceOfAnErrorNamesTheBroker(t *testing.T) {
	s, _ := secretStatus()
	at := place{partition: 3, broker: "kafka-3:9092"}
	for _, row := range []struct {
		err  error
		at   place
		want string
	}{
		{kafka.NotEnoughReplicas, at, "broker kafka-3:9092, partition 3: [19] Not Enough Replicas"},
		{fmt.Errorf("kafka.(*Client).Produce: %w", errors.New("EOF")), at, "broker kafka-3:9092, partition 3: EOF"},
		{kafka.SASLAuthenticationFailed, nowhere, "bootstrap servers kafka-1:9092,kafka-2:9092: [58] SASL Authentication Failed"},
		{errors.New("cannot reach broker kafka-4:9092: connection refused"), at, "cannot reach broker kafka-4:9092: connection refused"},
		{errors.New("gave up after 1m0s: cannot reach broker [::1]:9092: connection refused"), nowhere, "gave up after 1m0s: cannot reach broker [::1]:9092: connection refused"},
		{errors.New("SASL PLAIN with broker kafka-1:9092: the exchange is over"), nowhere, "SASL PLAIN with broker kafka-1:9092: the exchange is over"},
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
	s, out := secretStatus()
	err := fmt.Errorf("%w: login \x00kong\x00hush-hush refused\n2026/01/01 00:00:00 [crit] forged\x1b[31m\u202e %s", kafka.SASLAuthenticationFailed, strings.Repeat("hush-hush x ", 3000))
	at := place{partition: 0, broker: "kafka-3:9092"}
	s.trouble(at, err)
	s.unknown(err)
	s.lose(1, at, err)
	lines := append(strings.SplitAfter(out.String(), "\n"), s.kong(), s.sentence(err, at))
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
	s, _ := secretStatus()
	p := &Producer{status: s}
	at := place{partition: 3, broker: "kafka-3:9092"}
	if got := p.Trouble(); got != "" {
		t.Errorf("at first: %s", got)
	}
	s.trouble(at, kafka.NotEnoughReplicas)
	for err, want := range map[error]string{
		&undeliveredError{kafka.NotEnoughReplicas, at}: "broker kafka-3:9092, partition 3: [19] Not Enough Replicas: ",
		kafka.MessageSizeTooLarge:                      "bootstrap servers kafka-1:9092,kafka-2:9092: [10] Message Size Too Large: ",
		ErrClosed:                                      "the producer is closed",
		errAbandoned:                                   "the server was shut down before",
	} {
		if got := p.Explain(err); !strings.HasPrefix(got, want) {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
	if got := p.Trouble(); !strings.HasPrefix(got, "cannot deliver since ") || !strings.Contains(got, "broker kafka-3:9092, partition 3: [19]") {
		t.Errorf("in trouble: %s", got)
	}
	s.fine()
	if got := p.Trouble(); got != "" {
		t.Errorf("afterwards: %s", got)
	}
}
