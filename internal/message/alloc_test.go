//go:build !race

package message

import (
	"testing"

	"kafka-upstream/internal/request"
)

// TestUsualMessagesAllocateNothing holds for a buffer that is long enough, and not
// under the race detector, which has sync.Pool drop what it is given.
func TestUsualMessagesAllocateNothing(t *testing.T) {
	repeated := withHeaders(benchmarkRequest("application/json; charset=utf-8", []byte(`{"a":"b"}`)), 3)
	repeated.Headers = append(repeated.Headers, headers("cookie: a", "cookie: b", "x-latin: caf\xe9")...)
	for _, c := range append(benchmarkRequests, struct {
		name string
		r    *request.Request
	}{"repeated headers", repeated}) {
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
