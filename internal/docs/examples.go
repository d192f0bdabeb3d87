package docs

import (
	"fmt"
	"regexp"
	"strings"

	yaml "go.yaml.in/yaml/v4"
)

// ExampleFiles are the documents with examples, from the repository's root.
var ExampleFiles = []string{"docs/examples.md", "docs/schema-registry.md"}

// Document is a document of the repository.
type Document struct {
	Path string // from the repository's root
	Text []byte
}

// exampleLinks returns, by the names of fields with dots, links to the first example that sets
// each.
func exampleLinks(documents []Document) (map[string]string, error) {
	links := make(map[string]string)
	for _, d := range documents {
		section, block, inside := "", "", false
		for line := range strings.Lines(string(d.Text)) {
			heading, isHeading := strings.CutPrefix(line, "## ")
			switch {
			case inside && strings.HasPrefix(line, "```"):
				var config map[string]any
				if err := yaml.Load([]byte(block), &config); err != nil {
					return nil, fmt.Errorf("%s, %s: %w", d.Path, section, err)
				}
				link := fmt.Sprintf("[Example](%s#%s)", strings.TrimPrefix(d.Path, "docs/"), anchor(section))
				for _, name := range fieldsIn("", config) {
					if links[name] == "" {
						links[name] = link
					}
				}
				inside = false
			case inside:
				block += line
			case strings.TrimSpace(line) == "```yaml":
				block, inside = "", true
			case isHeading || strings.HasPrefix(line, "### "):
				section = strings.TrimLeft(heading, "# ")
			}
		}
	}
	return links, nil
}

// fieldsIn returns the names of the fields that a configuration sets, with dots.
func fieldsIn(prefix string, config map[string]any) []string {
	var all []string
	for name, v := range config {
		name = prefix + name
		all = append(all, name)
		switch v := v.(type) {
		case map[string]any:
			all = append(all, fieldsIn(name+".", v)...)
		case []any:
			for _, element := range v {
				if m, ok := element.(map[string]any); ok {
					all = append(all, fieldsIn(name+"[].", m)...)
				}
			}
		}
	}
	return all
}

var notInAnchor = regexp.MustCompile("[^a-z0-9 _-]")

// anchor is how GitHub names a heading in a link.
func anchor(heading string) string {
	s := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
	return strings.ReplaceAll(s, " ", "-")
}
