//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
)

// companionForms are the forms that are measured through the companion handler, by the indexes
// of forms.
var companionForms = []int{defaultForm, bodyForm, wholeForm, keyForm, redactingForm}

// formsThroughCompanion measures what forms of records cost the server when requests come from
// the companion handler, where the door itself costs least.
func formsThroughCompanion(ctx context.Context, o *options, candidates []candidate, r *report) error {
	files, err := companionFiles(ctx, candidates[0])
	if err != nil {
		return err
	}
	defer os.RemoveAll(files)
	found := make(map[int][]*passage)
	for round := range o.rounds {
		passages, err := measureForms(ctx, o, candidates[0], files)
		if err != nil {
			return err
		}
		for i, p := range passages {
			at := companionForms[i]
			found[at] = append(found[at], p)
			r.progress("round %d %-40s %6.0f/s  server %5.2f µs", round+1, forms[at].name, p.rate(), p.serverCPU())
		}
	}
	t := table{head: []string{"records", "server µs/request", "beside", "server ÷ beside", "µs more"}}
	for _, at := range companionForms {
		f, mine, beside := &forms[at], found[at], found[forms[at].beside]
		ratio := ratiosOf(mine, beside, (*passage).serverCPU)
		more := make([]float64, len(mine))
		for i := range mine {
			more[i] = mine[i].serverCPU() - beside[i].serverCPU()
		}
		t.add(f.name, summary("%.2f", eachOf(mine, (*passage).serverCPU)), forms[f.beside].name, summary("%.2f", ratio), summary("%.2f", more))
		switch at {
		case bodyForm:
			r.atMost("companion, CPU in the server: "+f.name+" ÷ the default message", median(ratio), goalBody)
		case keyForm:
			r.atMost("companion, CPU in the server of a "+f.name+", µs", median(more), goalKey)
		case redactingForm:
			r.atMost("companion, CPU in the server of a "+f.name+", µs", median(more), goalRedacting)
		}
	}
	r.section("forms", t)
	return nil
}

// measureForms measures the forms side by side once.
func measureForms(ctx context.Context, o *options, c candidate, files string) ([]*passage, error) {
	var all []*gateway
	defer func() {
		for _, g := range all {
			g.close()
		}
	}()
	request := rawRequest(baselineRequest())
	for _, at := range companionForms {
		g, err := openGateway(ctx, o, way{companion, "", &c}, files, forms[at].settings)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", forms[at].name, err)
		}
		all = append(all, g)
		if _, err := g.load(ctx, httpJob{Connections: goalConnections, Request: request, Measure: min(warmup, o.measure)}); err != nil {
			return nil, err
		}
		if err := g.settled(); err != nil {
			return nil, err
		}
	}
	return measureGateways(ctx, all, httpJob{Connections: goalConnections, Request: request, Measure: o.measure})
}
