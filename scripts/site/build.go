package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

//go:embed style.css
var style []byte

//go:embed page.html
var pageHTML string

var layout = template.Must(template.New("page").Parse(pageHTML))

const (
	index = "docs/README.md" // the first page, and the navigation
	mark  = ".made-by-site"  // is in a directory that may be removed
)

// section is a part of the navigation.
type section struct {
	Title string
	Links []link
}

type link struct {
	Title string
	To    string // a document, such as docs/metrics.md, maybe with #heading
}

// build writes the site of the repository at root, and returns how many pages it has.
func build(root, output string) (int, error) {
	s := &site{root: root, output: output, pages: make(map[string]*page), files: make(map[string]bool)}
	if err := s.read(); err != nil {
		return 0, err
	}
	if err := s.clear(); err != nil {
		return 0, err
	}
	for _, p := range s.pages {
		if err := s.write(p); err != nil {
			return 0, fmt.Errorf("%s: %w", p.source, err)
		}
	}
	for file := range s.files {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err == nil {
			err = s.put("files/"+file, b)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(s.pages), s.put("style.css", style)
}

// site is what is read and written.
type site struct {
	root, output string
	pages        map[string]*page // by source
	files        map[string]bool  // other files that documents link to
	nav          []section
	order        []string // documents, as the navigation has them
}

// read reads all documents and the navigation.
func (s *site) read() error {
	var names []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md"} {
		found, err := filepath.Glob(filepath.Join(s.root, pattern))
		if err != nil {
			return err
		}
		for _, f := range found {
			names = append(names, path.Join(path.Dir(pattern), filepath.Base(f)))
		}
	}
	targets := make(map[string]string)
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(s.root, name))
		if err != nil {
			return err
		}
		if s.pages[name], err = s.parse(name, b); err != nil {
			return err
		}
		at := s.pages[name].target
		if other := targets[at]; other != "" {
			return fmt.Errorf("%s and %s are both %s", other, name, at)
		}
		targets[at] = name
	}
	if s.pages[index] == nil {
		return errors.New("there is no " + index)
	}
	s.navigate(s.pages[index].text)
	return nil
}

var indexLink = regexp.MustCompile(`^\| \[([^\]]+)\]\(([^)]+)\)`)

// navigate takes the navigation from the headings and tables of the first page.
func (s *site) navigate(text []byte) {
	seen := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			s.nav = append(s.nav, section{Title: strings.TrimSpace(title)})
		}
		m := indexLink.FindStringSubmatch(line)
		if m == nil || len(s.nav) == 0 {
			continue
		}
		to := path.Join(path.Dir(index), m[2])
		last := &s.nav[len(s.nav)-1]
		last.Links = append(last.Links, link{m[1], to})
		if doc, _, _ := strings.Cut(to, "#"); !seen[doc] {
			seen[doc] = true
			s.order = append(s.order, doc)
		}
	}
}

// clear makes the output an empty directory. It removes only what it has made itself.
func (s *site) clear() error {
	_, err := os.Stat(filepath.Join(s.output, mark))
	switch entries, _ := os.ReadDir(s.output); {
	case err == nil:
		err = os.RemoveAll(s.output)
	case !errors.Is(err, fs.ErrNotExist):
	case len(entries) > 0:
		err = fmt.Errorf("%s has files that are not of a site: remove it, or name another directory", s.output)
	default:
		err = nil
	}
	if err != nil {
		return err
	}
	return s.put(mark, nil)
}

func (s *site) put(name string, b []byte) error {
	to := filepath.Join(s.output, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

// write writes a page.
func (s *site) write(p *page) error {
	body, err := s.render(p)
	if err != nil {
		return err
	}
	type entry struct {
		Title, Href string
		Here        bool
	}
	type part struct {
		Title string
		Links []entry
	}
	data := struct {
		Title, Up  string
		Body       template.HTML
		Nav        []part
		Prev, Next *entry
	}{Title: p.title, Up: strings.Repeat("../", strings.Count(p.target, "/")), Body: template.HTML(body)}
	for _, sec := range s.nav {
		n := part{Title: sec.Title}
		for _, l := range sec.Links {
			href, err := s.href(p, l.To)
			if err != nil {
				return err
			}
			n.Links = append(n.Links, entry{l.Title, href, l.To == p.source})
		}
		data.Nav = append(data.Nav, n)
	}
	for i, doc := range s.order {
		if doc != p.source {
			continue
		}
		for _, at := range []struct {
			i  int
			to **entry
		}{{i - 1, &data.Prev}, {i + 1, &data.Next}} {
			if at.i < 0 || at.i >= len(s.order) {
				continue
			}
			href, err := s.href(p, s.order[at.i])
			if err != nil {
				return err
			}
			*at.to = &entry{Title: s.pages[s.order[at.i]].title, Href: href}
		}
	}
	var b bytes.Buffer
	if err := layout.Execute(&b, data); err != nil {
		return err
	}
	return s.put(p.target, b.Bytes())
}
