package main

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBucketsFollowEachOther(t *testing.T) {
	for i := range len(new(histogram).buckets) {
		edge := upperEdge(i)
		if bucketOf(edge) != i {
			t.Fatalf("%d is the edge of bucket %d, and counted in %d", edge, i, bucketOf(edge))
		}
		if edge < math.MaxInt64 && bucketOf(edge+1) != i+1 {
			t.Fatalf("%d is counted in bucket %d, not in %d", edge+1, bucketOf(edge+1), i+1)
		}
	}
	if bucketOf(math.MaxInt64) != len(new(histogram).buckets)-1 {
		t.Error("the longest duration is not in the last bucket")
	}
}

func TestQuantilesAreExactToAThirtySecond(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 10, 1000, 100000} {
		var h histogram
		var all []time.Duration
		for range n {
			d := time.Duration(math.Exp(r.Float64() * 25))
			all = append(all, d)
			h.add(d)
		}
		slices.Sort(all)
		b, err := json.Marshal(&h) // as it comes from the load generator
		var again histogram
		if err != nil || json.Unmarshal(b, &again) != nil || again != h {
			t.Errorf("%d durations are not the same when they are read again: %v", n, err)
		}
		again = histogram{}
		again.merge(&h)
		if again != h {
			t.Errorf("%d durations are not the same when they are added to none", n)
		}
		for _, q := range []float64{0, 0.5, 0.99, 0.999, 1} {
			want := all[max(1, int(q*float64(n)+0.5))-1]
			if got := h.quantile(q); got < want || float64(got) > float64(want)*(1+1.0/subBuckets) {
				t.Errorf("quantile %g of %d is %v, want %v", q, n, got, want)
			}
		}
	}
	if got := new(histogram).quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing is %v", got)
	}
}

func TestMedianAndItsRange(t *testing.T) {
	for want, v := range map[string][]float64{
		"0.0": nil, "3.0": {3}, "2.5 [1.0, 9.0]": {9, 2, 1, 3}, "3.0 [1.0, 5.0]": {5, 3, 1},
	} {
		if got := summary("%.1f", v); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
}
