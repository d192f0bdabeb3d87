//go:build linux

package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"kafka-upstream/internal/test/kongnginx"
)

//go:embed lua
var handlers embed.FS

// The ways from a genuine nginx to the broker.
const (
	floor     = "floor"
	nothing   = "nothing handed over"
	resty     = "lua-resty-kafka"
	protocol  = "plugin protocol"
	companion = "companion"
)

// way is a way that is measured, with the handler that goes it, and the server at its end.
type way struct {
	name, handler string
	server        *candidate // nil for none
}

// waysOf returns the ways that are measured: of the first candidate all, of the others the
// companion handler.
func waysOf(o *options, all []candidate) []way {
	ways := []way{{floor, "floor", nil}, {nothing, "nothing", nil}}
	if o.resty != "" {
		ways = append(ways, way{resty, "resty", nil})
	}
	ways = append(ways, way{protocol, "protocol", &all[0]}, way{companion, "", &all[0]})
	for i := range all {
		if c := &all[i]; i > 0 && !c.PDK {
			ways = append(ways, way{companion + " of " + c.Name, "", c})
		}
	}
	return ways
}

// The budgets of the companion handler, at goalConnections and 1 KiB.
const (
	goalOverProtocol = 2.5 // times its requests/s, at least
	goalOverResty    = 1.4 // times its requests/s, at least
	goalNginxCPU     = 3.0 // µs above nothing handed over, at most
	goalOwnCPU       = 10  // µs in the server, at most
	goalLatency      = 1.3 // times lua-resty-kafka's p50 with one connection, at most
)

// gateway is nginx with one of the ways.
type gateway struct {
	name   string
	nginx  *kongnginx.Nginx
	worker int
	broker *brokerProcess
	plugin *plugin // nil for none
	sent   int64
}

func (g *gateway) close() {
	if g.nginx != nil {
		g.nginx.Stop()
		g.nginx.Remove()
	}
	if g.plugin != nil {
		_ = g.plugin.stop()
	}
	if g.broker != nil {
		g.broker.stop()
	}
}

// openGateway starts a gateway. With settings, its configuration has these in place of the
// baseline's.
func openGateway(ctx context.Context, o *options, w way, files string, settings map[string]any) (g *gateway, err error) {
	g = &gateway{name: w.name}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if g.broker, err = startBroker(ctx, "-topics", "1"); err != nil {
		return nil, err
	}
	options := kongnginx.Options{Files: files, Buffer: "64k"}
	config, err := json.Marshal(merged(map[string]any{
		"topic":             topicName(0),
		"bootstrap_servers": []any{map[string]any{"host": g.broker.Host, "port": g.broker.Port}},
		"forward_method":    true, "forward_uri": true, "forward_headers": true, "forward_body": true,
	}, settings))
	if err != nil {
		return nil, err
	}
	options.Configs = map[string][]byte{"bench": config}
	if w.server != nil {
		if g.plugin, err = startPlugin(ctx, *w.server); err != nil {
			return nil, err
		}
		options.Socket = g.plugin.socket
	}
	if w.handler != "" {
		b, err := handlers.ReadFile("lua/" + w.handler + ".lua")
		if err != nil {
			return nil, err
		}
		options.Stub = fmt.Sprintf("package.path = %q .. package.path\nrequire(\"kongstub\").handler = (function()\n%s\nend)()\n",
			filepath.Join(o.resty, "lib", "?.lua")+";", b)
	}
	if g.nginx, err = kongnginx.Run(options); err == nil {
		g.worker, err = g.nginx.WorkerPID("bench")
	}
	return g, err
}

// load measures one turn.
func (g *gateway) load(ctx context.Context, j httpJob) (*outcome, error) {
	j.Socket = g.nginx.SocketOf("bench", 1)
	in, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	cmd, err := self(ctx, "httpload")
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &stdout, &stderr
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("load generator: %s; nginx's error log: %s", strings.TrimSpace(stderr.String()+" "+err.Error()), g.nginx.ErrorLog())
	}
	o := new(outcome)
	if err := json.Unmarshal(stdout.Bytes(), o); err != nil {
		return nil, err
	}
	if o.Answered["200"] != o.Requests {
		return nil, fmt.Errorf("%s: not every request was answered 200: %v; nginx's error log: %s", g.name, o.Answered, g.nginx.ErrorLog())
	}
	g.sent += o.Requests
	return o, nil
}

// settled waits until all records have arrived.
func (g *gateway) settled() error {
	if g.name == floor || g.name == nothing {
		return nil
	}
	var last counted
	for since := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		now, err := g.broker.counted()
		if err != nil {
			return err
		}
		if now.Records == g.sent {
			return nil
		}
		if now.Records > last.Records {
			since = time.Now()
		}
		if last = now; time.Since(since) > 10*time.Second {
			return fmt.Errorf("%s: %d requests were answered 200, and %d records have arrived at the broker; nginx's error log: %s", g.name, g.sent, now.Records, g.nginx.ErrorLog())
		}
	}
}

// passage is what was measured of a gateway.
type passage struct {
	outcome
	nginx, server time.Duration
}

func (p *passage) rate() float64      { return float64(p.Measured) / p.Elapsed.Seconds() }
func (p *passage) p50() float64       { return micros(p.Latencies.quantile(0.5)) }
func (p *passage) p99() float64       { return micros(p.Latencies.quantile(0.99)) }
func (p *passage) nginxCPU() float64  { return micros(p.nginx) / float64(max(p.Requests, 1)) }
func (p *passage) serverCPU() float64 { return micros(p.server) / float64(max(p.Requests, 1)) }

// cpu returns what nginx and the server have used.
func (g *gateway) cpu() (nginx, server time.Duration, err error) {
	if nginx, err = cpuTime(g.worker); err == nil && g.plugin != nil {
		server, err = cpuTime(g.plugin.pid())
	}
	return nginx, server, err
}

// measure measures all gateways side by side, in short turns.
func measureGateways(ctx context.Context, all []*gateway, j httpJob) ([]*passage, error) {
	const turns = maxTurns
	found := make([]*passage, len(all))
	for i := range found {
		found[i] = new(passage)
	}
	turn := j
	turn.Warmup, turn.Measure = j.Measure/turns/10, j.Measure/turns
	for t := range turns {
		for i := range all {
			i := (i + t) % len(all)
			g, p := all[i], found[i]
			nginx, server, err := g.cpu()
			if err != nil {
				return nil, err
			}
			o, err := g.load(ctx, turn)
			if err == nil {
				err = g.settled()
			}
			if err != nil {
				return nil, err
			}
			nginxAfter, serverAfter, err := g.cpu()
			if err != nil {
				return nil, err
			}
			p.nginx += nginxAfter - nginx
			p.server += serverAfter - server
			p.Requests += o.Requests
			p.Measured += o.Measured
			p.Elapsed += o.Elapsed
			p.Latencies.merge(&o.Latencies)
		}
	}
	return found, nil
}

// rawRequest is a request as a client sends it.
func rawRequest(r *httpRequest) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s?%s HTTP/1.1\r\n", r.Method, r.Path, r.Query)
	for _, h := range r.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	b.Write(r.Body)
	return b.Bytes()
}

// companionFiles has the candidate write the companion handler's files into a new directory.
func companionFiles(ctx context.Context, c candidate) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "ku-bench-files-"); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, c.Path, "-companion", dir).CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return "", fmt.Errorf("writing the companion handler: %w: %s", err, out)
	}
	return dir, nil
}

// nginxWays measures the ways from a genuine nginx to the broker.
func nginxWays(ctx context.Context, o *options, candidates []candidate, r *report) error {
	files, err := companionFiles(ctx, candidates[0])
	if err != nil {
		return err
	}
	defer os.RemoveAll(files)
	type place struct {
		size, connections int
		name              string
	}
	found := make(map[place][]*passage)
	sizes := []int{1 << 10, 16 << 10}
	ways := waysOf(o, candidates)
	for round := range o.rounds {
		for _, size := range sizes {
			for _, c := range o.connections {
				var all []*gateway
				err := func() error {
					defer func() {
						for _, g := range all {
							g.close()
						}
					}()
					for _, w := range ways {
						g, err := openGateway(ctx, o, w, files, nil)
						if err != nil {
							return fmt.Errorf("%s: %w", w.name, err)
						}
						all = append(all, g)
						if _, err := g.load(ctx, httpJob{Connections: c, Request: rawRequest(jsonRequest(size)), Measure: min(warmup, o.measure)}); err != nil {
							return err
						}
						if err := g.settled(); err != nil {
							return err
						}
					}
					passages, err := measureGateways(ctx, all, httpJob{Connections: c, Request: rawRequest(jsonRequest(size)), Measure: o.measure})
					if err != nil {
						return err
					}
					for i, p := range passages {
						at := place{size, c, all[i].name}
						found[at] = append(found[at], p)
						r.progress("round %d %2d KiB c=%-3d %-20s %6.0f/s  p50 %5.0f µs  p99 %5.0f µs  nginx %5.1f µs  server %5.1f µs",
							round+1, size>>10, c, at.name, p.rate(), p.p50(), p.p99(), p.nginxCPU(), p.serverCPU())
					}
					return nil
				}()
				if err != nil {
					return err
				}
			}
		}
	}
	t := table{head: []string{"body", "c", "", "requests/s", "÷ " + protocol, "÷ " + resty, "p50 µs", "p99 µs", "nginx µs/request", "server µs/request"}}
	for _, size := range sizes {
		for _, c := range o.connections {
			at := func(name string) []*passage { return found[place{size, c, name}] }
			if o.resty == "" {
				t.add(fmt.Sprint(size>>10, " KiB"), fmt.Sprint(c), resty+", not measured: -lua-resty-kafka names no copy of it", "", "", "", "", "", "", "")
			}
			for _, w := range ways {
				ps := at(w.name)
				than := func(name string) string {
					if len(at(name)) == 0 {
						return ""
					}
					return summary("%.2f", ratiosOf(ps, at(name), (*passage).rate))
				}
				t.add(fmt.Sprint(size>>10, " KiB"), fmt.Sprint(c), w.name,
					summary("%.0f", eachOf(ps, (*passage).rate)), than(protocol), than(resty),
					summary("%.0f", eachOf(ps, (*passage).p50)), summary("%.0f", eachOf(ps, (*passage).p99)),
					summary("%.1f", eachOf(ps, (*passage).nginxCPU)), summary("%.1f", eachOf(ps, (*passage).serverCPU)))
			}
		}
	}
	r.section("ways", t)
	at := func(c int, name string) []*passage { return found[place{1 << 10, c, name}] }
	if mine := at(goalConnections, companion); len(mine) > 0 {
		r.atLeast("companion's requests/s ÷ plugin protocol's", median(ratiosOf(mine, at(goalConnections, protocol), (*passage).rate)), goalOverProtocol)
		if than := at(goalConnections, resty); len(than) > 0 {
			r.atLeast("companion's requests/s ÷ lua-resty-kafka's", median(ratiosOf(mine, than, (*passage).rate)), goalOverResty)
		}
		var above []float64
		for i, p := range at(goalConnections, nothing) {
			above = append(above, mine[i].nginxCPU()-p.nginxCPU())
		}
		r.atMost("companion's CPU in nginx above nothing handed over, µs", median(above), goalNginxCPU)
		r.atMost("companion's CPU in the server, µs", median(eachOf(mine, (*passage).serverCPU)), goalOwnCPU)
	}
	if mine, than := at(1, companion), at(1, resty); len(mine) > 0 && len(than) > 0 {
		r.atMost("companion's p50 ÷ lua-resty-kafka's, c = 1", median(ratiosOf(mine, than, (*passage).p50)), goalLatency)
	}
	return nil
}

func eachOf(ps []*passage, f func(*passage) float64) []float64 {
	var all []float64
	for _, p := range ps {
		all = append(all, f(p))
	}
	return all
}

func ratiosOf(a, b []*passage, f func(*passage) float64) []float64 {
	var all []float64
	for i := range min(len(a), len(b)) {
		all = append(all, f(a[i])/f(b[i]))
	}
	return all
}
