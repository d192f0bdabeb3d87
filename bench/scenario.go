//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"
)

// scenario is the circumstances in which a candidate is measured. Its zero
// value, with connections and a time, is the headline's: one configuration, one
// worker, the baseline request, a broker that acknowledges at once.
type scenario struct {
	connections int
	measure     time.Duration // after the warm-up
	turn        time.Duration // how long it has its turn; a tenth of the time if zero
	count       int64         // of requests, in place of a time
	fill        int64         // requests before those that are measured
	configs     int           // 1 if zero; each has a topic of its own
	workers     int           // 1 if zero
	records     int           // of each request, 1 if zero
	request     *httpRequest  // the baseline request if nil
	settings    map[string]any
	delay       time.Duration // of the broker's acknowledgements
	away        bool          // the broker comes when the load is over
	lose        int           // records that the broker keeps quiet about
	profiles    string        // a folder for a CPU profile; none if ""
}

// sample is what was measured of one candidate in one scenario.
type sample struct {
	// Of the turns in which it was measured; see sideBySide.
	requests  int64         // sent
	measured  int64         // answered while the time was taken
	elapsed   time.Duration // in which these were answered
	latencies histogram
	kong      time.Duration // CPU of the load generator

	user, system   time.Duration // CPU of the plugin, deliveries included
	resident, peak int64         // its memory after the last request

	arrived counted // at the broker in the whole run
}

// rate is requests per second.
func (s *sample) rate() float64 { return float64(s.measured) / s.elapsed.Seconds() }

// cpu is the plugin's CPU time for each request, in µs; kongCPU that of
// the load generator.
func (s *sample) cpu() float64       { return s.perRequest(s.user + s.system) }
func (s *sample) userCPU() float64   { return s.perRequest(s.user) }
func (s *sample) systemCPU() float64 { return s.perRequest(s.system) }
func (s *sample) kongCPU() float64   { return micros(s.kong) / float64(max(s.measured, 1)) }

func (s *sample) perRequest(d time.Duration) float64 { return micros(d) / float64(max(s.requests, 1)) }

// p50 and p99 are latencies in µs.
func (s *sample) p50() float64 { return micros(s.latencies.quantile(0.5)) }
func (s *sample) p99() float64 { return micros(s.latencies.quantile(0.99)) }

func (s *sample) residentMiB() float64 { return mebi(s.resident) }
func (s *sample) peakMiB() float64     { return mebi(s.peak) }

// perProduce is how many records a request to the broker held.
func (s *sample) perProduce() float64 {
	return float64(s.arrived.Records) / float64(max(s.arrived.Requests, 1))
}

func mebi(n int64) float64 { return float64(n) / (1 << 20) }

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// session is a candidate that serves, and a broker for its records.
type session struct {
	scenario
	broker    *brokerProcess
	plugin    *plugin
	configs   [][]byte
	instances []int32 // of the configurations, once there are any
	answered  int64   // with 200
}

// open starts a broker and a candidate.
func open(ctx context.Context, c candidate, s scenario) (*session, error) {
	args := []string{"-topics", strconv.Itoa(max(s.configs, 1)), "-delay", s.delay.String(), "-lose", strconv.Itoa(s.lose)}
	if s.away {
		args = append(args, "-away")
	}
	x := &session{scenario: s}
	var err error
	if x.broker, err = startBroker(ctx, args...); err != nil {
		return nil, err
	}
	if x.configs, err = x.pluginConfigs(); err == nil {
		x.plugin, err = startPlugin(ctx, c)
	}
	if err != nil {
		x.broker.stop()
		return nil, err
	}
	return x, nil
}

// pluginConfigs are the plugin's configurations, as START carries them.
func (x *session) pluginConfigs() ([][]byte, error) {
	var all [][]byte
	for i := range max(x.scenario.configs, 1) {
		m := map[string]any{
			"topic":             topicName(i),
			"bootstrap_servers": []map[string]any{{"host": x.broker.Host, "port": x.broker.Port}},
			"forward_method":    true, "forward_uri": true, "forward_headers": true, "forward_body": true,
		}
		maps.Copy(m, x.settings)
		b, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// load sends the requests that j counts or times. All of them have to be
// answered 200, unless j is there to find the first that is not.
func (x *session) load(ctx context.Context, j job) (*outcome, error) {
	j.Socket, j.Configs, j.Workers = x.plugin.socket, x.configs, x.workers
	j.Instances = x.instances
	j.Logs = x.away
	if j.Connections == 0 {
		j.Connections = x.connections
	}
	if j.Request.Method == "" {
		j.Request = *baselineRequest()
		if x.request != nil {
			j.Request = *x.request
		}
	}
	o, err := generate(ctx, j)
	if err == nil && !j.UntilRefused && o.Answered["200"] != o.Requests {
		err = fmt.Errorf("not every request was answered 200: %v", o.Answered)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; it printed: %s%s", x.plugin.Name, err, x.plugin.printed(), x.broker.fate())
	}
	x.instances = o.Instances
	x.answered += o.Answered["200"]
	return o, nil
}

// settled waits until all records have arrived, if the broker is there.
func (x *session) settled() error {
	if x.away || x.plugin.Silent {
		return nil
	}
	const patience = 5 * time.Second // without any that arrives
	var c counted
	for last := time.Now(); ; {
		now, err := x.broker.counted()
		switch {
		case err != nil:
			return err
		case now.Records >= x.expected():
			return nil
		case now.Records > c.Records:
			last = time.Now()
		case time.Since(last) > patience:
			return x.missing(now)
		}
		c = now
		time.Sleep(5 * time.Millisecond)
	}
}

// expected is how many records the requests that were answered 200 make.
func (x *session) expected() int64 { return x.answered * int64(max(x.records, 1)) }

// missing is the error of records that have not arrived, or of too many.
func (x *session) missing(c counted) error {
	return fmt.Errorf("%s: %d requests were answered 200, and %d records have arrived at the broker", x.plugin.Name, x.answered, c.Records)
}

// finish ends the candidate, which has to deliver what it holds, and compares
// what has arrived at the broker with what was answered 200.
func (x *session) finish() (counted, error) {
	if x.away {
		if err := x.broker.come(); err != nil {
			return counted{}, err
		}
	}
	if err := x.plugin.stop(); err != nil {
		return counted{}, err
	}
	if x.plugin.Silent {
		x.answered = 0
	}
	c, err := x.broker.counted()
	if x.plugin.PDK { // no acknowledgements: the last of it may still be on its way
		_ = poll(3*time.Second, func() bool {
			c, err = x.broker.counted()
			return err != nil || c.Records >= x.expected()
		})
	}
	if err == nil && c.Records != x.expected() {
		err = x.missing(c)
	}
	return c, err
}

// close ends both at once, if they have not ended yet.
func (x *session) close() {
	x.plugin.kill()
	x.broker.stop()
}
