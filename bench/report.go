//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// report collects the results: Markdown by section, and the verdicts on them.
type report struct {
	out      io.Writer
	sections map[string]string
	verdicts []verdict
	goals    string // the name of the section of those to come
}

// verdict compares a figure with its goal or budget.
type verdict struct {
	what     string
	got      float64
	want     string
	achieved bool
	section  string
}

func (r *report) progress(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }

// section prints the tables and keeps them for the document.
func (r *report) section(name string, parts ...fmt.Stringer) {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	r.sections[name] = b.String()
	fmt.Fprintf(r.out, "\n%s\n", b.String())
}

func (r *report) atLeast(what string, got, want float64) {
	r.verdicts = append(r.verdicts, verdict{what, got, fmt.Sprintf("≥ %g", want), got >= want, r.goals})
}

func (r *report) atMost(what string, got, want float64) {
	r.verdicts = append(r.verdicts, verdict{what, got, fmt.Sprintf("≤ %g", want), got <= want, r.goals})
}

// missed returns how many goals and budgets were missed. It reports all of them.
func (r *report) missed() (n int) {
	tables := make(map[string]*table)
	for _, v := range r.verdicts {
		t := tables[v.section]
		if t == nil {
			t = &table{head: []string{"goal or budget", "found", "wanted", ""}}
			tables[v.section] = t
		}
		word := "holds"
		if !v.achieved {
			word = "MISSED"
			n++
		}
		t.add(v.what, fmt.Sprintf("%.3f", v.got), v.want, word)
	}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		r.section(name, tables[name])
	}
	return n
}

// write puts each section between its markers in the document.
func (r *report) write(document string) error {
	r.sections["machine"] = machine()
	b, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	for name, text := range r.sections {
		begin, end := []byte("<!-- bench: "+name+" -->\n"), []byte("<!-- end of "+name+" -->")
		before, rest, ok1 := bytes.Cut(b, begin)
		_, after, ok2 := bytes.Cut(rest, end)
		if !ok1 || !ok2 {
			return fmt.Errorf("%s lacks the markers of %s", document, name)
		}
		b = bytes.Join([][]byte{before, begin, []byte(text), end, after}, nil)
	}
	return os.WriteFile(document, b, 0o644)
}

// machine returns the date and the machine of the measurement.
func machine() string {
	model := "an unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := "Linux"
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		version, _, _ := strings.Cut(strings.TrimSpace(string(b)), "-")
		kernel += " " + version
	}
	var info syscall.Sysinfo_t
	_ = syscall.Sysinfo(&info)
	return fmt.Sprintf("%s; %s, %d cores, %.0f GiB; %s; %s %s/%s\n", time.Now().Format(time.DateOnly), model, runtime.NumCPU(),
		float64(info.Totalram)*float64(info.Unit)/(1<<30), kernel, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// table is a table in Markdown.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t table) String() string {
	var b strings.Builder
	line := func(cells []string) {
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	line(t.head)
	b.WriteString(strings.Repeat("|---", len(t.head)) + "|\n")
	for _, row := range t.rows {
		line(row)
	}
	return b.String()
}
