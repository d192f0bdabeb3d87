//go:build !race

package jsonmsg

import (
	"slices"
	"testing"
)

// TestUsualMessagesAllocateNothing holds for a buffer that is long enough, and not
// under the race detector, which has sync.Pool drop what it is given.
func TestUsualMessagesAllocateNothing(t *testing.T) {
	cases := slices.Clone(benchmarkRequests)
	for _, body := range jsonBodies {
		if len(body.text) <= 64<<10 { // a larger object's index is not kept
			cases = append(cases, benchmark{"body " + body.name, benchmarkRequest("application/json", body.text)})
		}
	}
	odd := `{"a":{"b":1,"b":[ ],"\u0062":"\ud800"},"\u0061":{"\ud800":"\ud83d\ude00","":{}}}`
	cases = append(cases, benchmark{"odd JSON", benchmarkRequest("application/json", []byte(odd))})
	repeated := withHeaders(benchmarkRequest("application/json; charset=utf-8", []byte(`{"a":"b"}`)), 3)
	repeated.Headers = append(repeated.Headers, headers("cookie: a", "cookie: b", "x-latin: caf\xe9")...)
	for _, c := range append(cases, benchmark{"repeated headers", repeated}) {
		dst := make([]byte, 0, 4<<20)
		allocs := testing.AllocsPerRun(100, func() {
			if _, err := Append(dst, c.r, all); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", c.name, allocs)
		}
	}
	bad := benchmarkRequest("application/json", []byte("{"))
	dst := make([]byte, 0, 2048)
	if allocs := testing.AllocsPerRun(100, func() { Append(dst, bad, all) }); allocs != 0 {
		t.Errorf("refused: %v allocations", allocs)
	}
}
