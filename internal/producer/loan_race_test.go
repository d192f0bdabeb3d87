//go:build race

package producer

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/kafkatest"
	"kafka-upstream/internal/values"
)

// Under the race detector memory is overwritten when it is freed.
func TestMemoryOfValuesIsFreedOnceNobodyCanReadIt(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings map[string]any
		before   func(f *kafkatest.Fake) (over <-chan struct{})
		freed    bool
		stats    Stats
	}{
		{name: "delivered", freed: true, stats: Stats{Accepted: 1, Delivered: 1}},
		{name: "delivered to a sender that waits", settings: map[string]any{"producer_async": false}, freed: true, stats: Stats{Accepted: 1, Delivered: 1}},
		{name: "delivered at the second attempt, the first one refused", freed: true, stats: Stats{Accepted: 1, Delivered: 1}, before: func(f *kafkatest.Fake) <-chan struct{} {
			f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 1})
			return nil
		}},
		{name: "delivered at the second attempt, the first one given up", stats: Stats{Accepted: 1, Delivered: 1}, before: func(f *kafkatest.Fake) <-chan struct{} {
			var again atomic.Bool
			over := make(chan struct{})
			f.Hold(kmsg.Produce, func(<-chan struct{}) {
				if !again.Swap(true) {
					time.Sleep(300 * time.Millisecond) // longer than the timeout
					close(over)
				}
			})
			return over
		}, settings: map[string]any{"timeout": 100}},
		{name: "given up", stats: Stats{Accepted: 1, Failed: 1}, before: func(f *kafkatest.Fake) <-chan struct{} {
			f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1})
			return nil
		}},
		{name: "sent, by acks 0", settings: map[string]any{"producer_request_acks": 0}, freed: true, stats: Stats{Accepted: 1, Delivered: 1}},
		{name: "refused", settings: map[string]any{"producer_async_buffering_limits_bytes_in_memory": 1024}, freed: true, stats: Stats{Refused: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
			var over <-chan struct{}
			if c.before != nil {
				over = c.before(f)
			}
			more := map[string]any{"producer_request_retries_backoff_timeout": 1}
			for k, v := range c.settings {
				more[k] = v
			}
			p := newTestProducer(t, f.Addrs(), more)
			want := bytes.Repeat([]byte("x"), 1100)
			value := values.Copy(want)
			_ = p.Send(t.Context(), Record{Topic: "t", Value: value, Lent: true})
			if s := settled(t, p); s != c.stats {
				t.Errorf("%+v, want %+v", s, c.stats)
			}
			p.close(context.Background()) // from here on the Writer reads and writes nothing
			if freed := !bytes.Equal(value, want); freed != c.freed {
				t.Errorf("its memory was freed: %v, want %v", freed, c.freed)
			}
			if over != nil {
				<-over
			}
			for _, r := range f.Records(t, "t", int(c.stats.Delivered)) {
				if !bytes.Equal(r.Value, want) {
					t.Errorf("%q is in the topic", r.Value)
				}
			}
		})
	}
}
