package producer

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// Ten minutes without brokers, and requests all the time. The time is a
// bubble's, so it takes a moment.
func TestTenMinutesOfOutageGrowNothingAndLoseNothing(t *testing.T) {
	address := closedPort(t)
	synctest.Test(t, func(t *testing.T) {
		const limit = 2000
		p := newProducer(configOf(t, []string{address}, map[string]any{
			"producer_async_buffering_limits_messages_in_memory": limit}), Access{}, nil, slog.New(slog.DiscardHandler))
		refused := int64(0)
		minute := func() (goroutines int, heap uint64) {
			for range 600 {
				for range 10 {
					if err := p.Send(t.Context(), record("x")); errors.Is(err, ErrFull) {
						refused++
					} else if err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(100 * time.Millisecond)
			}
			_ = p.News()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return runtime.NumGoroutine(), m.HeapAlloc
		}
		goroutines, heap := minute()
		for range 9 {
			minute()
		}
		if g, h := minute(); g > goroutines+5 || h > heap+heap/2 {
			t.Errorf("%d goroutines became %d, %d bytes of heap became %d", goroutines, g, heap, h)
		}
		if s := p.Stats(); s.Accepted != limit || s.Buffered != limit || s.Refused != refused || s.Failed != 0 {
			t.Errorf("%+v, %d were refused", s, refused)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if left := p.close(ctx); left != limit {
			t.Errorf("%d left", left)
		}
		time.Sleep(time.Minute) // whatever still sleeps
	})
}
