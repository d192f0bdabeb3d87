//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// The goals for what a request costs whose answer waits for the disk, beside one whose record is in
// memory, with an fsync of 1 ms.
const (
	goalDurableCPU  = 6.0 // µs more, at most
	goalDurableRate = 0.7 // times the requests a second, at least
)

// durable measures the spool on a disk that takes 1 ms for an fsync.
func durable(ctx context.Context, o *options, all []candidate, r *report) error {
	dir, err := os.MkdirTemp("", "ku-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	slow := candidate{Name: ours + " with a slow disk", Path: filepath.Join(dir, "slow")}
	if err := build(ctx, "cmd/kafka-upstream", slow.Path, "-tags", "slowdisk"); err != nil {
		return err
	}
	slow.Args = []string{"-spool", filepath.Join(dir, "spool"), "-spool-limit", "8GiB"}
	rows := []struct {
		name     string
		settings map[string]any
	}{
		{"memory", nil},
		{"durable", map[string]any{"producer_async_durable": true}},
		{"memory, acks -1", map[string]any{"producer_request_acks": -1}},
		{"durable, acks -1", map[string]any{"producer_request_acks": -1, "producer_async_durable": true}},
	}
	t := table{head: []string{"records", "in flight", "requests/s", "÷ memory", "CPU µs/request", "µs more", "p50 µs", "p99 µs"}}
	for _, connections := range o.connections {
		found := make([][]*sample, len(rows))
		for round := range o.rounds {
			var entrants []entrant
			for _, row := range rows {
				entrants = append(entrants, entrant{slow, scenario{connections: connections, measure: o.measure, profiles: o.profiles, settings: row.settings}})
			}
			samples, err := sideBySide(ctx, entrants)
			if err != nil {
				return err
			}
			for i, s := range samples {
				found[i] = append(found[i], s)
				r.progress("round %d %-20s c=%-4d %6.0f/s  CPU %5.1f µs  p50 %6.0f p99 %6.0f µs", round+1, rows[i].name, connections, s.rate(), s.cpu(), s.p50(), s.p99())
			}
		}
		for i, row := range rows {
			memory := found[i&^1]
			more := make([]float64, len(found[i]))
			for round, s := range found[i] {
				more[round] = s.cpu() - memory[round].cpu()
			}
			rate := ratios(found[i], memory, (*sample).rate)
			t.add(row.name, fmt.Sprint(connections), summary("%.0f", each(found[i], (*sample).rate)), summary("%.2f", rate),
				summary("%.1f", each(found[i], (*sample).cpu)), summary("%.1f", more),
				summary("%.0f", each(found[i], (*sample).p50)), summary("%.0f", each(found[i], (*sample).p99)))
			if i == 1 && connections == goalConnections {
				r.atMost("CPU of a durable request beside one in memory, µs", median(more), goalDurableCPU)
				r.atLeast("requests/s: durable ÷ memory, with an fsync of 1 ms", median(rate), goalDurableRate)
			}
		}
	}
	r.section("durable", t)
	return nil
}
