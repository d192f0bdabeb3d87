// Package test holds what is true of all packages.
package test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "kafka-upstream/"

// pkg is what a package that is no test imports: itself, and with all that these import.
type pkg struct{ imports, deps []string }

func packages(t *testing.T) map[string]pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-tags", "faults", "-f", `{{.ImportPath}};{{join .Imports " "}};{{join .Deps " "}}`, module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]pkg)
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), ";")
		all[f[0]] = pkg{strings.Fields(f[1]), strings.Fields(f[2])}
	}
	return all
}

// The nevers of docs/design.md: who imports whom, which is what lets a second door, a
// record of another form or another client of Kafka take its place.
func TestNevers(t *testing.T) {
	all := packages(t)
	for _, never := range []struct {
		importer, imported string // a package, and a prefix of what it never imports
		direct             bool   // what others import is no matter
	}{
		{"internal/request", module, false},
		{"internal/plugin", module + "internal/kongpdk", false},
		{"internal/record", module + "internal/kongpdk", false},
		{"internal/producer", module + "internal/config", false},
		{"internal/metrics", "github.com/segmentio/kafka-go", true},
		{"internal/producer/cluster", module + "internal/config", false},
		{"internal/kafkaerr", module, false},
		{"internal/spool", module, false},
		{"schema", module, false},
		{"internal/kongpdk", module + "internal/producer", true},
		{"internal/kongpdk", module + "internal/config", true},
		{"internal/companion", module + "internal/producer", true},
		{"internal/companion", module + "internal/config", true},
		{"internal/companion", module + "internal/kongpdk", false},
		{"internal/kongpdk", module + "internal/companion", false},
		{"internal/plugin", module + "internal/companion", false},
		{"internal/record", module + "internal/companion", false},
	} {
		p, ok := all[module+never.importer]
		if !ok {
			t.Errorf("there is no package %s", never.importer)
		}
		imports := p.deps
		if never.direct {
			imports = p.imports
		}
		if slices.ContainsFunc(imports, func(path string) bool { return strings.HasPrefix(path, never.imported) }) {
			t.Errorf("%s imports %s", never.importer, never.imported)
		}
	}
}

// Rigs are for tests, the benchmark and the demo.
func TestNothingThatIsShippedImportsARig(t *testing.T) {
	for path, p := range packages(t) {
		room := strings.TrimPrefix(path, module)
		if strings.HasPrefix(room, "internal/test/") || strings.HasPrefix(room, "bench") || room == "cmd/kafka-upstream-demo" {
			continue
		}
		for _, imported := range p.imports {
			if strings.HasPrefix(imported, module+"internal/test/") || strings.HasPrefix(imported, module+"bench") {
				t.Errorf("%s imports %s", room, imported)
			}
		}
	}
}
