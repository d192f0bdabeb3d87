//go:build unix

package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// processor returns the processor time that this process has used.
func processor(b testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fleet returns producers that have met their broker.
func fleet(b testing.TB, n int, set func(*Options)) ([]*Producer, *acknowledger) {
	a := startAcknowledger(b)
	producers := make([]*Producer, n)
	for i := range producers {
		producers[i] = newTestProducer(b, []string{a.address}, set)
		for range 200 {
			if err := producers[i].Send(b.Context(), record("x")); err != nil {
				b.Fatal(err)
			}
			if !producers[i].o.Async {
				break
			}
		}
	}
	for _, p := range producers {
		settled(b, p)
	}
	return producers, a
}

// sendAll sends as one that may wait where the buffer is full.
func mustSend(b testing.TB, p *Producer, r Record) {
	for {
		err := p.Send(context.Background(), r)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrFull) {
			b.Error(err)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// BenchmarkSend has 64 senders send records of 1 KiB as fast as they can through
// 1, 16 and 100 producers, to a broker in another process. It counts all that a
// record costs this one, the delivery too.
func BenchmarkSend(b *testing.B) {
	for _, configurations := range []int{1, 16, 100} {
		b.Run(fmt.Sprintf("configurations=%d", configurations), func(b *testing.B) {
			benchmarkSend(b, configurations, func(o *Options) { o.Linger = time.Second })
		})
	}
}

func benchmarkSend(b *testing.B, configurations int, set func(*Options)) {
	producers, a := fleet(b, configurations, set)
	before := a.records(b)
	r := Record{Topic: "t", Value: make([]byte, 1024)}
	var sender atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(32) // times GOMAXPROCS, which is 2 where this was measured
	cpu := processor(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := int(sender.Add(1)); pb.Next(); i++ {
			mustSend(b, producers[i%len(producers)], r)
		}
	})
	for _, p := range producers {
		p.close(b.Context(), errAbandoned)
	}
	b.ReportMetric(float64((processor(b)-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
	if n := a.records(b) - before; n != int64(b.N) {
		b.Errorf("%d records were acknowledged, %d were sent", n, b.N)
	}
}

// BenchmarkIdempotent is BenchmarkSend through one producer with acks -1, idempotent and not.
func BenchmarkIdempotent(b *testing.B) {
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprintf("idempotent=%v", on), func(b *testing.B) {
			benchmarkSend(b, 1, func(o *Options) { o.Linger, o.Acks, o.Idempotent = time.Second, -1, on })
		})
	}
}

// BenchmarkTopics sends through one producer to 1, 10 and 100 topics, of which many cost
// what one does.
func BenchmarkTopics(b *testing.B) {
	for _, topics := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("topics=%d", topics), func(b *testing.B) {
			a := startAcknowledger(b)
			p := newTestProducer(b, []string{a.address}, func(o *Options) { o.Linger = time.Second })
			records := make([]Record, topics)
			for i := range records {
				records[i] = Record{Topic: fmt.Sprintf("topic-%d", i), Value: make([]byte, 1024)}
				mustSend(b, p, records[i])
			}
			settled(b, p)
			var sender atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(32)
			cpu := processor(b)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := int(sender.Add(1)); pb.Next(); i++ {
					mustSend(b, p, records[i%topics])
				}
			})
			p.close(b.Context(), errAbandoned)
			b.ReportMetric(float64((processor(b)-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkPaced sends at the rates of a gateway, where it is not the batches
// that cost, but to be woken.
func BenchmarkPaced(b *testing.B) {
	for _, perSecond := range []int{2000, 20000} {
		for _, configurations := range []int{1, 16} {
			b.Run(fmt.Sprintf("rate=%d/configurations=%d", perSecond, configurations), func(b *testing.B) {
				producers, _ := fleet(b, configurations, func(o *Options) { o.Linger = time.Second })
				r := Record{Topic: "t", Value: make([]byte, 1024)}
				b.ReportAllocs()
				cpu := processor(b)
				b.ResetTimer()
				i, began := 0, time.Now()
				for i < b.N {
					time.Sleep(time.Millisecond)
					for due := int(time.Since(began).Seconds() * float64(perSecond)); i < min(due, b.N); i++ {
						mustSend(b, producers[i%len(producers)], r)
					}
				}
				for _, p := range producers {
					p.close(b.Context(), errAbandoned)
				}
				b.ReportMetric(float64((processor(b)-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// BenchmarkSync has senders wait for the acknowledgement.
func BenchmarkSync(b *testing.B) {
	for _, senders := range []int{1, 64} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			producers, _ := fleet(b, 1, func(o *Options) { o.Async = false })
			r := Record{Topic: "t", Value: make([]byte, 1024)}
			var mu sync.Mutex
			var took []time.Duration
			var wg sync.WaitGroup
			next := make(chan struct{})
			b.ReportAllocs()
			cpu := processor(b)
			for range senders {
				wg.Go(func() {
					var own []time.Duration
					for range next {
						began := time.Now()
						mustSend(b, producers[0], r)
						own = append(own, time.Since(began))
					}
					mu.Lock()
					defer mu.Unlock()
					took = append(took, own...)
				})
			}
			for b.Loop() {
				next <- struct{}{}
			}
			close(next)
			wg.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64((processor(b)-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkRefused has senders meet a full buffer.
func BenchmarkRefused(b *testing.B) {
	p := newTestProducer(b, []string{closedPort(b)}, func(o *Options) { o.BufferRecords = 1 })
	mustSend(b, p, record("x"))
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := p.Send(b.Context(), record("x")); !errors.Is(err, ErrFull) {
				b.Error(err)
			}
		}
	})
}
