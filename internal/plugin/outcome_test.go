package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// told is a producer that has something to say.
type told struct{ explanation, trouble string }

func (p told) Cause(error) string        { return "Cause" }
func (p told) Explain(error) string      { return p.explanation }
func (p told) Unavailable(string) string { return p.trouble }

func TestLineOfAnUndeliveredRecordSaysWhatRanOutAndWhen(t *testing.T) {
	const cause = "cannot deliver since 11:01:48: broker kafka:9092, partition 3: no answer within 21s"
	for _, row := range []struct {
		name   string
		err    error
		told   told
		took   time.Duration
		reason Reason
		log    string
	}{
		{"the request's time", errSyncTimeout, told{trouble: cause}, 55*time.Second + 300*time.Microsecond, TimedOut,
			"could not send a record to topic orders: no acknowledgement within 55s: " + cause},
		{"the request's time, and nothing is known", errSyncTimeout, told{}, 55 * time.Second, TimedOut,
			"could not send a record to topic orders: no acknowledgement within 55s"},
		{"an attempt's time", fmt.Errorf("attempt: %w", context.DeadlineExceeded), told{explanation: "broker kafka:9092: no answer within 7s"}, 14200 * time.Millisecond, NotDelivered,
			"could not send a record to topic orders: broker kafka:9092: no answer within 7s (after 14.2s)"},
		{"a connection's time", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, told{explanation: "broker kafka:9092: i/o timeout"}, 3 * time.Millisecond, NotDelivered,
			"could not send a record to topic orders: broker kafka:9092: i/o timeout (after 3ms)"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := undeliveredAs(row.err, row.told, "orders", row.took)
			if !errors.Is(err, row.err) {
				t.Errorf("%v is not %v any more", err, row.err)
			}
			if out := outcome(err, "configured", 1024); out.Reason != row.reason || strings.Join(out.Log, "\n") != row.log {
				t.Errorf("reason %v, %q, want %v, %q", out.Reason, out.Log, row.reason, row.log)
			}
		})
	}
}
