//go:build linux

// Command bench measures what a request costs. It plays Kong's side of the plugin protocol
// against kafka-upstream, against a plugin as one would first write it (bench/naive), and
// against a plugin that does nothing (bench/noop), with a broker that only counts. See
// docs/performance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// options are the flags.
type options struct {
	rounds      int
	measure     time.Duration
	connections []int
	only        map[string]bool
	grow        string // part of the name of a growth; all if ""
	profiles    string // a directory; none if ""
	binary      string
	against     []string
	write       string
	check       bool
	nginx       bool
	resty       string // a directory with lua-resty-kafka; none if ""
}

// parts are the parts of the benchmark, in the order of measurement.
var parts = []string{"headline", "budgets", "growth", "bodies", "records", "durable", "ways", "forms"}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{connections: []int{1, 32, 128}}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "rounds", 5, "number of rounds; each measures all candidates")
	f.DurationVar(&o.measure, "time", 3*time.Second, "duration of each measurement, after a warm-up of 500 ms")
	f.Func("c", "`numbers` of requests in flight, separated by commas (default 1,32,128)", func(s string) error {
		o.connections = nil
		for field := range strings.SplitSeq(s, ",") {
			n, err := strconv.Atoi(field)
			if err != nil || n < 1 || n > 10000 {
				return errors.New("want numbers from 1 to 10000, separated by commas")
			}
			o.connections = append(o.connections, n)
		}
		return nil
	})
	f.Func("only", "`parts` to measure, separated by commas: "+strings.Join(parts, ",")+" ; the last two with -nginx (default all)", func(s string) error {
		o.only = make(map[string]bool)
		for field := range strings.SplitSeq(s, ",") {
			if !strings.Contains(","+strings.Join(parts, ",")+",", ","+field+",") {
				return fmt.Errorf("there is no part %q", field)
			}
			o.only[field] = true
		}
		return nil
	})
	f.StringVar(&o.binary, "binary", "", "`path` of the kafka-upstream to measure (default: build it)")
	f.Func("against", "`paths` of other builds of kafka-upstream, separated by commas, to measure beside it; they go by their file names", func(s string) error {
		o.against = strings.Split(s, ",")
		return nil
	})
	f.StringVar(&o.grow, "grow", "", "measure only the growth whose name contains this `text`: configurations, buffer")
	f.StringVar(&o.profiles, "profiles", "", "`directory` for a CPU profile of each measured process; profiling costs a little CPU itself")
	f.StringVar(&o.write, "write", "", "`document` to write the tables into: docs/performance.md")
	f.BoolVar(&o.nginx, "nginx", false, "measure the ways from a genuine nginx to the broker, and nothing else: the companion handler beside the plugin protocol (scripts/need.sh nginx)")
	f.StringVar(&o.resty, "lua-resty-kafka", "", "`directory` with a copy of lua-resty-kafka, for -nginx to measure a producer over it as well")
	f.BoolVar(&o.check, "check", false, "exit with code 1 if a goal or a budget is missed")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.grow != "" && o.write != "" {
		return nil, errors.New("-grow measures one row, and -write writes whole tables: choose one of them")
	}
	if o.profiles != "" {
		if err := os.MkdirAll(o.profiles, 0o755); err != nil {
			return nil, fmt.Errorf("-profiles: %w", err)
		}
	}
	if o.rounds < 1 || o.measure <= 0 {
		return nil, errors.New("-rounds and -time must be positive")
	}
	return o, nil
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := command(args, stdin, stdout, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	return 0
}

// command runs the benchmark, or one of its helper processes.
func command(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "load":
			return loadMain(stdin, stdout)
		case "httpload":
			return httpLoadMain(stdin, stdout)
		case "broker":
			return brokerMain(args[1:], stdin, stdout)
		}
	}
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return bench(ctx, o, stdout)
}
