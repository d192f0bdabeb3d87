//go:build linux

package main

import (
	"context"
	"fmt"
)

// The goals, with 32 requests in flight.
const (
	goalConnections = 32
	goalNaive       = 2.1  // times its requests/s, at least
	goalNoop        = 1.0  // times its requests/s, at least
	goalCPU         = 0.25 // times naive's, at most
)

// key names a series of samples, one a round.
type key struct {
	connections int
	name        string
}

type series map[key][]*sample

// headline measures all candidates side by side, with new processes in each round.
func headline(ctx context.Context, o *options, all []candidate, r *report) error {
	found := make(series)
	for round := range o.rounds {
		for _, c := range o.connections {
			var entrants []entrant
			for _, cand := range all {
				entrants = append(entrants, entrant{cand, scenario{connections: c, measure: o.measure, profiles: o.profiles}})
			}
			samples, err := sideBySide(ctx, entrants)
			if err != nil {
				return err
			}
			for i, s := range samples {
				k := key{c, all[i].Name}
				found[k] = append(found[k], s)
				r.progress("round %d c=%-3d %-15s %6.0f/s  p50 %5.0f µs  p99 %5.0f µs  CPU %5.1f µs (Kong's side %.1f)",
					round+1, c, k.name, s.rate(), s.p50(), s.p99(), s.cpu(), s.kongCPU())
			}
		}
	}
	figures := table{head: []string{"c", "", "requests/s", "p50 µs", "p99 µs", "CPU µs/request", "user", "system", "Kong's side", "RSS MiB"}}
	compared := table{head: []string{"c", "", "requests/s", "p50", "CPU"}}
	for _, c := range o.connections {
		mine := found[key{c, ours}]
		for _, cand := range all {
			ss := found[key{c, cand.Name}]
			figures.add(fmt.Sprint(c), cand.Name,
				summary("%.0f", each(ss, (*sample).rate)),
				summary("%.0f", each(ss, (*sample).p50)),
				summary("%.0f", each(ss, (*sample).p99)),
				summary("%.1f", each(ss, (*sample).cpu)),
				summary("%.1f", each(ss, (*sample).userCPU)),
				summary("%.1f", each(ss, (*sample).systemCPU)),
				summary("%.1f", each(ss, (*sample).kongCPU)),
				summary("%.0f", each(ss, (*sample).residentMiB)))
			if cand.Name != ours {
				compared.add(fmt.Sprint(c), ours+" ÷ "+cand.Name,
					summary("%.2f", ratios(mine, ss, (*sample).rate)),
					summary("%.2f", ratios(mine, ss, (*sample).p50)),
					summary("%.2f", ratios(mine, ss, (*sample).cpu)))
			}
		}
	}
	r.section("headline", figures, compared)
	goals(found, r)
	return nil
}

// goals compares the goals with what was measured at goalConnections, if it was.
func goals(found series, r *report) {
	mine := found[key{goalConnections, ours}]
	if len(mine) == 0 {
		return
	}
	simple, none := found[key{goalConnections, naive}], found[key{goalConnections, noop}]
	at := fmt.Sprintf(" at c = %d", goalConnections)
	r.atLeast("requests/s ÷ "+naive+at, median(ratios(mine, simple, (*sample).rate)), goalNaive)
	r.atLeast("requests/s ÷ "+noop+at, median(ratios(mine, none, (*sample).rate)), goalNoop)
	r.atMost("CPU per request ÷ "+naive+at, median(ratios(mine, simple, (*sample).cpu)), goalCPU)
}
