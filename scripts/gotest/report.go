package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// event is a line of go test -json (`go doc test2json`).
type event struct {
	Action  string // run, pass, fail, skip, output, build-output, …
	Package string
	Test    string // empty: the package's own
	Output  string
	Elapsed float64 // seconds
}

// report reads the events of one run after the other and counts. It is for one
// goroutine.
type report struct {
	lines
	out      io.Writer
	packages map[string]*testPackage // of this run, those that have not ended
	run      counts
	all      counts
	skipped  []string
	broken   []string // what failed that is no test
	began    time.Time

	wasBroken int // of broken, how many were there before this run
}

type counts struct{ passed, failed, skipped int }

func (c *counts) add(o counts) {
	c.passed += o.passed
	c.failed += o.failed
	c.skipped += o.skipped
}

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

type testPackage struct {
	output []string
	tests  map[string]*test
	order  []string
}

type test struct {
	result string // pass, fail, skip; empty: has not ended
	output []string
	parent bool // it has subtests, which are counted in its place
	failed bool // a subtest has failed
}

func newReport(out io.Writer) *report {
	r := &report{out: out, began: time.Now()}
	r.line = r.take
	return r
}

func (r *report) begin(command string) {
	fmt.Fprintln(r.out, command)
	r.packages = make(map[string]*testPackage)
	r.run, r.wasBroken = counts{}, len(r.broken)
}

// end ends a run that go test itself ended with err.
func (r *report) end(err error) {
	for name := range r.packages {
		r.endPackage(name, "fail", 0) // go test was killed
	}
	if err != nil && r.run.failed == 0 && len(r.broken) == r.wasBroken {
		r.broken = append(r.broken, "go test: "+err.Error())
	}
	if err == nil && r.run == (counts{}) {
		r.broken = append(r.broken, "a run without tests")
	}
	r.all.add(r.run)
}

// close writes the end of the report, and says whether all is well.
func (r *report) close() bool {
	for _, name := range r.skipped {
		fmt.Fprintln(r.out, "skipped:", name)
	}
	for _, what := range r.broken {
		fmt.Fprintln(r.out, "failed:", what)
	}
	r.all.failed += len(r.broken)
	fmt.Fprintf(r.out, "in %v:\n%v\n", time.Since(r.began).Round(time.Second), r.all)
	return r.all.failed == 0 && r.all.skipped == 0 && r.all.passed > 0
}

func (r *report) take(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		fmt.Fprintf(r.out, "%s\n", line)
		return
	}
	switch {
	case e.Action == "build-output":
		fmt.Fprint(r.out, e.Output)
	case e.Package == "":
	case e.Test == "":
		r.takePackage(e)
	default:
		r.takeTest(e)
	}
}

func (r *report) takePackage(e event) {
	switch e.Action {
	case "output":
		p := r.pkg(e.Package)
		p.output = append(p.output, e.Output)
	case "pass", "fail", "skip":
		r.endPackage(e.Package, e.Action, e.Elapsed)
	}
}

func (r *report) takeTest(e event) {
	p := r.pkg(e.Package)
	t := p.test(e.Test)
	switch e.Action {
	case "output":
		t.output = append(t.output, e.Output)
	case "pass", "fail", "skip":
		t.result = e.Action
	}
}

func (r *report) pkg(name string) *testPackage {
	p := r.packages[name]
	if p == nil {
		p = &testPackage{tests: make(map[string]*test)}
		r.packages[name] = p
	}
	return p
}

func (p *testPackage) test(name string) *test {
	t := p.tests[name]
	if t == nil {
		t = &test{}
		p.tests[name] = t
		p.order = append(p.order, name)
		if i := strings.LastIndexByte(name, '/'); i > 0 {
			p.test(name[:i]).parent = true
		}
	}
	return t
}

// endPackage counts a package's tests and shows what failed.
func (r *report) endPackage(name, result string, elapsed float64) {
	p := r.pkg(name)
	delete(r.packages, name)
	// Subtests before the tests they belong to.
	slices.SortStableFunc(p.order, func(a, b string) int {
		return cmp.Compare(strings.Count(b, "/"), strings.Count(a, "/"))
	})
	var c counts
	for _, testName := range p.order {
		t := p.tests[testName]
		if t.result == "" && result == "fail" {
			t.output = append(t.output, "\t(it did not end)\n")
		}
		if t.result == "" {
			t.result = result // of a benchmark, or of what a crash interrupted
		}
		switch {
		case t.result == "fail":
			if i := strings.LastIndexByte(testName, '/'); i > 0 {
				p.tests[testName[:i]].failed = true
			}
			fmt.Fprintf(r.out, "FAIL %s %s\n%s", name, testName, strings.Join(t.output, ""))
			if !t.failed {
				c.failed++
			}
		case t.result == "skip":
			c.skipped++
			r.skipped = append(r.skipped, name+" "+testName)
		case !t.parent:
			c.passed++
		}
	}
	if result == "fail" {
		fmt.Fprint(r.out, strings.Join(p.output, ""))
		if c.failed == 0 {
			r.broken = append(r.broken, name)
		}
	}
	if len(p.order) > 0 {
		verdict := "ok  "
		if result == "fail" {
			verdict = "FAIL"
		}
		fmt.Fprintf(r.out, "%s %s %.1fs: %v\n", verdict, name, elapsed, c)
	}
	r.run.add(c)
}
