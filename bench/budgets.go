//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// budgets measures what a request or a process may cost at most.
func budgets(ctx context.Context, o *options, all []candidate, r *report) error {
	if err := systemCalls(ctx, all, r); err != nil {
		return err
	}
	if err := allocations(ctx, all, r); err != nil {
		return err
	}
	t := table{head: []string{"", "found", "at most"}}
	for _, b := range []struct {
		what   string
		unit   string
		limit  float64
		rounds int
		find   func(context.Context, candidate) (float64, error)
	}{
		{"resident memory with 50 000 records of 1 KiB in the buffer", "MiB", 120, o.rounds, fullBuffer},
		{"start to first answer, as Kong starts it", "ms", 50, 20, startUp},
		{"`-dump`", "ms", 20, 20, dump},
	} {
		var found []float64
		for range b.rounds {
			v, err := b.find(ctx, all[0])
			if err != nil {
				return err
			}
			found = append(found, v)
		}
		t.add(b.what, summary("%.1f", found)+" "+b.unit, fmt.Sprintf("%g %s", b.limit, b.unit))
		r.atMost(b.what+", "+b.unit, median(found), b.limit)
	}
	r.section("budgets", t)
	return nil
}

// fullBuffer returns the resident memory, in MiB, with a buffer that is full
// because the broker is away.
func fullBuffer(ctx context.Context, c candidate) (float64, error) {
	const records, size = 50000, 1024
	body := strings.Repeat("x", size-len(`{"body":"","body_args":{}}`))
	x, err := open(ctx, c, scenario{connections: goalConnections, away: true,
		settings: map[string]any{"forward_method": false, "forward_uri": false, "forward_headers": false}})
	if err != nil {
		return 0, err
	}
	defer x.close()
	o, err := x.load(ctx, job{Count: records + 1000, UntilRefused: true,
		Request: httpRequest{Method: "POST", Path: "/", Headers: [][2]string{{"content-type", "text/plain"}}, Body: []byte(body)}})
	if err != nil {
		return 0, err
	}
	if n := o.Answered["200"]; n != records {
		return 0, fmt.Errorf("the buffer is full with %d records, not with %d: %v", n, records, o.Answered)
	}
	resident, _, err := memory(x.plugin.pid())
	if err == nil {
		_, err = x.finish()
	}
	return mebi(resident), err
}

// startUp returns the time, in ms, from the start of the process, with a pipe
// for its input as Kong gives it one, to the answer to its first request.
func startUp(ctx context.Context, c candidate) (float64, error) {
	b, err := startBroker(ctx)
	if err != nil {
		return 0, err
	}
	defer b.stop()
	dir, err := os.MkdirTemp("", "ku-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	x := &session{broker: b}
	configs, err := x.pluginConfigs()
	if err != nil {
		return 0, err
	}
	replies := baselineRequest().replies()
	cmd := exec.CommandContext(ctx, c.Path, "-kong-prefix", dir)
	cmd.Env = []string{}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	var conn net.Conn
	for time.Since(began) < 5*time.Second {
		if conn, err = net.Dial("unix", filepath.Join(dir, "kafka-upstream.socket")); err == nil {
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	if err == nil {
		err = oneRequest(conn, configs[0], replies)
		conn.Close()
	}
	took := time.Since(began)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = stdin.Close()
	if failed := cmd.Wait(); err == nil {
		err = failed
	}
	return micros(took) / 1000, err
}

// oneRequest starts an instance and has it answer a request.
func oneRequest(c net.Conn, config []byte, replies map[string]frame) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	answer, err := converse(c, startInstance(config))
	if err != nil {
		return err
	}
	id, err := instanceOf(answer)
	if err != nil {
		return err
	}
	if err := send(c, handleEvent(id)); err != nil {
		return err
	}
	for {
		method, err := receive(c)
		if err != nil {
			return err
		}
		args, err := receive(c)
		if err != nil {
			return err
		}
		if string(method) == exitMethod {
			if status := exitStatus(args); status != 200 {
				return fmt.Errorf("the first request is answered %d", status)
			}
			return nil
		}
		reply, ok := replies[ask(string(method), args)]
		if !ok {
			return fmt.Errorf("the plugin asks what there is no reply to: %s(%q)", method, args)
		}
		if err := send(c, reply); err != nil {
			return err
		}
	}
}

// dump returns how long, in ms, -dump takes.
func dump(ctx context.Context, c candidate) (float64, error) {
	cmd := exec.CommandContext(ctx, c.Path, "-dump")
	cmd.Env, cmd.Stdout = []string{}, io.Discard
	began := time.Now()
	err := cmd.Run()
	return micros(time.Since(began)) / 1000, err
}

// allocations counts the heap objects per request of each candidate.
func allocations(ctx context.Context, all []candidate, r *report) error {
	const n = 20000
	t := table{head: []string{"", "heap allocations per request"}}
	for _, cand := range all {
		x, err := open(ctx, cand, scenario{connections: goalConnections})
		if err != nil {
			return err
		}
		defer x.close()
		if _, err := x.load(ctx, job{Count: 5000}); err != nil {
			return err
		}
		var at [3]int64
		for i := range at {
			if i == 2 {
				if _, err := x.load(ctx, job{Count: n}); err != nil {
					return err
				}
			}
			if at[i], err = x.plugin.mallocs(); err != nil {
				return fmt.Errorf("%s: %w", cand.Name, err)
			}
		}
		if _, err := x.finish(); err != nil {
			return err
		}
		asking := at[1] - at[0] // what it costs to ask
		per := float64(at[2]-at[1]-asking) / n
		t.add(cand.Name, fmt.Sprintf("%.1f", per))
		if cand.Name == ours {
			r.atMost("heap allocations per request", per, 12)
		}
	}
	r.section("allocations", t)
	return nil
}
