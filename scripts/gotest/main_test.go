package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// feed makes a report of one run of events, given as "action test" or, for the
// package itself, "action".
func feed(t *testing.T, goTestError error, events ...string) (out string, ok bool) {
	t.Helper()
	var b, in strings.Builder
	for _, e := range events {
		action, test, _ := strings.Cut(e, " ")
		fmt.Fprintf(&in, `{"Action":%q,"Package":"p","Test":%q}`+"\n", action, test)
	}
	r := &report{out: &b, seen: make(map[string]bool)}
	r.run(strings.NewReader(in.String()), func() error { return goTestError })
	ok = r.end()
	return b.String(), ok
}

func TestClosingLineCountsTests(t *testing.T) {
	errFail := errors.New("exit status 1")
	for _, test := range []struct {
		name   string
		err    error
		events []string
		want   string
		ok     bool
	}{
		{"passed", nil, []string{"run A", "run B", "pass A", "pass B", "pass"}, "2 passed, 0 failed, 0 skipped", true},
		{"failed", errFail, []string{"run A", "run B", "pass A", "fail B", "fail"}, "1 passed, 1 failed, 0 skipped", false},
		{"skipped", nil, []string{"run A", "run B", "pass A", "skip B", "pass"}, "1 passed, 0 failed, 1 skipped", false},
		{"subtests count and not their parents", nil, []string{"run A", "run A/1", "run A/2", "pass A/1", "pass A/2", "pass A", "pass"}, "2 passed, 0 failed, 0 skipped", true},
		{"a failed subtest counts once", errFail, []string{"run A", "run A/1", "run A/1/x", "run A/2", "fail A/1/x", "pass A/2", "fail A/1", "fail A", "fail"}, "1 passed, 1 failed, 0 skipped", false},
		{"a parent that fails by itself", errFail, []string{"run A", "run A/1", "pass A/1", "fail A", "fail"}, "1 passed, 1 failed, 0 skipped", false},
		{"no tests", nil, []string{"skip"}, "0 passed, 1 failed, 0 skipped", false},
		{"a package that does not build", errFail, []string{"fail"}, "0 passed, 1 failed, 0 skipped", false},
		{"a package that fails after its tests", errFail, []string{"run A", "pass A", "fail"}, "1 passed, 1 failed, 0 skipped", false},
		{"a test that a panic ended", errFail, []string{"run A", "run B", "pass A", "fail"}, "1 passed, 1 failed, 0 skipped", false},
		{"go test that was killed", errFail, []string{"run A", "pass A", "run B"}, "1 passed, 1 failed, 0 skipped", false},
		{"go test that fails without a word", errFail, nil, "0 passed, 1 failed, 0 skipped", false},
	} {
		out, ok := feed(t, test.err, test.events...)
		if lines := strings.Split(strings.TrimSpace(out), "\n"); lines[len(lines)-1] != test.want || ok != test.ok {
			t.Errorf("%s: ok %v with the closing line %q, want %v, %q; all:\n%s", test.name, ok, lines[len(lines)-1], test.ok, test.want, out)
		}
	}
}

func TestOutputOfWhatFailedIsShown(t *testing.T) {
	var b strings.Builder
	r := &report{out: &b, seen: make(map[string]bool)}
	r.run(strings.NewReader(`{"Action":"build-output","ImportPath":"q","Output":"q.go:1: undefined\n"}
{"Action":"output","Package":"p","Test":"A","Output":"quiet\n"}
{"Action":"output","Package":"p","Test":"B","Output":"b_test.go:1: wrong\n"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"fail","Package":"p","Test":"B"}
{"Action":"output","Package":"p","Output":"found unexpected goroutines\n"}
{"Action":"fail","Package":"p","Elapsed":1.5}
no JSON
`), func() error { return errors.New("exit status 1") })
	r.end()
	for _, want := range []string{"q.go:1: undefined\n", "FAIL p B\nb_test.go:1: wrong\n", "found unexpected goroutines\n", "FAIL p 1.5s\n", "no JSON\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "quiet") {
		t.Errorf("the output of a test that passed is shown:\n%s", b.String())
	}
}

func TestRunsAddUpAndEachHasToHaveTests(t *testing.T) {
	var b strings.Builder
	r := &report{out: &b, seen: make(map[string]bool)}
	well := func() error { return nil }
	for range 2 {
		r.run(strings.NewReader(`{"Action":"pass","Package":"p","Test":"A"}`+"\n"+`{"Action":"pass","Package":"p"}`+"\n"), well)
	}
	r.run(strings.NewReader(""), well)
	if r.end() || !strings.HasSuffix(b.String(), "\n2 passed, 1 failed, 0 skipped\n") {
		t.Errorf("got\n%s", b.String())
	}
}

func TestArgumentsAreSplitIntoRuns(t *testing.T) {
	runs := split([]string{"-timeout", "1m", "--", "-race", "./...", "--", "./x"})
	if len(runs) != 2 || !slices.Equal(runs[0], []string{"-timeout", "1m", "-race", "./..."}) || !slices.Equal(runs[1], []string{"-timeout", "1m", "./x"}) {
		t.Errorf("got %q", runs)
	}
}

func TestRunWithAPlusHasOnlyTheTestsThatNoRunHad(t *testing.T) {
	r := &report{out: io.Discard, seen: make(map[string]bool)}
	none := func() error { return nil }
	r.run(strings.NewReader(`{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestB/sub"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"q","Test":"TestC"}
{"Action":"pass","Package":"r","Test":"TestA"}
{"Action":"pass","Package":"p"}
{"Action":"pass","Package":"q"}
{"Action":"pass","Package":"r"}`), none)
	tests := []packageTest{{"q", "TestC"}, {"q", "FuzzF"}, {"p", "TestA"}, {"p", "TestB"}, {"p", "TestC"}, {"p", "ExampleE"}, {"r", "TestA"}}
	args, err := r.added([]string{"-timeout=1m", "-tags=x", "./q", "./..."}, tests)
	if want := []string{"-timeout=1m", "-tags=x", "-run=^(FuzzF|TestC|ExampleE)$", "q", "p"}; err != nil || !slices.Equal(args, want) {
		t.Errorf("%q, %v, want %q", args, err, want)
	}
	if args, err := r.added([]string{"./..."}, tests[:1]); err == nil {
		t.Errorf("%q for a run that adds nothing", args)
	}
}

func TestTestsAreFoundInTheSource(t *testing.T) {
	names, err := testsIn("x_test.go", `package x
func TestMain(m *testing.M) {}
func Test(t *testing.T) {}
func TestÄpfel(t *testing.T) {}
func Testimony(t *testing.T) {}
func testHelper(t *testing.T) {}
func (s suite) TestMethod(t *testing.T) {}
func BenchmarkB(b *testing.B) {}
func FuzzF(f *testing.F) {}
func ExampleT_silent() {}
func ExampleT_named() {
	// Output: a
}
func Example() {
	// Output:
}
`)
	if want := []string{"Test", "TestÄpfel", "FuzzF", "Example", "ExampleT_named"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%q, %v, want %q", names, err, want)
	}
	if _, err := testsIn("x_test.go", "pack"); err == nil {
		t.Error("no error for what is no Go")
	}
}

func TestListKnowsThePackageOfEachTest(t *testing.T) {
	tests, err := list([]string{"-timeout=1m", "-race", "."})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{t.Name(), "TestClosingLineCountsTests"} {
		if !slices.Contains(tests, packageTest{"kafka-upstream/scripts/gotest", want}) {
			t.Errorf("%q is not in %v", want, tests)
		}
	}
}
