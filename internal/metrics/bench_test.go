package metrics

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"kafka-upstream/internal/producer"
)

func BenchmarkScrape(b *testing.B) {
	for _, topics := range []int{1, 10, 100, producer.MaxTopics} {
		b.Run(fmt.Sprintf("%d topics", topics), func(b *testing.B) {
			var stats producer.Stats
			for i := range topics {
				stats.Topics = append(stats.Topics, busyTopic(fmt.Sprintf("topic-%d", i)))
			}
			h := New("1.2.3", func() producer.Stats { return stats }).Handler()
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
