package main

import (
	"encoding/json"
	"math/bits"
	"time"
)

// histogram counts durations in buckets whose width is at most 1/32 of their
// value: 32 of one nanosecond each, then 32 for each power of two. It has a fixed
// size, so that counting allocates nothing.
type histogram struct {
	total   int64
	buckets [subBuckets * (64 - subBits)]int64
}

const (
	subBits    = 5
	subBuckets = 1 << subBits
)

// add counts one duration; a negative one counts as zero.
func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(uint64(max(d, 0)))]++
	h.total++
}

// merge adds what another one has counted.
func (h *histogram) merge(other *histogram) {
	h.total += other.total
	for i, n := range other.buckets {
		h.buckets[i] += n
	}
}

// MarshalJSON writes the buckets that are not empty, by number.
func (h *histogram) MarshalJSON() ([]byte, error) {
	filled := make(map[int]int64)
	for i, n := range h.buckets {
		if n > 0 {
			filled[i] = n
		}
	}
	return json.Marshal(filled)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (h *histogram) UnmarshalJSON(b []byte) error {
	var filled map[int]int64
	if err := json.Unmarshal(b, &filled); err != nil {
		return err
	}
	*h = histogram{}
	for i, n := range filled {
		if i >= 0 && i < len(h.buckets) {
			h.buckets[i] = n
			h.total += n
		}
	}
	return nil
}

// quantile returns the duration that a share q of those counted does not
// exceed, to within the width of its bucket, and 0 if none was counted.
func (h *histogram) quantile(q float64) time.Duration {
	want := int64(q*float64(h.total) + 0.5)
	want = min(max(want, 1), h.total)
	var seen int64
	for i, n := range h.buckets {
		if seen += n; seen >= want && n > 0 {
			return time.Duration(upperEdge(i))
		}
	}
	return 0
}

// bucketOf returns the number of the bucket that holds v.
func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return (shift+1)*subBuckets + int(v>>shift) - subBuckets
}

// upperEdge returns the largest value in bucket i.
func upperEdge(i int) uint64 {
	if i < subBuckets {
		return uint64(i)
	}
	shift := i/subBuckets - 1
	return uint64(i%subBuckets+subBuckets+1)<<shift - 1
}
