// Command gotest runs `go test` and says at its end how many tests there were:
//
//	gotest [-timeout 10m] -- ARGUMENTS [-- ARGUMENTS]...
//
// Each list of arguments is a run of go test, one after another. Of what passes
// it shows a line a package, of what fails everything. A test that is skipped
// has tested nothing, and so has a run without tests: gotest fails on both.
package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	flags, runs := split(os.Args[1:])
	if len(runs) == 0 {
		fmt.Fprintln(os.Stderr, "usage: gotest [FLAG OF GO TEST]... -- ARGUMENTS [-- ARGUMENTS]...")
		os.Exit(2)
	}
	report := newReport(os.Stdout)
	for _, args := range runs {
		args = append(append([]string{"test", "-json"}, flags...), args...)
		report.begin("go " + strings.Join(args, " "))
		report.end(goTest(args, report))
	}
	if !report.close() {
		os.Exit(1)
	}
}

// split returns the arguments before the first "--", which go for every run,
// and each run's own.
func split(args []string) (flags []string, runs [][]string) {
	current := &flags
	for _, arg := range args {
		if arg == "--" {
			runs = append(runs, nil)
			current = &runs[len(runs)-1]
			continue
		}
		*current = append(*current, arg)
	}
	return flags, runs
}

// goTest returns go test's own word on whether all went well.
func goTest(args []string, events io.Writer) error {
	cmd := exec.Command(cmp.Or(os.Getenv("GO"), "go"), args...)
	cmd.Stdout, cmd.Stderr = events, os.Stderr
	return cmd.Run()
}

// lines calls line with each whole line that is written to it.
type lines struct {
	buf  []byte
	line func([]byte)
}

func (l *lines) Write(p []byte) (int, error) {
	l.buf = append(l.buf, p...)
	for {
		line, rest, found := bytes.Cut(l.buf, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.line(line)
		l.buf = rest
	}
}
