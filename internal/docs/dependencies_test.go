package docs

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// modules are those of go.mod, longest path first, so that the first that is a
// prefix of an import is the module it is in.
func modules(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^\s*(?:require )?([a-z]\S+/\S+) v\S+`).FindAllStringSubmatch(read(t, "go.mod"), -1) {
		all = append(all, m[1])
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}

func TestDependenciesAreThoseThatTheCodeImports(t *testing.T) {
	used := make(map[string]bool)
	mods := modules(t)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(file) != ".go" {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range f.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			for _, m := range mods {
				if name == m || strings.HasPrefix(name, m+"/") {
					used[m] = true
					break
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]bool)
	for _, row := range find(t, "docs/dependencies.md").rows() {
		if m := quoted.FindStringSubmatch(row[0]); m != nil {
			listed[m[1]] = true
			if len(row) != 2 || row[1] == "" {
				t.Errorf("docs/dependencies.md does not say why %s", m[1])
			}
		}
	}
	for m := range used {
		if !listed[m] {
			t.Errorf("docs/dependencies.md lacks %s, which the code imports", m)
		}
	}
	for m := range listed {
		if !used[m] {
			t.Errorf("docs/dependencies.md has %s, which the code does not import", m)
		}
	}
}
