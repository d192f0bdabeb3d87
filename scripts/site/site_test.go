package main

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// made is the site of this repository, by file.
func made(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if _, err := build("../..", dir); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		name, _ = filepath.Rel(dir, name)
		all[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	hrefs = regexp.MustCompile(`(?:href|src)="([^"]*)"`)
	ids   = regexp.MustCompile(`id="([^"]*)"`)
)

func TestLinksOfTheSiteLeadSomewhere(t *testing.T) {
	site := made(t)
	pages, links := 0, 0
	for name, text := range site {
		if path.Ext(name) != ".html" {
			continue
		}
		pages++
		for _, m := range hrefs.FindAllStringSubmatch(text, -1) {
			if outside(m[1]) {
				continue
			}
			links++
			file, head, _ := strings.Cut(m[1], "#")
			to := name
			if file != "" {
				to = path.Join(path.Dir(name), file)
			}
			target, ok := site[to]
			if !ok {
				t.Errorf("%s links to %s, which is not there", name, m[1])
				continue
			}
			if head == "" {
				continue
			}
			there := false
			for _, id := range ids.FindAllStringSubmatch(target, -1) {
				there = there || id[1] == head
			}
			if !there {
				t.Errorf("%s links to %s, and %s has no such place", name, m[1], to)
			}
		}
	}
	if pages < 40 || links < 1000 {
		t.Errorf("only %d pages and %d links", pages, links)
	}
}

func TestPagesAreWholeAndNeedNothingElse(t *testing.T) {
	for name, text := range made(t) {
		if path.Ext(name) != ".html" {
			continue
		}
		for _, tag := range []string{"<script", "<iframe", " style=", "javascript:", "raw HTML omitted", `src="http`, `rel="stylesheet" href="http`} {
			if strings.Contains(text, tag) {
				t.Errorf("%s has %s", name, tag)
			}
		}
		if strings.Count(text, "<h1") != 1 {
			t.Errorf("%s has %d headings of the first level", name, strings.Count(text, "<h1"))
		}
		seen := make(map[string]bool)
		for _, id := range ids.FindAllStringSubmatch(text, -1) {
			if seen[id[1]] {
				t.Errorf("%s has the id %s twice", name, id[1])
			}
			seen[id[1]] = true
		}
		for _, tag := range []string{"main", "nav", "table", "pre", "div", "ul", "p"} {
			opened := len(regexp.MustCompile("<"+tag+`[ >]`).FindAllString(text, -1))
			if closed := strings.Count(text, "</"+tag+">"); opened != closed {
				t.Errorf("%s opens %d of %s and closes %d", name, opened, tag, closed)
			}
		}
	}
}

// Each document is in the navigation, but for the decisions, which have an index of their own.
func TestNavigationHasEachDocument(t *testing.T) {
	site := made(t)
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	_, nav, _ := strings.Cut(site["index.html"], "<nav")
	for _, doc := range docs {
		if base := filepath.Base(doc); base != "README.md" && !strings.Contains(nav, `href="`+target("docs/"+base)+`"`) {
			t.Errorf("docs/README.md does not list %s", base)
		}
	}
	if !strings.Contains(site["metrics.html"], `aria-current="page">Metrics<`) {
		t.Error("the navigation does not show which page this is")
	}
}

func TestDirectoryOfOthersIsNotRemoved(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(file, []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := build("../..", dir); err == nil {
		t.Error("the site was written among other files")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestHeadingsHaveTheAnchorsOfGitHub(t *testing.T) {
	for heading, want := range map[string]string{
		"`GET /` of the Admin API answers 500": "get--of-the-admin-api-answers-500",
		"What to do when …":                    "what-to-do-when-",
		"Kong 3.4 and 2.8":                     "kong-34-and-28",
	} {
		if got := anchor(strings.ReplaceAll(heading, "`", "")); got != want {
			t.Errorf("%q: %q, want %q", heading, got, want)
		}
	}
}
