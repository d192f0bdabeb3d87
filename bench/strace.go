//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// calls are the system calls of a process, by name.
type calls map[string]int64

// The calls that are told apart. Those of the scheduler are Go's own: how many
// there are depends on how busy the machine is.
var (
	writeCalls     = []string{"write", "writev", "sendto", "sendmsg", "sendmmsg"}
	waitCalls      = []string{"epoll_wait", "epoll_pwait", "epoll_pwait2"}
	schedulerCalls = []string{"futex", "nanosleep", "clock_nanosleep", "sched_yield", "tgkill", "getpid", "rt_sigreturn", "madvise", "restart_syscall"}
)

func (c calls) of(names ...string) (n int64) {
	for _, name := range names {
		n += c[name]
	}
	return n
}

func (c calls) all() (n int64) {
	for _, v := range c {
		n += v
	}
	return n
}

// errNoStrace is why no system calls can be counted on this machine.
type errNoStrace struct{ reason string }

func (e errNoStrace) Error() string { return "system calls are not counted: " + e.reason }

// traced counts the process's system calls while f runs.
func traced(ctx context.Context, p *plugin, f func() error) (calls, error) {
	path, err := exec.LookPath("strace")
	if err != nil {
		return nil, errNoStrace{"strace is not installed"}
	}
	counts := filepath.Join(p.dir, "strace")
	cmd := exec.CommandContext(ctx, path, "-f", "-c", "-o", counts, "-p", strconv.Itoa(p.pid()))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	said := bufio.NewReader(stderr)
	line, err := said.ReadString('\n')
	if err != nil || !strings.Contains(line, "attached") {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, errNoStrace{"strace does not attach: " + strings.TrimSpace(line)}
	}
	failed := f()
	_ = cmd.Process.Signal(syscall.SIGINT)
	_, _ = io.Copy(io.Discard, said)
	_ = cmd.Wait() // by the signal
	if failed != nil {
		return nil, failed
	}
	b, err := os.ReadFile(counts)
	if err != nil {
		return nil, err
	}
	c := parseStrace(string(b))
	if len(c) == 0 {
		return nil, fmt.Errorf("strace has counted nothing: %s", b)
	}
	return c, nil
}

// parseStrace reads the summary of strace -c: share, seconds, µs per call,
// calls, errors (or nothing), name.
func parseStrace(summary string) calls {
	c := make(calls)
	for line := range strings.Lines(summary) {
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[len(fields)-1] == "total" {
			continue
		}
		if n, err := strconv.ParseInt(fields[3], 10, 64); err == nil {
			c[fields[len(fields)-1]] += n
		}
	}
	return c
}

// tracedRequests is how many requests are sent while system calls are counted.
const tracedRequests = 4000

// systemCalls counts the system calls of each candidate.
func systemCalls(ctx context.Context, all []candidate, r *report) error {
	t := table{head: []string{"system calls per request", "write", "others", "together", "epoll_wait", "futex, sleep, yield"}}
	for _, cand := range all {
		c, err := callsOf(ctx, cand)
		if _, ok := errors.AsType[errNoStrace](err); ok {
			r.progress("%v", err)
			return nil
		}
		if err != nil {
			return err
		}
		per := func(n int64) string { return fmt.Sprintf("%.2f", float64(n)/tracedRequests) }
		writes, waits, scheduler := c.of(writeCalls...), c.of(waitCalls...), c.of(schedulerCalls...)
		together := c.all() - waits - scheduler
		t.add(cand.Name, per(writes), per(together-writes), per(together), per(waits), per(scheduler))
		if cand.Name == ours {
			r.atMost("writes per request", float64(writes)/tracedRequests, 3)
			r.atMost("system calls per request, epoll_wait included", float64(together+waits)/tracedRequests, 10)
		}
		r.progress("%s: %v", cand.Name, c)
	}
	r.section("calls", t)
	return nil
}

func callsOf(ctx context.Context, cand candidate) (calls, error) {
	x, err := open(ctx, cand, scenario{connections: goalConnections})
	if err != nil {
		return nil, err
	}
	defer x.close()
	if _, err := x.load(ctx, job{Count: 1000}); err != nil { // to start what starts with the first
		return nil, err
	}
	c, err := traced(ctx, x.plugin, func() error {
		_, err := x.load(ctx, job{Count: tracedRequests})
		return err
	})
	if err == nil {
		_, err = x.finish()
	}
	return c, err
}
