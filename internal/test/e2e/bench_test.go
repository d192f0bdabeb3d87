package e2e

import (
	"slices"
	"sync"
	"testing"
	"time"

	"kafka-upstream/internal/test/e2e/rig"
)

// BenchmarkRefusals has 8 clients send, as fast as they can, while brokers are away and the buffer is
// full, and reports how long they wait for their 503. The first figure is the
// same with a buffer that has room: the protocol and this machine.
func BenchmarkRefusals(b *testing.B) {
	for name, limit := range map[string]int{"room": 10000000, "full": 1} {
		b.Run(name, func(b *testing.B) {
			s := rig.Start(b, "-drain-timeout", "10ms")
			w := s.Worker()
			p := rig.NewPlugin(rig.Settings(b, []string{rig.ClosedPort(b)}, map[string]any{
				"producer_async_buffering_limits_messages_in_memory": limit, "producer_async_buffering_limits_bytes_in_memory": 1 << 40}))
			var mu sync.Mutex
			var took []time.Duration
			next := make(chan struct{})
			var clients sync.WaitGroup
			for range 8 {
				clients.Go(func() {
					for range next {
						began := time.Now()
						if _, err := w.HandleEvent(b.Context(), p, new(rig.Kong)); err != nil {
							b.Error(err)
						}
						mu.Lock()
						took = append(took, time.Since(began))
						mu.Unlock()
					}
				})
			}
			for b.Loop() {
				next <- struct{}{}
			}
			close(next)
			clients.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
