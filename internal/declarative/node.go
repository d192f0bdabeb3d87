package declarative

import (
	"regexp"
	"strconv"

	yaml "go.yaml.in/yaml/v4"
)

// member returns the value of a key of a mapping, nil if there is none. n may be nil.
func member(n *yaml.Node, key string) *yaml.Node {
	if n = follow(n); n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return follow(n.Content[i+1])
		}
	}
	return nil
}

// follow returns the node that an alias stands for, and any other node itself.
func follow(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// resolve gives plain scalars the types that they have to Kong and decK, which read YAML 1.1
// (lyaml/implicit.lua): on, off, yes and no are booleans. To Kong there are no times.
func resolve(n *yaml.Node) {
	for _, child := range n.Content {
		resolve(child)
	}
	if n.Kind != yaml.ScalarNode || n.Style != 0 {
		return
	}
	switch n.Value {
	case "on", "On", "ON", "yes", "Yes", "YES":
		n.Tag, n.Value = "!!bool", "true"
	case "off", "Off", "OFF", "no", "No", "NO":
		n.Tag, n.Value = "!!bool", "false"
	}
	if n.Tag == "!!timestamp" {
		n.Tag = "!!str"
	}
}

// text returns the text of a scalar, "" for any other node.
func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

var step = regexp.MustCompile(`[^.\[\]]+`)

// find returns the node at path, or the last one on the way to it that is there, and its
// line.
func find(n *yaml.Node, path string) (found *yaml.Node, at int) {
	at = n.Line
	for _, name := range step.FindAllString(path, -1) {
		next := member(n, name)
		if i, err := strconv.Atoi(name); err == nil && n.Kind == yaml.SequenceNode && i >= 1 && i <= len(n.Content) {
			next = follow(n.Content[i-1])
		}
		if next == nil {
			break
		}
		n, at = next, keyLine(n, next)
	}
	return n, at
}

// keyLine returns the line of a node's key, or of the node itself where it has none.
func keyLine(of, n *yaml.Node) int {
	for i := 0; of.Kind == yaml.MappingNode && i+1 < len(of.Content); i += 2 {
		if follow(of.Content[i+1]) == n {
			return of.Content[i].Line
		}
	}
	return n.Line
}
