// Package declarative checks the plugins of this kind in a declarative configuration of Kong,
// as Kong's DB-less mode and decK have it, without Kong.
package declarative

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v4"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/kongschema"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
)

// Problem is something that is wrong with a plugin.
type Problem struct {
	Line   int    // of the file, from 1
	Plugin string // where it is, such as "route orders, plugin 1"
	Field  string // such as config.topic; "" for the whole configuration
	Text   string
}

// String returns the problem in one line, but for the name of the file.
func (p Problem) String() string {
	if p.Field == "" {
		return fmt.Sprintf("%d: %s: %s", p.Line, p.Plugin, p.Text)
	}
	return fmt.Sprintf("%d: %s: %s: %s", p.Line, p.Plugin, p.Field, p.Text)
}

// Result is what was found in a file.
type Result struct {
	Plugins  int       // of this kind
	Problems []Problem // in the file's order; with one, the configuration does not work
	Warnings []Problem // what is valid and probably not meant
}

// Check checks all plugins with that name in a file, YAML or JSON: those of the gateway, and
// of routes, services and consumers, nested or not. compile is given the functions of a
// plugin, and returns what is wrong with each, nil for nothing. The error says why the file cannot be read, and where.
func Check(file []byte, name string, compile func(functions []string) []error) (*Result, error) {
	var root yaml.Node
	if err := yaml.Load(file, &root); err != nil {
		if err = explain(err); placeholder.Match(file) {
			err = fmt.Errorf("%w; with placeholders of decK it may be no YAML: %s", err, render)
		}
		return nil, err
	}
	top := &root
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		top = root.Content[0]
	}
	if member(top, "_format_version") == nil {
		return nil, errors.New("it is not a declarative configuration: it has no _format_version")
	}
	resolve(top)
	c := &checker{name: name, compile: compile, shared: member(top, "_plugin_configs"), result: &Result{}}
	c.entity(top, "", 0)
	return c.result, nil
}

// placeholder begins what decK puts a value in the place of before it reads a file, such as
// ${{ env "DECK_TOPIC" }}. Only the value can be checked.
var placeholder = regexp.MustCompile(`\$\{\{-?\s*env\s`)

const render = "check what \"deck file render --populate-env-vars\" makes of the file"

type checker struct {
	name    string
	compile func([]string) []error
	shared  *yaml.Node // configurations that decK's plugins refer to, by name
	result  *Result
}

// maxDepth is how deep entities may be nested. It ends the walk of an alias to a node around
// it.
const maxDepth = 8

// entity checks the plugins of an entity, and of those nested in it.
func (c *checker) entity(n *yaml.Node, place string, depth int) {
	if depth > maxDepth || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, list := n.Content[i].Value, follow(n.Content[i+1])
		if list.Kind != yaml.SequenceNode || strings.HasPrefix(key, "_") {
			continue
		}
		kind := strings.TrimSuffix(key, "s")
		for j, e := range list.Content {
			e = follow(e)
			at := place + kind + " " + label(e, "name", "username", "custom_id", strconv.Itoa(j+1))
			switch {
			case key != "plugins":
				c.entity(e, at+", ", depth+1)
			case text(member(e, "name")) == c.name:
				c.plugin(e, place+"plugin "+label(e, "instance_name", strconv.Itoa(j+1)))
			}
		}
	}
}

// label returns the first of the members that an entity has, or else the last argument.
func label(n *yaml.Node, members ...string) string {
	last := len(members) - 1
	for _, name := range members[:last] {
		if s := text(member(n, name)); s != "" {
			return oneLine(s)
		}
	}
	return members[last]
}

// plugin checks a plugin.
func (c *checker) plugin(n *yaml.Node, place string) {
	c.result.Plugins++
	found := func(field, problem string) {
		value, at := find(n, cmp.Or(field, "config"))
		if placeholder.MatchString(text(value)) {
			problem = "a placeholder of decK cannot be checked: " + render
		}
		c.result.Problems = append(c.result.Problems, Problem{at, place, field, oneLine(problem)})
	}
	settings, err := c.settings(n)
	if err != nil {
		found("config", err.Error())
		return
	}
	p := kongschema.Problems{}
	config.Schema().Validate("config", config.Schema().Fill(settings), p)
	for _, path := range slices.Sorted(maps.Keys(p)) {
		found(strings.TrimSuffix(path, ".@entity"), p[path])
	}
	if len(p) == 0 {
		c.use(settings, n, place, found)
	}
	if functions := texts(settings["message_by_lua_functions"]); len(functions) > 0 {
		for i, err := range c.compile(functions) {
			if err != nil {
				found(fmt.Sprintf("config.message_by_lua_functions[%d]", i+1), err.Error())
			}
		}
	}
}

// use checks what the schema cannot say of the settings.
func (c *checker) use(settings map[string]any, n *yaml.Node, place string, found func(field, text string)) {
	b, err := json.Marshal(settings)
	if err != nil {
		panic(err) // it came from JSON
	}
	cfg, err := config.Parse(b)
	if err != nil {
		found("", err.Error())
		return
	}
	problems := cfg.Problems()
	for _, problem := range problems {
		found("", problem)
	}
	if len(problems) == 0 {
		o := cfg.Record()
		if _, err := record.NewBuilder(o, jsonmsg.NewEncoder(o.Forward, o.ExcludeHeaders)); err != nil {
			found("", err.Error())
		}
	}
	_, at := find(n, "config")
	for _, w := range cfg.Warnings() {
		c.result.Warnings = append(c.result.Warnings, Problem{at, place, "", w})
	}
}

// settings returns the configuration of a plugin, with the types of JSON. What it takes over
// from one that it refers to by _config, it may override.
func (c *checker) settings(n *yaml.Node) (map[string]any, error) {
	all := make(map[string]any)
	if name := text(member(n, "_config")); name != "" {
		shared := member(c.shared, name)
		if shared == nil {
			return nil, fmt.Errorf("_plugin_configs has no %s, which _config names", oneLine(name))
		}
		if err := decode(shared, all); err != nil {
			return nil, err
		}
	}
	return all, decode(member(n, "config"), all)
}

// decode adds the members of a mapping to all.
func decode(n *yaml.Node, all map[string]any) error {
	if n == nil {
		return nil
	}
	var v any
	if err := n.Load(&v); err != nil {
		return explain(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return errors.New("it has a value that JSON does not have")
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return errors.New("expected a record")
	}
	return nil
}

// explain returns an error of reading YAML in a line, with the place in the file.
func explain(err error) error {
	if all, ok := errors.AsType[*yaml.LoadErrors](err); ok && len(all.Errors) > 0 {
		err = all.Errors[0]
	}
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return errors.New(oneLine(err.Error()))
	}
	why := strings.TrimPrefix(oneLine(e.Message), "yaml: ")
	if e.Mark.Line > 0 {
		return fmt.Errorf("line %d: %s", e.Mark.Line, why)
	}
	return errors.New(why)
}

// texts returns v as a list of texts, nil if it is none.
func texts(v any) []string {
	list, _ := v.([]any)
	all := make([]string, 0, len(list))
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			return nil // which the schema has refused
		}
		all = append(all, s)
	}
	return all
}

// oneLine returns s with blanks in the place of line breaks.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
