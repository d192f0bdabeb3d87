package main

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// page is a document.
type page struct {
	source string // from the repository's root
	target string // from the site's root
	title  string
	text   []byte
	tree   ast.Node
	heads  map[string]bool // the anchors of its headings
}

var markdown = goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough))

// target is the page of a document.
func target(source string) string {
	name := strings.TrimSuffix(strings.TrimPrefix(source, "docs/"), ".md")
	switch {
	case source == "README.md":
		return "overview.html"
	case source == index:
		return "index.html"
	case path.Base(name) == "README":
		return path.Dir(name) + "/index.html"
	case !strings.Contains(source, "/"): // SECURITY.md beside docs/security.md
		return "about-" + strings.ToLower(name) + ".html"
	}
	return strings.ToLower(name) + ".html"
}

func (s *site) parse(source string, b []byte) (*page, error) {
	p := &page{source: source, target: target(source), text: b, heads: make(map[string]bool)}
	p.tree = markdown.Parser().Parse(text.NewReader(b), parser.WithContext(parser.NewContext()))
	err := ast.Walk(p.tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		h, ok := n.(*ast.Heading)
		if !ok || !entering {
			return ast.WalkContinue, nil
		}
		words := plain(h, b)
		if p.title == "" {
			p.title = words
		}
		id := anchor(words)
		for i := 1; p.heads[id]; i++ {
			id = anchor(words) + "-" + strconv.Itoa(i)
		}
		p.heads[id] = true
		h.SetAttributeString("id", []byte(id))
		return ast.WalkSkipChildren, nil
	})
	if err == nil && p.title == "" {
		err = fmt.Errorf("%s has no heading", source)
	}
	return p, err
}

// plain is the text of a node, without its marks.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

var notInAnchor = regexp.MustCompile("[^a-z0-9 _-]")

// anchor is how GitHub names a heading in a link.
func anchor(heading string) string {
	s := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
	return strings.ReplaceAll(s, " ", "-")
}

var (
	emptyHead = regexp.MustCompile(`<table>\s*<thead>\s*<tr>\s*(?:<th[^>]*></th>\s*)+</tr>\s*</thead>\s*`)
	flag      = regexp.MustCompile(`<code>(-[^ <]+)</code>`) // a browser may break it after the hyphen
	cell      = regexp.MustCompile(`<td[^>]*>.*?</td>`)
	inCode    = regexp.MustCompile(`<code>[^<]*</code>`)
	omitted   = "<!-- raw HTML omitted -->\n"
)

// render makes HTML of a page. Its links lead to pages of the site, and to copies of other files.
func (s *site) render(p *page) (string, error) {
	err := ast.Walk(p.tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		l, ok := n.(*ast.Link)
		if !ok || !entering || outside(string(l.Destination)) {
			return ast.WalkContinue, nil
		}
		to, head, _ := strings.Cut(string(l.Destination), "#")
		if to == "" {
			to = p.source
		} else {
			to = path.Join(path.Dir(p.source), to)
		}
		if head != "" {
			to += "#" + head
		}
		href, err := s.href(p, to)
		l.Destination = []byte(href)
		return ast.WalkContinue, err
	})
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := markdown.Renderer().Render(&b, p.text, p.tree); err != nil {
		return "", err
	}
	html := emptyHead.ReplaceAllString(b.String(), `<table class="list">`)
	html = flag.ReplaceAllString(html, `<code class="flag">$1</code>`)
	html = cell.ReplaceAllStringFunc(html, func(td string) string { return inCode.ReplaceAllStringFunc(td, breakable) })
	return strings.NewReplacer(omitted, "", "<table", `<div class="scroll"><table`, "</table>", "</table></div>").Replace(html), nil
}

// breakable lets a long name in a table break where it has parts, and nowhere else.
func breakable(code string) string {
	return strings.NewReplacer("</code>", "</code>", "_", "_<wbr>", ".", ".<wbr>", "/", "/<wbr>").Replace(code)
}

func outside(to string) bool {
	return strings.HasPrefix(to, "https://") || strings.HasPrefix(to, "http://")
}

// href is the link from a page to what the repository has at a path, maybe with #heading.
func (s *site) href(from *page, to string) (string, error) {
	file, head, _ := strings.Cut(to, "#")
	at := ""
	if p := s.pages[file]; p != nil {
		if head != "" && !p.heads[head] {
			return "", fmt.Errorf("a link to %s, which has no heading %s", file, head)
		}
		at = p.target
	} else {
		info, err := os.Stat(filepath.Join(s.root, file))
		switch {
		case err != nil:
			return "", fmt.Errorf("a link to %s: %w", file, err)
		case !info.Mode().IsRegular():
			return "", fmt.Errorf("a link to %s, which is no file: link to files", file)
		}
		s.files[file] = true
		at = "files/" + file
	}
	relative, err := filepath.Rel(path.Dir(from.target), at)
	if err != nil {
		return "", err
	}
	if relative = filepath.ToSlash(relative); head != "" {
		relative += "#" + head
	}
	return relative, nil
}
