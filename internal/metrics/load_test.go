package metrics

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Senders and those that deliver are at work while scrapes go on: in each the
// sums agree, nothing is below 0, and no counter goes back.
func TestSumsAgreeInEveryScrapeUnderLoad(t *testing.T) {
	const records = 5000
	m := New("1.2.3")
	type handed struct {
		p     *Producer
		bytes int64
	}
	var senders, deliverers, scrapers sync.WaitGroup
	queue := make(chan handed, 100)
	for i := range 4 {
		acks := i%3 - 1
		senders.Go(func() {
			for n := range records {
				p := m.Producer("orders", acks, Limits{Records: 1000, Bytes: 100000})
				bytes := int64(n % 50)
				p.Accepted(bytes)
				queue <- handed{p, bytes}
				p.Close() // its record's fate comes later
			}
		})
		deliverers.Go(func() {
			n := 0
			for h := range queue {
				h.p.Attempt(n%2 == 1, time.Millisecond, nil)
				switch n++; n % 4 {
				case 0:
					h.p.Failed(errTest, 1, h.bytes)
				case 1:
					h.p.Left(1, h.bytes)
				default:
					h.p.Delivered(1, h.bytes)
				}
				h.p.ConnectionOpened()()
			}
		})
	}
	done := make(chan struct{})
	for range 2 {
		scrapers.Go(func() {
			before := make(map[string]float64)
			for n := 0; ; n++ {
				select {
				case <-done:
					t.Logf("%d scrapes", n)
					return
				default:
				}
				values := scrape(t, m)
				for _, unit := range []string{"records", "bytes"} {
					accepted, rest, buffered := sums(values, "orders", unit)
					if accepted != rest || buffered < 0 {
						t.Errorf("%v %s were accepted, %v are accounted for, %v of them buffered", accepted, unit, rest, buffered)
					}
				}
				if v := values[`kafka_upstream_connections{topic="orders"}`]; v < 0 {
					t.Errorf("%v connections", v)
				}
				for name, v := range values {
					if strings.Contains(name, "_total") && v < before[name] {
						t.Errorf("%s went from %v back to %v", name, before[name], v)
					}
				}
				before = values
			}
		})
	}
	senders.Wait()
	close(queue)
	deliverers.Wait()
	close(done)
	scrapers.Wait()

	expect(t, m, map[string]float64{
		`kafka_upstream_accepted_records_total{topic="orders"}`: 4 * records,
		`kafka_upstream_buffered_records{topic="orders"}`:       0,
		`kafka_upstream_buffered_bytes{topic="orders"}`:         0,
		`kafka_upstream_attempts_total{topic="orders"}`:         4 * records,
		`kafka_upstream_connections{topic="orders"}`:            0,
		`kafka_upstream_producers{topic="orders"}`:              0,
	})
	if n := testutil.CollectAndCount(collector{m}, "kafka_upstream_producers"); n != 1 {
		t.Errorf("%d topics", n)
	}
}
