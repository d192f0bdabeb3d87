package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"kafka-upstream/internal/producer"
	"kafka-upstream/schema"
)

func itoa(n int) string { return strconv.Itoa(n) }

// source is an answer as internal/plugin makes it. cause is "" where the
// program finds it out as it runs.
type source struct{ status, message, cause string }

// sources reads the calls of answer in internal/plugin/answers.go.
func sources(t *testing.T) []source {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "internal/plugin/answers.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string) // constants and errors, by name
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != len(spec.Names) {
			return true
		}
		for i, name := range spec.Names {
			v := spec.Values[i]
			if call, ok := v.(*ast.CallExpr); ok && len(call.Args) == 1 { // errors.New
				v = call.Args[0]
			}
			if lit, ok := v.(*ast.BasicLit); ok {
				texts[name.Name], _ = strconv.Unquote(lit.Value)
			}
		}
		return true
	})
	var all []source
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 3 {
			return true
		}
		if name, ok := call.Fun.(*ast.Ident); !ok || name.Name != "answer" {
			return true
		}
		s := source{status: call.Args[0].(*ast.BasicLit).Value}
		s.message, _ = strconv.Unquote(call.Args[1].(*ast.BasicLit).Value)
		switch a := call.Args[2].(type) {
		case *ast.BasicLit:
			s.cause, _ = strconv.Unquote(a.Value)
		case *ast.Ident:
			s.cause = texts[a.Name]
		case *ast.CallExpr: // errX.Error()
			if sel, ok := a.Fun.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok {
					s.cause = texts[x.Name]
				}
			}
		}
		all = append(all, s)
		return true
	})
	if len(all) < 8 {
		t.Fatalf("only %d answers were found", len(all))
	}
	return all
}

func (s source) is(status, body string) bool {
	return s.status == status && strings.Contains(body, `"message":"`+s.message+`"`) &&
		(s.cause == "" || strings.Contains(body, `"error":"`+s.cause+`"`))
}

func TestEveryAnswerIsInTheTableAndTheOtherWayRound(t *testing.T) {
	type row struct{ status, body string }
	var rows []row
	for _, cells := range find(t, "docs/answers.md").rows() {
		if len(cells) == 4 && regexp.MustCompile(`^\d+$`).MatchString(cells[1]) {
			rows = append(rows, row{cells[1], cells[2]})
		}
	}
	all := sources(t)
	for _, s := range all {
		found := false
		for _, r := range rows {
			found = found || s.is(r.status, r.body)
		}
		if !found {
			t.Errorf("docs/answers.md lacks %+v", s)
		}
	}
	for _, r := range rows {
		found := false
		for _, s := range all {
			found = found || s.is(r.status, r.body)
		}
		if !found {
			t.Errorf("the program does not answer %s %s", r.status, r.body)
		}
	}
}

func TestReasonsOf400AreThoseOfThePackage(t *testing.T) {
	reasons := regexp.MustCompile(`BadRequest\{"([^"]+)"\}`).FindAllStringSubmatch(read(t, "internal/record/jsonmsg/message.go"), -1)
	var listed []string
	for _, cells := range find(t, "docs/answers.md").rows() {
		if len(cells) == 2 && strings.HasPrefix(cells[0], "`") {
			listed = append(listed, strings.Trim(cells[0], "`"))
		}
	}
	if len(reasons) != len(listed) || len(reasons) == 0 {
		t.Errorf("the package has %d reasons, docs/answers.md %d", len(reasons), len(listed))
	}
	text := strings.Join(listed, "\n") + "\n"
	for _, m := range reasons {
		if !strings.Contains(text, m[1]+"\n") {
			t.Errorf("docs/answers.md lacks %q", m[1])
		}
	}
}

func TestNumbersInTheDocumentsAreTheProgram(t *testing.T) {
	limit, _ := strconv.Atoi(value(leaves("", schema.Config())["producer_request_limits_bytes_per_request"].Default))
	for name, want := range map[string]string{
		"docs/answers.md":       "would be larger than " + itoa(limit-producer.Overhead) + " bytes",
		"docs/message.md":       "less " + itoa(producer.Overhead) + " bytes",
		"docs/configuration.md": "bytes less " + itoa(producer.Overhead),
	} {
		if !strings.Contains(read(t, name), want) {
			t.Errorf("%s does not say %q", name, want)
		}
	}
}
