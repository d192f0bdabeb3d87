package metrics

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// What a request pays: its record's arrival.
func BenchmarkAccepted(b *testing.B) {
	m := New("1.2.3")
	p := m.Producer("orders", 1, Limits{Records: 50000, Bytes: 256 << 20})
	p.Accepted(1) // so that the buffer is not empty, as under load
	b.ReportAllocs()
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			p.Accepted(1000)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				p.Accepted(1000)
			}
		})
	})
	b.Run("buffer empty", func(b *testing.B) {
		q := m.Producer("orders", 1, Limits{})
		for b.Loop() {
			q.Accepted(1000)
			q.Delivered(1, 1000)
		}
	})
	b.Run("off", func(b *testing.B) {
		var p *Producer
		for b.Loop() {
			p.Accepted(1000)
		}
	})
}

func BenchmarkScrape(b *testing.B) {
	for _, topics := range []int{1, 10, 100, maxTopics} {
		b.Run(fmt.Sprintf("%d topics", topics), func(b *testing.B) {
			m := New("1.2.3")
			for i := range topics {
				m.Producer(fmt.Sprintf("topic-%d", i), 1, Limits{}).Accepted(1)
			}
			h := m.Handler()
			var size int64
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				if w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
				size, _ = io.Copy(io.Discard, w.Body)
			}
			b.ReportMetric(float64(size), "B/scrape")
		})
	}
}
