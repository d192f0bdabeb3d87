// Command gotest runs `go test` and says at its end how many tests there were:
//
//	gotest [FLAG OF GO TEST]... -- ARGUMENTS [-- [+] ARGUMENTS]...
//
// Each list of arguments is a run of go test, one after another; flags are written
// -name or -name=value. One that begins with + does only the tests that no run
// before it had: those that its build tags add. They are found in the source, so
// that only the packages that have some are built again. Of what passes gotest
// shows a line a package, of what fails everything. A test that is skipped has
// tested nothing, and so has a run without tests: gotest fails on both.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

func main() {
	runs := split(os.Args[1:])
	if len(runs) == 0 {
		fmt.Fprintln(os.Stderr, "usage: gotest [FLAG OF GO TEST]... -- ARGUMENTS [-- ARGUMENTS]...")
		os.Exit(2)
	}
	r := &report{out: os.Stdout, seen: make(map[string]bool)}
	began := time.Now()
	for _, args := range runs {
		if i := slices.Index(args, "+"); i >= 0 {
			args = slices.Delete(args, i, i+1)
			tests, err := list(args)
			if err != nil {
				r.problem("listing the tests: " + err.Error())
				continue
			}
			args, err = r.added(args, tests)
			if err != nil {
				r.problem(err.Error())
				continue
			}
		}
		r.run(goTest(args))
	}
	fmt.Printf("in %v:\n", time.Since(began).Round(time.Second))
	if !r.end() {
		os.Exit(1)
	}
}

// goTest starts go test, and returns its events and what waits for its end.
func goTest(args []string) (events io.Reader, wait func() error) {
	args = append([]string{"test", "-json"}, args...)
	fmt.Println("go " + strings.Join(args, " "))
	cmd := exec.Command(cmp.Or(os.Getenv("GO"), "go"), args...)
	cmd.Stderr = os.Stderr
	if slices.Contains(args, "-race") {
		// The race detector is written in C. It has each process wait a second at its end for
		// what still runs: most of the time of tests that run programs.
		cmd.Env = append([]string{"GORACE=atexit_sleep_ms=20"}, append(os.Environ(), "CGO_ENABLED=1")...)
	}
	events, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return events, cmd.Wait
}

// packageTest is a test of a package.
type packageTest struct{ pkg, name string }

// list returns the tests that go test runs with the arguments, in the order of their packages.
func list(args []string) (tests []packageTest, err error) {
	const files = "{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}}\t{{$p.Dir}}/{{.}}\n{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}}\t{{$p.Dir}}/{{.}}\n{{end}}"
	cmd := exec.Command(cmp.Or(os.Getenv("GO"), "go"), slices.Concat([]string{"list", "-f", files}, slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		return !isPackage(arg) && !strings.HasPrefix(arg, "-tags=") && arg != "-race" // what decides which files there are
	}))...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, file, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			continue
		}
		names, err := testsIn(file, nil)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			tests = append(tests, packageTest{pkg, name})
		}
	}
	return tests, nil
}

// testsIn returns the names of the tests, examples with output and fuzz targets in a file, or in
// src if that is not nil.
func testsIn(file string, src any) (names []string, err error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && isTest(fn.Name.Name) && fn.Name.Name != "TestMain" {
			names = append(names, fn.Name.Name)
		}
	}
	for _, e := range doc.Examples(f) {
		if e.Output != "" || e.EmptyOutput {
			names = append(names, "Example"+e.Name)
		}
	}
	return names, nil
}

// isTest reports whether go test calls a function of that name.
func isTest(name string) bool {
	for _, prefix := range []string{"Test", "Fuzz"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			first, _ := utf8.DecodeRuneInString(rest)
			return rest == "" || !unicode.IsLower(first)
		}
	}
	return false
}

func isPackage(arg string) bool { return !strings.HasPrefix(arg, "-") }

// split returns the arguments of each run: those before the first "--" go for all.
func split(args []string) (runs [][]string) {
	first := slices.Index(args, "--")
	if first < 0 {
		return nil
	}
	for run := range strings.SplitSeq(strings.Join(args[first+1:], "\x00"), "\x00--\x00") {
		runs = append(runs, append(slices.Clone(args[:first]), strings.Split(run, "\x00")...))
	}
	return runs
}

// report reads the events of go test -json (`go doc test2json`), run after run, and counts.
type report struct {
	out                     io.Writer
	passed, failed, skipped int
	problems                []string // what was skipped, and what failed that is no test
	packages                map[string]*testPackage
	seen                    map[string]bool // tests of runs, by package and name
}

type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

type testPackage struct {
	output strings.Builder
	tests  map[string]*test
}

type test struct {
	result string // pass, fail, skip; empty: has not ended
	output strings.Builder
	parent bool // it has subtests, which are counted in its place
	failed bool // a subtest has failed
}

// run reads the events of one run, and then waits for go test's own word.
func (r *report) run(events io.Reader, wait func() error) {
	r.packages = make(map[string]*testPackage)
	before, problems := r.passed+r.failed+r.skipped, len(r.problems)
	failed := r.failed
	for in := bufio.NewReader(events); ; {
		line, err := in.ReadBytes('\n')
		r.take(line)
		if err != nil {
			break
		}
	}
	err := wait()
	for name := range r.packages { // go test was killed
		r.endPackage(name, event{Action: "fail"})
	}
	switch {
	case err != nil && r.failed == failed && len(r.problems) == problems:
		r.problem("go test: " + err.Error())
	case err == nil && r.passed+r.failed+r.skipped == before:
		r.problem("a run without tests")
	}
}

// added returns the arguments with which go test runs those of the tests that no run has had.
func (r *report) added(args []string, tests []packageTest) ([]string, error) {
	var packages, names []string
	for _, t := range tests {
		if r.seen[t.pkg+" "+t.name] {
			continue
		}
		if !slices.Contains(packages, t.pkg) {
			packages = append(packages, t.pkg)
		}
		if !slices.Contains(names, t.name) {
			names = append(names, t.name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("a run that adds no tests")
	}
	flags := slices.DeleteFunc(slices.Clone(args), isPackage)
	return slices.Concat(flags, []string{"-run=^(" + strings.Join(names, "|") + ")$"}, packages), nil
}

func (r *report) problem(what string) {
	r.problems = append(r.problems, "failed: "+what)
	r.failed++
}

// end writes the closing lines, and says whether all is well.
func (r *report) end() bool {
	for _, what := range r.problems {
		fmt.Fprintln(r.out, what)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	return r.failed == 0 && r.skipped == 0 && r.passed > 0
}

func (r *report) take(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		fmt.Fprintf(r.out, "%s", line)
		return
	}
	if e.Action == "build-output" {
		fmt.Fprint(r.out, e.Output)
	}
	if e.Package == "" {
		return
	}
	p := r.packages[e.Package]
	if p == nil {
		p = &testPackage{tests: make(map[string]*test)}
		r.packages[e.Package] = p
	}
	ended := e.Action == "pass" || e.Action == "fail" || e.Action == "skip"
	switch {
	case e.Test != "":
		r.seen[e.Package+" "+e.Test] = true
		t := p.test(e.Test)
		t.output.WriteString(e.Output)
		if ended {
			t.result = e.Action
		}
	case ended:
		r.endPackage(e.Package, e)
	default:
		p.output.WriteString(e.Output)
	}
}

func (p *testPackage) test(name string) *test {
	t := p.tests[name]
	if t == nil {
		t = &test{}
		p.tests[name] = t
		if i := strings.LastIndexByte(name, '/'); i > 0 {
			p.test(name[:i]).parent = true
		}
	}
	return t
}

// endPackage counts a package's tests and shows what failed.
func (r *report) endPackage(name string, e event) {
	p := r.packages[name]
	delete(r.packages, name)
	var order []string // subtests before the tests they belong to
	for testName := range p.tests {
		order = append(order, testName)
	}
	slices.SortFunc(order, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(b, "/"), strings.Count(a, "/")), cmp.Compare(a, b))
	})
	failed := r.failed
	for _, testName := range order {
		t := p.tests[testName]
		if t.parent && t.result == "" && t.output.Len() == 0 {
			continue // no test, but a part of a name that has a slash
		}
		if t.result == "" && e.Action == "fail" {
			t.output.WriteString("\t(it did not end)\n")
		}
		switch cmp.Or(t.result, e.Action) { // the package's: of a benchmark, or of what a crash interrupted
		case "fail":
			if i := strings.LastIndexByte(testName, '/'); i > 0 {
				p.tests[testName[:i]].failed = true
			}
			fmt.Fprintf(r.out, "FAIL %s %s\n%s", name, testName, t.output.String())
			if !t.failed {
				r.failed++
			}
		case "skip":
			r.skipped++
			r.problems = append(r.problems, "skipped: "+name+" "+testName)
		default:
			if !t.parent {
				r.passed++
			}
		}
	}
	verdict := "ok"
	if e.Action == "fail" {
		verdict = "FAIL"
		fmt.Fprint(r.out, p.output.String())
		if r.failed == failed {
			r.problem(name)
		}
	}
	if len(order) > 0 {
		fmt.Fprintf(r.out, "%-4s %s %.1fs\n", verdict, name, e.Elapsed)
	}
}
