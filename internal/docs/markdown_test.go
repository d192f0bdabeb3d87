package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository's, from here.
const root = "../.."

// document is one of the repository's documents.
type document struct {
	name   string // from the root
	text   string
	fences []fence
	prose  string // text without its fences
	heads  map[string]bool
}

// fence is a block of code.
type fence struct {
	lang, text string
	section    string // the anchor of the heading above it
}

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// documents are those at the root, and all of docs and docs/decisions.
func documents(t testing.TB) []*document {
	t.Helper()
	names := []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
	for _, dir := range []string{"docs", "docs/decisions"} {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.md"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no documents in %s: %v", dir, err)
		}
		for _, f := range files {
			names = append(names, dir+"/"+filepath.Base(f))
		}
	}
	var all []*document
	for _, name := range names {
		all = append(all, parse(name, read(t, name)))
	}
	return all
}

func find(t testing.TB, name string) *document {
	t.Helper()
	return parse(name, read(t, name))
}

func parse(name, text string) *document {
	d := &document{name: name, text: text, heads: make(map[string]bool)}
	var prose, code strings.Builder
	var section, lang, indent string
	inside := false
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```") && !inside:
			inside, lang = true, strings.TrimPrefix(trimmed, "```")
			indent = line[:strings.Index(line, "`")]
			code.Reset()
		case trimmed == "```":
			inside = false
			d.fences = append(d.fences, fence{lang, code.String(), section})
		case inside:
			code.WriteString(strings.TrimPrefix(line, indent))
		default:
			if strings.HasPrefix(line, "#") {
				section = anchor(strings.TrimLeft(line, "# "))
				d.heads[section] = true
			}
			prose.WriteString(line)
		}
	}
	d.prose = prose.String()
	return d
}

// rows are the cells of the tables in the document's prose.
func (d *document) rows() [][]string {
	var all [][]string
	for line := range strings.Lines(d.prose) {
		line = strings.TrimSpace(line)
		if len(line) < 2 || line[0] != '|' || line[len(line)-1] != '|' {
			continue
		}
		var cells []string
		line = strings.ReplaceAll(line, `\|`, "\x00")
		for cell := range strings.SplitSeq(line[1:len(line)-1], "|") {
			cell = strings.ReplaceAll(cell, "\x00", "|")
			cells = append(cells, strings.TrimSpace(cell))
		}
		all = append(all, cells)
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, d := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(d.prose, -1) {
			to := m[1]
			if strings.HasPrefix(to, "https://") || strings.HasPrefix(to, "http://") {
				continue
			}
			file, head, _ := strings.Cut(to, "#")
			target := d
			if file != "" {
				name := filepath.Join(filepath.Dir(d.name), file)
				info, err := os.Stat(filepath.Join(root, name))
				if err != nil {
					t.Errorf("%s links to %s, which is not there", d.name, to)
					continue
				}
				if info.IsDir() || filepath.Ext(name) != ".md" {
					continue
				}
				target = find(t, name)
			}
			if head != "" && !target.heads[head] {
				t.Errorf("%s links to %s, and %s has no such heading", d.name, to, target.name)
			}
		}
	}
}

// The index has each document, but for the decisions, which have one of their own.
func TestIndexListsEachDocument(t *testing.T) {
	text := read(t, "docs/README.md")
	for _, d := range documents(t) {
		if name, ok := strings.CutPrefix(d.name, "docs/"); ok && !strings.Contains(name, "/") && name != "README.md" && !strings.Contains(text, "]("+name+") |") {
			t.Errorf("docs/README.md does not list %s", name)
		}
	}
}

var makeTarget = regexp.MustCompile("(?m)(?:^|`)make ([a-z][a-z-]*)")

func TestTargetsOfMakeExist(t *testing.T) {
	makefile := read(t, "Makefile")
	seen := 0
	for _, d := range documents(t) {
		for _, m := range makeTarget.FindAllStringSubmatch(d.text, -1) {
			seen++
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(makefile) {
				t.Errorf("%s names make %s, which the Makefile does not have", d.name, m[1])
			}
		}
	}
	if seen < 5 {
		t.Errorf("only %d targets were found in the documents", seen)
	}
}

var pathName = regexp.MustCompile("`((?:cmd|compose|docs|examples|internal|packaging|schema|scripts|testdata)/[A-Za-z0-9_./-]*[A-Za-z0-9_])`")

func TestPathsExist(t *testing.T) {
	for _, d := range documents(t) {
		for _, m := range pathName.FindAllStringSubmatch(d.prose, -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s names %s, which is not there", d.name, m[1])
			}
		}
	}
}

func TestDocumentsAreUTF8WithoutTrailingSpace(t *testing.T) {
	for _, d := range documents(t) {
		for i, line := range strings.Split(d.text, "\n") {
			if strings.TrimRight(line, " \t\r") != line {
				t.Errorf("%s:%d ends with white space", d.name, i+1)
			}
		}
		if strings.ToValidUTF8(d.text, "") != d.text {
			t.Errorf("%s is not UTF-8", d.name)
		}
	}
}

// Tests that documents name are there.
func TestTestsThatAreNamedExist(t *testing.T) {
	tests := make(map[string]bool)
	for _, dir := range []string{"internal", "cmd", "bench"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			for _, m := range testFunction.FindAllSubmatch(b, -1) {
				tests[string(m[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range documents(t) {
		for _, m := range testName.FindAllStringSubmatch(d.prose, -1) {
			if !tests[m[1]] {
				t.Errorf("%s names %s, and there is no such test", d.name, m[1])
			}
		}
	}
}

var (
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
	testName     = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)`")
)
