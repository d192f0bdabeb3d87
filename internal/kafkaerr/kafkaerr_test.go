package kafkaerr

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// dialled is an error of another package that says whether something was sent.
type dialled bool

func (e dialled) Error() string { return "cannot reach broker" }
func (e dialled) Unsent() bool  { return bool(e) }

func TestErrorsAreWhatTheyShow(t *testing.T) {
	all := map[string]func(error) bool{"unsent": IsUnsent, "unreachable": IsUnreachable, "disconnected": IsDisconnected,
		"authentication": IsAuthentication, "missing topic": IsMissingTopic, "too large": IsTooLarge}
	for _, row := range []struct {
		err error
		are []string
	}{
		{nil, nil},
		{errors.New("the dog ate it"), nil},
		{dialled(true), []string{"unsent", "unreachable"}},
		{dialled(false), nil},
		{protocol.NewErrNoLeader("t", 1), []string{"unsent", "unreachable"}},
		{kafka.BrokerNotAvailable, []string{"unsent", "unreachable"}},
		{context.DeadlineExceeded, []string{"unreachable"}},
		{syscall.ECONNREFUSED, []string{"unreachable"}},
		{io.ErrUnexpectedEOF, []string{"unreachable", "disconnected"}},
		{syscall.ECONNRESET, []string{"unreachable", "disconnected"}},
		{kafka.NetworkException, nil},
		{kafka.NotLeaderForPartition, nil},
		{kafka.SASLAuthenticationFailed, []string{"authentication"}},
		{kafka.UnsupportedSASLMechanism, []string{"authentication"}},
		{kafka.IllegalSASLState, []string{"authentication"}},
		{notOurs{}, []string{"authentication"}},
		{&tls.CertificateVerificationError{Err: errors.New("expired")}, []string{"authentication"}},
		{&net.OpError{Op: "remote error", Err: tls.AlertError(42)}, []string{"authentication"}},
		{kafka.UnknownTopicOrPartition, []string{"missing topic"}},
		{kafka.LeaderNotAvailable, []string{"missing topic"}},
		{kafka.MessageSizeTooLarge, []string{"too large"}},
		{kafka.RecordListTooLarge, []string{"too large"}},
	} {
		want := make(map[string]bool)
		for _, name := range row.are {
			want[name] = true
		}
		for name, is := range all {
			if is(row.err) != want[name] || row.err != nil && is(fmt.Errorf("wrapped: %w", row.err)) != want[name] {
				t.Errorf("%v: %s is %v", row.err, name, !want[name])
			}
		}
	}
}
