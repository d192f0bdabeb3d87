package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logged are the texts that the program's code logs at warn and error, by level.
func logged(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, dir := range []string{"internal", "cmd/kafka-upstream"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if name := d.Name(); path != filepath.Join(root, dir) && slices.Contains([]string{"test", "docs", "sandbox"}, name) {
				return filepath.SkipDir // rigs; and Lua, whose errors are no log lines
			}
			loggedIn(t, path, all)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// loggedIn adds the texts of a directory.
func loggedIn(t *testing.T, dir string, all map[string]string) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	set := token.NewFileSet()
	consts := make(texts)
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Names) == len(v.Values) {
				for i, name := range v.Names {
					consts[name.Name] = consts.of(v.Values[i])
				}
			}
			return true
		})
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			at := set.Position(call.Pos())
			switch method.Sel.Name {
			case "Warn", "Error":
				if x, ok := method.X.(*ast.Ident); len(call.Args) == 0 || ok && x.Name == "kafka" {
					return true // err.Error(), kafka.Error(code)
				}
				lines := consts.of(call.Args[0])
				if len(lines) == 0 {
					t.Errorf("%s: what is logged is no constant text", at)
				}
				for _, text := range lines {
					all[text] = strings.ToLower(method.Sel.Name)
				}
			case "Log", "LogAttrs":
				if x, ok := method.X.(*ast.Ident); ok && x.Name == "log" && len(call.Args) > 2 {
					t.Errorf("%s: call Warn or Error, which this test knows", at)
				}
			case "NewLogLogger":
				all["http:"] = "warn"
			}
			return true
		})
	}
}

// texts are the values of the package's constants and tables of text, by name.
type texts map[string][]string

// of returns the texts that an expression may be: of a sum and of a format the constant part, of
// a table all of its values.
func (known texts) of(e ast.Expr) []string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return []string{strings.TrimPrefix(strings.TrimSpace(s), "%d ")}
		}
	case *ast.Ident:
		return known[e.Name]
	case *ast.IndexExpr:
		return known.of(e.X)
	case *ast.CompositeLit:
		var all []string
		for _, v := range e.Elts {
			if pair, ok := v.(*ast.KeyValueExpr); ok {
				v = pair.Value
			}
			all = append(all, known.of(v)...)
		}
		return all
	case *ast.CallExpr:
		if f, ok := e.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Sprintf" {
			return known.of(e.Args[0])
		}
	case *ast.BinaryExpr:
		return append(known.of(e.X), known.of(e.Y)...)
	}
	return nil
}

var luaLine = regexp.MustCompile(`(?m)^.*(?:ngx\.(ERR|WARN)|unavailable\(").*$`)

// loggedByHandler are the texts that the companion handler logs at warn and err.
func loggedByHandler(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, m := range luaLine.FindAllStringSubmatch(read(t, "internal/companion/lua/handler.lua"), -1) {
		for _, literal := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(m[0], -1) {
			text := strings.Trim(strings.TrimPrefix(literal[1], "[kafka-upstream] "), "): ")
			if strings.Contains(text, " ") {
				all[text] = "err"
				if m[1] == "WARN" {
					all[text] = "warn"
				}
				break
			}
		}
	}
	return all
}

func TestRunbookHasEachLineOfTheLog(t *testing.T) {
	code, handler := logged(t), loggedByHandler(t)
	if len(code) < 45 || len(handler) < 9 {
		t.Fatalf("only %d lines of the program and %d of the handler were found", len(code), len(handler))
	}
	rows := make(map[string]string)
	for _, cells := range find(t, "docs/runbook.md").rows() {
		if len(cells) == 4 && strings.HasPrefix(cells[0], "`") {
			text := strings.Trim(cells[0], "`")
			if rows[text] != "" {
				t.Errorf("docs/runbook.md has %q twice", text)
			}
			rows[text] = cells[1]
			if cells[2] == "" || cells[3] == "" {
				t.Errorf("docs/runbook.md does not say what %q means and what to do", text)
			}
		}
	}
	all := maps.Clone(code)
	maps.Copy(all, handler)
	for text, level := range all {
		switch rows[text] {
		case level:
		case "":
			t.Errorf("docs/runbook.md lacks the line %q, level %s", text, level)
		default:
			t.Errorf("docs/runbook.md has the line %q with level %s, not %s", text, rows[text], level)
		}
	}
	for text := range rows {
		if all[text] == "" {
			t.Errorf("docs/runbook.md has the line %q, which nothing logs", text)
		}
	}
}

// The sizing table is arithmetic: rate times outage, and what docs/operate.md says of memory.
func TestSizingTableAddsUp(t *testing.T) {
	rows := 0
	for _, cells := range find(t, "docs/operate.md").rows() {
		if len(cells) != 6 || cells[0] == "records/s" || cells[0] == "---" {
			continue
		}
		rows++
		var n [6]int
		for i, cell := range cells {
			var err error
			if n[i], err = strconv.Atoi(strings.TrimSuffix(cell, " s")); err != nil {
				t.Fatalf("%q is no number", cell)
			}
		}
		records := n[0] * n[2]
		mib := func(bytes int) int { return (bytes + 1<<19) >> 20 }
		if n[3] != records || n[4] != mib(records*n[1]) || n[5] != mib(records*(n[1]+512))+25 {
			t.Errorf("%v: %d records, %d MiB, %d MiB of memory", cells, records, mib(records*n[1]), mib(records*(n[1]+512))+25)
		}
	}
	if rows < 5 {
		t.Errorf("only %d rows", rows)
	}
}

func TestEachAlertHasAFirstStep(t *testing.T) {
	text := read(t, "docs/operate.md")
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(read(t, "docs/alerts.yml"), -1)
	if len(alerts) < 10 {
		t.Errorf("only %d alerts", len(alerts))
	}
	for _, a := range alerts {
		if !strings.Contains(text, "| `"+a[1]+"` |") {
			t.Errorf("docs/operate.md does not say what to do at %s", a[1])
		}
	}
}
