//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// bodySizes are those of the requests, and inFile says by which way Kong hands
// them over: above client_body_buffer_size (8 KiB by default) in a file.
var bodySizes = []struct {
	size   int
	inFile bool
}{
	{100, false}, {1 << 10, false}, {8 << 10, false}, {64 << 10, false}, {1 << 20, false},
	{16 << 10, true}, {64 << 10, true}, {256 << 10, true}, {1 << 20, true},
}

// bodies measures by the size of the body.
func bodies(ctx context.Context, o *options, all []candidate, r *report) error {
	dir, err := os.MkdirTemp("", "ku-bodies-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	found := make([][]*sample, len(bodySizes))
	for round := range o.rounds {
		for i, b := range bodySizes {
			request := jsonRequest(b.size)
			if b.inFile {
				request.File = filepath.Join(dir, fmt.Sprint(b.size))
				if err := os.WriteFile(request.File, request.Body, 0o600); err != nil {
					return err
				}
				request.Body = nil
			}
			s, err := measure(ctx, all[0], scenario{connections: goalConnections, measure: o.measure, request: request,
				settings: map[string]any{
					"producer_async": false, // so that nothing is in memory but what is under way
					"producer_request_limits_bytes_per_request": 8 << 20,
				}})
			if err != nil {
				return fmt.Errorf("body of %s: %w", bytesText(b.size), err)
			}
			found[i] = append(found[i], s)
			r.progress("round %d body of %s (file: %t)  %6.0f/s  %.0f MiB/s  CPU %.1f µs  RSS at most %.0f MiB",
				round+1, bytesText(b.size), b.inFile, s.rate(), s.rate()*mebi(int64(b.size)), s.cpu(), s.peakMiB())
		}
	}
	t := table{head: []string{"body", "way", "requests/s", "MiB/s", "CPU µs/request", "bodies under way MiB", "RSS at most MiB"}}
	for i, b := range bodySizes {
		way := "inline"
		if b.inFile {
			way = "file"
		}
		t.add(bytesText(b.size), way,
			summary("%.0f", each(found[i], (*sample).rate)),
			summary("%.1f", each(found[i], func(s *sample) float64 { return s.rate() * mebi(int64(b.size)) })),
			summary("%.1f", each(found[i], (*sample).cpu)),
			fmt.Sprintf("%.1f", mebi(int64(goalConnections*b.size))),
			summary("%.0f", each(found[i], (*sample).peakMiB)))
	}
	r.section("bodies", t)
	return nil
}

// bytesText writes a size as people do.
func bytesText(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
