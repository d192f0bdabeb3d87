package producer

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	saslplain "github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/test/kafkatest"
)

func TestCauseForAClientNamesBrokerAndError(t *testing.T) {
	log, _ := secretLog()
	h := &Handle{producer: &Producer{wording: log.wording}}
	at := partitionLeader{partition: 3, broker: "kafka-3:9092"}
	for _, row := range []struct {
		err  error
		want string
	}{
		{&undeliveredError{kafka.TopicAuthorizationFailed, at}, "broker kafka-3:9092, partition 3: TopicAuthorizationFailed: the client is not authorized to access the requested topic"},
		{fmt.Errorf("%w: hush-hush, says the broker", kafka.SASLAuthenticationFailed), "bootstrap servers kafka-1:9092,kafka-2:9092: SASLAuthenticationFailed: SASL Authentication failed"},
		{kafka.Error(9999), "bootstrap servers kafka-1:9092,kafka-2:9092: Kafka's error 9999"},
		{errors.New("cannot reach broker kafka-4:9092: connection refused"), "cannot reach broker kafka-4:9092: connection refused"},
		{&undeliveredError{context.DeadlineExceeded, at}, "broker kafka-3:9092, partition 3: context deadline exceeded"},
		{ErrFull, "the buffer is full"},
		{memory.ErrFull, memory.ErrFull.Error()},
		{ErrClosed, "the producer is closed"},
		{ErrUnhealthy, ErrUnhealthy.Error()},
		{&TooLargeError{10, 5}, (&TooLargeError{10, 5}).Error()},
	} {
		if got := h.Cause(row.err); got != row.want {
			t.Errorf("%v\ngot  %s\nwant %s", row.err, got, row.want)
		}
	}
}

func TestCauseForAClientIsOneShortLineWithoutSecrets(t *testing.T) {
	log, _ := secretLog()
	h := &Handle{producer: &Producer{wording: log.wording}}
	const secret = "hush-hush"
	for _, said := range []string{
		secret, strings.Repeat("x "+secret+"\r\n", 1000), `{"error":"` + secret + "\x00\x1b[31m\u202e" + `"}`,
		base64.StdEncoding.EncodeToString([]byte("\x00kong\x00" + secret)), hex.EncodeToString([]byte(secret)),
	} {
		for _, err := range []error{errors.New(said), fmt.Errorf("cannot reach broker kafka-1:9092: %s", said),
			fmt.Errorf("%w: %s", kafka.TopicAuthorizationFailed, said), &undeliveredError{errors.New(said), partitionLeader{1, strings.Repeat(said, 100)}}} {
			for _, got := range []string{h.Cause(err), h.Explain(err)} {
				if strings.Contains(got, said) || strings.Contains(got, secret) || len(got) > 1200 || strings.ContainsAny(got, "\r\n\x00\x1b\u202e") {
					t.Errorf("%d bytes: %q", len(got), got)
				}
			}
			if got := h.Cause(err); len(got) > maxCause {
				t.Errorf("%d bytes: %q", len(got), got)
			}
		}
	}
}

// What the cause says of genuine failures, with a password that the broker echoes.
func TestCausesOfFailedRecordsHaveNoPassword(t *testing.T) {
	const password = "s3cret-p4ssword"
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	var refuse atomic.Bool
	f.ControlKey(int16(kmsg.SASLHandshake), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		return r.ResponseKind(), nil, true
	})
	f.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		response := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		if refuse.Load() {
			response.ErrorCode = kerr.SaslAuthenticationFailed.Code
			response.ErrorMessage = kmsg.StringPtr("no " + string(r.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes))
		}
		return response, nil, true
	})
	security := func(context.Context, Options) (Access, error) {
		return Access{SASL: saslplain.Mechanism{Username: "orders", Password: password}, Redact: foreign.NewRedactor(password, "\x00orders\x00"+password)}, nil
	}
	for _, row := range []struct {
		refuse bool
		denied int
		want   string
	}{{false, 1, "TopicAuthorizationFailed"}, {true, 0, "SASLAuthenticationFailed"}} {
		refuse.Store(row.refuse)
		pool := NewPool(PoolOptions{Security: security, Log: discard})
		h := acquire(t, pool, testOptions(f.Addrs(), func(o *Options) { o.Async, o.MaxAttempts, o.Backoff = false, 1, time.Millisecond }))
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: row.denied})
		err := h.Send(t.Context(), record("x"))
		if got := h.Cause(err); !strings.Contains(got, row.want) || !strings.Contains(got, f.Addrs()[0]) || strings.Contains(got, password) {
			t.Errorf("%v: %s", err, got)
		}
		h.Release()
		pool.Close(t.Context())
	}
}
