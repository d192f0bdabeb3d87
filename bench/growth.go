//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// flat is by how much the cost of a request may grow.
const flat = 1.10

// dimension is something that grows, in steps, and what a request costs must
// not grow with it.
type dimension struct {
	name  string
	steps []step
	// per, if set, is how many there are beyond the first step at each of the
	// others; then the cost of each of these is compared.
	per []float64
}

type step struct {
	name string
	scenario
}

func dimensions(o *options) []dimension {
	base := scenario{connections: goalConnections, measure: o.measure, profiles: o.profiles}
	with := func(name string, f func(*scenario)) step {
		s := base
		f(&s)
		return step{name, s}
	}
	// In long turns, and for longer: at the end of each turn batches leave half empty,
	// the more so the more producers there are.
	configurations := dimension{name: "configurations"}
	for _, n := range []int{1, 10, 100} {
		configurations.steps = append(configurations.steps, with(fmt.Sprint(n), func(s *scenario) {
			s.configs, s.turn, s.measure = n, s.measure, 3*s.measure
		}))
	}
	workers := dimension{name: "Kong workers"}
	for _, n := range []int{1, 8, 32} {
		workers.steps = append(workers.steps, with(fmt.Sprint(n), func(s *scenario) { s.workers = n }))
	}
	headers := dimension{name: "headers, cost of each beyond ten"}
	for _, n := range []int{10, 100, 1000} {
		headers.steps = append(headers.steps, with(fmt.Sprint(n), func(s *scenario) { s.request = baselineRequest().withHeaders(n) }))
	}
	headers.per = []float64{90, 990}
	// Both times the broker is away: else the buffer would not stay as it is.
	buffer := dimension{name: "buffer, of 400 000 records"}
	for _, share := range []int{1, 90} {
		buffer.steps = append(buffer.steps, with(fmt.Sprintf("%d %%", share), func(s *scenario) {
			const records = 400000
			s.away, s.fill, s.count, s.request = true, int64(records/100*share), records/100*9, jsonRequest(128)
			s.settings = map[string]any{
				"producer_async_buffering_limits_messages_in_memory": records,
				"producer_async_buffering_limits_bytes_in_memory":    4 << 30,
			}
		}))
	}
	// More than 200 records in a request, so that one request for each partition
	// at a time is enough at 200 ms.
	broker := dimension{name: "broker acknowledges after"}
	for _, delay := range []time.Duration{0, 200 * time.Millisecond} {
		broker.steps = append(broker.steps, with(delay.String(), func(s *scenario) {
			s.delay = delay
			s.settings = map[string]any{
				"producer_request_limits_messages_per_request": 2000,
				"producer_request_limits_bytes_per_request":    8 << 20,
			}
		}))
	}
	return []dimension{configurations, workers, headers, buffer, broker}
}

// growth measures whether a request costs the same where there is more of
// something.
func growth(ctx context.Context, o *options, all []candidate, r *report) error {
	chosen := slices.DeleteFunc(dimensions(o), func(d dimension) bool { return !strings.Contains(d.name, o.grow) })
	if len(chosen) == 0 {
		return fmt.Errorf("-grow: nothing that grows is called %q", o.grow)
	}
	return grow(ctx, o, all[0], chosen, r)
}

func grow(ctx context.Context, o *options, c candidate, all []dimension, r *report) error {
	t := table{head: []string{"what grows", "steps", "CPU µs/request at each", "last ÷ first"}}
	for _, d := range all {
		found := make([][]float64, len(d.steps))
		for round := range o.rounds {
			entrants := make([]entrant, len(d.steps))
			for i, s := range d.steps {
				entrants[i] = entrant{c, s.scenario}
			}
			samples, err := sideBySide(ctx, entrants)
			if err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			for i, s := range samples {
				found[i] = append(found[i], s.cpu())
				r.progress("round %d  %s: %-4s  %6.0f/s  CPU %5.1f µs (user %4.1f)  RSS %3.0f MiB  %3.0f records in a request to the broker",
					round+1, d.name, d.steps[i].name, s.rate(), s.cpu(), s.userCPU(), s.residentMiB(), s.perProduce())
			}
		}
		format, steps := "%.1f", d.steps
		if d.per != nil {
			format, steps, found = "%.3f", d.steps[1:], d.divide(found)
		}
		var names, costs []string
		for i, s := range steps {
			names = append(names, s.name)
			costs = append(costs, summary(format, found[i]))
		}
		ratio := ratios(found[len(found)-1], found[0], func(v float64) float64 { return v })
		t.add(d.name, strings.Join(names, ", "), strings.Join(costs, ", "), summary("%.2f", ratio))
		r.atMost("cost of a request: "+d.name+", last ÷ first", median(ratio), flat)
	}
	r.section("growth", t)
	return nil
}

// divide returns the cost of each thing beyond those of the first step, for
// the steps that follow it.
func (d *dimension) divide(found [][]float64) [][]float64 {
	var each [][]float64
	for i, costs := range found[1:] {
		each = append(each, slices.Clone(costs))
		for round := range costs {
			each[i][round] = (costs[round] - found[0][round]) / d.per[i]
		}
	}
	return each
}
