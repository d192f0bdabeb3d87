//go:build linux

package main

import (
	"context"
	"time"
)

// entrant is a candidate in a scenario.
type entrant struct {
	candidate
	scenario
}

const (
	// maxTurns is how many parts the time of a measurement is cut into at most.
	maxTurns = 10
	// warmup is the time before a measurement, or less where that is short.
	warmup = 500 * time.Millisecond
)

// turns is how many parts a measurement is cut into.
func (s *scenario) turns() int64 {
	if s.turn > 0 {
		return max(int64(s.measure/s.turn), 1)
	}
	return min(max(int64(s.measure/(100*time.Millisecond)), s.count/100, 1), maxTurns)
}

// measure measures one candidate alone.
func measure(ctx context.Context, c candidate, s scenario) (*sample, error) {
	all, err := sideBySide(ctx, []entrant{{c, s}})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// sideBySide measures all entrants once, each with processes of its own. They
// live beside each other, and the load goes from one to the next in short turns:
// what else the machine does hits all of them alike. An entrant's CPU is what its
// process has used from the first turn until the last record has arrived. At the
// end, what has arrived is compared with what was answered 200.
func sideBySide(ctx context.Context, entrants []entrant) ([]*sample, error) {
	sessions := make([]*session, len(entrants))
	samples := make([]*sample, len(entrants))
	began := make([]usage, len(entrants))
	for i, e := range entrants {
		x, err := open(ctx, e.candidate, e.scenario)
		if err != nil {
			return nil, err
		}
		defer x.close()
		sessions[i], samples[i] = x, new(sample)
		before := job{Count: x.fill}
		if x.fill == 0 {
			before.Measure = min(warmup, x.measure)
		}
		if before.Count == 0 && before.Measure == 0 {
			continue
		}
		if _, err := x.load(ctx, before); err != nil {
			return nil, err
		}
	}
	for i, x := range sessions {
		err := x.settled()
		if err == nil {
			began[i], err = usageOf(x.plugin.pid())
		}
		if err != nil {
			return nil, err
		}
	}
	profiled, err := profileAll(sessions)
	if err != nil {
		return nil, err
	}
	turns := entrants[0].turns() // which is that of all
	for turn := range turns {
		for i := range sessions {
			i := (i + int(turn)) % len(sessions)
			x := sessions[i]
			o, err := x.load(ctx, job{
				Warmup: x.measure / time.Duration(turns) / 10, Measure: x.measure / time.Duration(turns),
				Count: x.count*(turn+1)/turns - x.count*turn/turns,
			})
			if err != nil {
				return nil, err
			}
			samples[i].add(o)
		}
	}
	if err := profiled(); err != nil {
		return nil, err
	}
	for i, x := range sessions {
		if err := samples[i].conclude(x, began[i]); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

// add adds what the load generator saw in a turn.
func (s *sample) add(o *outcome) {
	s.requests += o.Requests
	s.measured += o.Measured
	s.elapsed += o.Elapsed
	s.kong += o.CPU
	s.latencies.merge(&o.Latencies)
}

// conclude waits for the last record, reads what the process has used since it
// began, and ends it.
func (s *sample) conclude(x *session, began usage) (err error) {
	if s.resident, s.peak, err = memory(x.plugin.pid()); err != nil {
		return err
	}
	if err := x.settled(); err != nil {
		return err
	}
	u, err := usageOf(x.plugin.pid())
	if err != nil {
		return err
	}
	s.user, s.system = u.since(began)
	s.arrived, err = x.finish()
	return err
}
