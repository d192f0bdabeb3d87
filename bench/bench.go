//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// errMissed is the error of a run with -check that missed a goal or a budget.
var errMissed = errors.New("a goal or a budget was missed")

// bench builds the candidates, measures them and prints the results.
func bench(ctx context.Context, o *options, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "ku-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	all, err := candidates(ctx, dir, o.binary, o.against)
	if err != nil {
		return err
	}
	r := &report{out: stdout, sections: make(map[string]string)}
	for _, part := range []struct {
		name  string
		run   func(context.Context, *options, []candidate, *report) error
		nginx bool
	}{
		{"headline", headline, false},
		{"budgets", budgets, false},
		{"growth", growth, false},
		{"bodies", bodies, false},
		{"records", records, false},
		{"durable", durable, false},
		{"ways", nginxWays, true},
		{"forms", formsThroughCompanion, true},
	} {
		if o.nginx == part.nginx && (o.only == nil || o.only[part.name]) {
			r.goals = part.name + " goals"
			if err := part.run(ctx, o, all, r); err != nil {
				return err
			}
		}
	}
	missed := r.missed()
	if o.write != "" {
		if err := r.write(o.write); err != nil {
			return err
		}
	}
	if missed > 0 && o.check {
		return errMissed
	}
	return nil
}

// The names of the candidates.
const (
	ours  = "kafka-upstream"
	naive = "naive"
	noop  = "noop"
)

// candidates builds the programs as they are built for use. The first is kafka-upstream.
func candidates(ctx context.Context, dir, binary string, against []string) ([]candidate, error) {
	all := []candidate{{Name: ours, Path: binary}}
	if binary == "" {
		all[0].Path = filepath.Join(dir, "kafka-upstream")
		if err := build(ctx, "cmd/kafka-upstream", all[0].Path); err != nil {
			return nil, err
		}
	}
	for _, path := range against {
		c := candidate{Name: filepath.Base(path), Path: path}
		if path == "" || slices.ContainsFunc(all, func(o candidate) bool { return o.Name == c.Name }) || c.Name == naive || c.Name == noop {
			return nil, fmt.Errorf("-against: the file name of %q must not be that of another candidate: results go by it", path)
		}
		all = append(all, c)
	}
	for _, c := range []candidate{{Name: naive, PDK: true}, {Name: noop, PDK: true, Silent: true}} {
		c.Path = filepath.Join(dir, c.Name)
		if err := build(ctx, "bench/"+c.Name, c.Path); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func build(ctx context.Context, pkg, path string, more ...string) error {
	args := append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", path}, more...)
	cmd := exec.CommandContext(ctx, "go", append(args, "kafka-upstream/"+pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, strings.TrimSpace(string(out)))
	}
	return nil
}
