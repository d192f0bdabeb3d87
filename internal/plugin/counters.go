package plugin

import (
	"iter"
	"sync/atomic"
	"time"
)

// bounds are the upper bounds of the histograms of durations. A request is answered in a
// fraction of a millisecond with producer_async, and waits for up to 55 s without.
var bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, 60 * time.Second,
}

// Counters count the requests that were answered, by reason and by how long they took.
// The zero value is ready for use, by many goroutines at once.
type Counters struct{ byReason [reasons]counter }

type counter struct {
	nanos   atomic.Int64
	buckets [len(bounds) + 1]atomic.Uint64 // not cumulative; the last is beyond all bounds
}

// Answered counts a request that was answered for that reason, took after it came. It
// neither allocates nor waits for a lock.
func (c *Counters) Answered(r Reason, took time.Duration) {
	n := &c.byReason[r.row()]
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	n.nanos.Add(int64(took))
	n.buckets[i].Add(1)
}

// Counts are the requests that were answered for one reason.
type Counts struct {
	Status  int
	Reason  string
	Count   uint64
	Seconds float64            // the sum of their durations
	Buckets map[float64]uint64 // how many took at most that many seconds, by seconds
}

// Counts returns the counts of every reason, also if they are 0.
func (c *Counters) Counts() iter.Seq[Counts] {
	return func(yield func(Counts) bool) {
		for r := range Reasons() {
			n := &c.byReason[r]
			counts := Counts{Status: r.Status(), Reason: r.String(), Buckets: make(map[float64]uint64, len(bounds))}
			for i := range n.buckets {
				counts.Count += n.buckets[i].Load()
				if i < len(bounds) {
					counts.Buckets[bounds[i].Seconds()] = counts.Count
				}
			}
			counts.Seconds = time.Duration(n.nanos.Load()).Seconds()
			if !yield(counts) {
				return
			}
		}
	}
}
