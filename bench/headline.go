//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
)

// The goals, at 32 requests under way.
const (
	goalConnections     = 32
	goalStraightforward = 2.1  // times its requests/s, at least
	goalNothing         = 1.0  // times its requests/s, at least
	goalCPU             = 0.25 // times the straightforward plugin's, at most
)

// key names a series of samples, one a round.
type key struct {
	connections int
	name        string
}

type series map[key][]*sample

// headline measures all candidates side by side, with fresh processes in each
// round.
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
	r.plot = plot(found, all, o.connections)
	goals(found, r)
	return nil
}

// goals says which goals are reached, where they were measured.
func goals(found series, r *report) {
	mine := found[key{goalConnections, ours}]
	if len(mine) == 0 {
		return
	}
	simple, none := found[key{goalConnections, straightforward}], found[key{goalConnections, nothing}]
	at := fmt.Sprintf(" at c = %d", goalConnections)
	r.atLeast("requests/s ÷ "+straightforward+at, median(ratios(mine, simple, (*sample).rate)), goalStraightforward)
	r.atLeast("requests/s ÷ "+nothing+at, median(ratios(mine, none, (*sample).rate)), goalNothing)
	r.atMost("CPU per request ÷ "+straightforward+at, median(ratios(mine, simple, (*sample).cpu)), goalCPU)
}

// plot draws the headline.
func plot(found series, all []candidate, connections []int) []byte {
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	panels := []panel{{title: "requests/s"}, {title: "CPU of the plugin, µs/request"}}
	for _, c := range connections {
		for i, f := range []func(*sample) float64{(*sample).rate, (*sample).cpu} {
			p := &panels[i]
			p.groups = append(p.groups, fmt.Sprintf("%d under way", c))
			var bars []bar
			for _, name := range names {
				v := each(found[key{c, name}], f)
				label := fmt.Sprintf("%.0f", median(v))
				if i == 0 {
					label = fmt.Sprintf("%.1fk", median(v)/1000)
				}
				bars = append(bars, bar{median(v), slices.Min(v), slices.Max(v), label})
			}
			p.bars = append(p.bars, bars)
		}
	}
	return chart(names, panels)
}
