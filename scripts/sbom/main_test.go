package main

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBillNamesWhatIsLinked(t *testing.T) {
	program := filepath.Join(t.TempDir(), "kafka-upstream")
	build := exec.Command("go", "build", "-o", program, "./cmd/kafka-upstream")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	d := newDocument("kafka-upstream", "1.2.3", b, info, time.Unix(1, 0))
	list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}}{{end}}{{end}}", "./cmd/kafka-upstream")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]bool)
	for _, m := range strings.Fields(string(out)) {
		want["pkg:golang/"+m] = true
	}
	ids := make(map[string]bool)
	for _, p := range d.Packages {
		if ids[p.ID] {
			t.Errorf("the ID %s is not unique", p.ID)
		}
		ids[p.ID] = true
		for _, r := range p.Refs {
			delete(want, r.Locator)
		}
	}
	if len(want) > 0 || len(d.Packages) < 10 {
		t.Errorf("it lacks %v", want)
	}
	for _, r := range d.Relationships {
		if !ids[r.Related] || r.Element != d.ID && !ids[r.Element] {
			t.Errorf("%+v is about what is not there", r)
		}
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"created":"1970-01-01T00:00:01Z"`, `"referenceLocator":"pkg:golang/stdlib@` + strings.TrimPrefix(info.GoVersion, "go"), `"licenseDeclared":"Apache-2.0"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("it lacks %s", want)
		}
	}
}
