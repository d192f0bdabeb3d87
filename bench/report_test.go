//go:build linux

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newReport() *report {
	return &report{out: io.Discard, sections: make(map[string]string), goals: "goals"}
}

// some are samples as if they had been measured.
func some() (series, []candidate) {
	found := make(series)
	all := []candidate{{Name: ours}, {Name: naive}, {Name: noop}}
	for i, c := range all {
		for round := range 3 {
			found[key{32, c.Name}] = append(found[key{32, c.Name}], &sample{
				requests: 1000, measured: int64(1000 * (3 - i) * (round + 1)), elapsed: time.Second, user: time.Duration(10*(i+1)) * time.Millisecond})
		}
	}
	return found, all
}

func TestGoalsThatAreMissedAreSaid(t *testing.T) {
	found, _ := some()
	r := newReport()
	goals(found, r)
	if n := r.missed(); n != 2 { // 1.5 times naive, 3 times noop, half of the CPU
		t.Errorf("%d are missed:\n%s", n, r.sections["goals"])
	}
	if s := r.sections["goals"]; strings.Count(s, "MISSED") != 2 || strings.Count(s, "holds") != 1 {
		t.Error(s)
	}
}

func TestDocumentGetsWhatWasFound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "d.md")
	if err := os.WriteFile(file, []byte("# T\n<!-- bench: machine -->\nold\n<!-- end of machine -->\n<!-- bench: calls -->\nold\n<!-- end of calls -->\nend\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newReport()
	calls := table{head: []string{"a", "b"}}
	calls.add("1", "2")
	r.section("calls", calls)
	if err := r.write(file); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(file)
	if s := string(b); strings.Contains(s, "old") || !strings.Contains(s, "| a | b |\n|---|---|\n| 1 | 2 |\n<!-- end of calls -->\nend\n") || !strings.Contains(s, "cores") {
		t.Error(s)
	}
	r.section("growth", calls)
	if err := r.write(file); err == nil || !strings.Contains(err.Error(), "markers of growth") {
		t.Errorf("got %v", err)
	}
}

func TestDocumentHasThePlaceOfEachSection(t *testing.T) {
	b, err := os.ReadFile("../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"machine", "headline", "headline goals", "calls", "allocations", "budgets", "budgets goals", "growth", "growth goals", "bodies",
		"records", "records goals", "ways", "ways goals", "forms", "forms goals",
	} {
		if begin, end := bytes.Index(b, []byte("<!-- bench: "+name+" -->\n")), bytes.Index(b, []byte("<!-- end of "+name+" -->")); begin < 0 || end < begin {
			t.Errorf("docs/performance.md lacks the markers of %s", name)
		}
	}
}

func TestSummaryOfStraceIsRead(t *testing.T) {
	c := parseStrace(`% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 50.00    0.001000           1      1000           write
 25.00    0.000500           1       500        20 futex
 25.00    0.000500           1       500        11 epoll_pwait
------ ----------- ----------- --------- --------- ----------------
100.00    0.002000           1      2000        31 total
`)
	if len(c) != 3 || c.all() != 2000 || c.of(writeCalls...) != 1000 || c.of(schedulerCalls...) != 500 || c.of(waitCalls...) != 500 {
		t.Errorf("%v", c)
	}
}

func TestFlagsThatAreWrongAreExplained(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-only", "everything"}, "everything"},
		{[]string{"-grow", "buffer", "-write", "x.md"}, "choose one"},
		{[]string{"-c", "0"}, "numbers"},
		{[]string{"-rounds", "0"}, "positive"},
		{[]string{"headline"}, "unexpected argument"},
	} {
		var stderr bytes.Buffer
		if code := run(c.args, nil, io.Discard, &stderr); code != 1 || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%v: exit code %d, %s", c.args, code, stderr.String())
		}
	}
	if code := run([]string{"-help"}, nil, io.Discard, io.Discard); code != 0 {
		t.Errorf("-help: exit code %d", code)
	}
}

// The whole of the headline, for a moment.
func TestHeadlineMeasuresAllSideBySide(t *testing.T) {
	r := newReport()
	err := headline(t.Context(), &options{rounds: 1, measure: 20 * time.Millisecond, connections: []int{goalConnections}}, programs(t), r)
	if err != nil {
		t.Fatal(err)
	}
	s := r.sections["headline"]
	for _, c := range programs(t) {
		if !strings.Contains(s, "| 32 | "+c.Name+" | ") {
			t.Errorf("no row of %s in\n%s", c.Name, s)
		}
	}
	if len(r.verdicts) != 3 {
		t.Errorf("%v", r.verdicts)
	}
}
