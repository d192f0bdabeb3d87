package schemafmt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// jsonNode is a JSON Schema, or a part of one, as the walk needs it. All keywords of a node
// have to hold.
type jsonNode struct {
	never      bool // false: nothing is valid
	types      jsonTypes
	typeNames  string
	constant   *jsonConst
	enum       []jsonConst
	enumTexts  map[string]bool // those of the enum that are strings
	format     *jsonschema.Format
	ref        *jsonNode
	all        []*jsonNode
	any        []*jsonNode
	one        []*jsonNode
	not        *jsonNode
	condition  *jsonNode
	yes, no    *jsonNode // then and else, of condition
	numbers    *numberRules
	texts      *textRules
	arrays     *arrayRules
	objects    *objectRules
	unevaluate bool // does it have unevaluatedItems or unevaluatedProperties?
}

type numberRules struct {
	min, max, above, below, multipleOf *bound
}

// bound is a number of the schema.
type bound struct {
	rat   *big.Rat
	small bool  // is it the integer i?
	i     int64 // at most 18 digits
}

type textRules struct {
	min, max int         // characters; max -1: any number
	pattern  *jsonRegexp // nil: any text
}

type arrayRules struct {
	min, max     int // -1: any number
	unique       bool
	prefix       []*jsonNode
	items        *jsonNode // all after prefix
	contains     *jsonNode
	least, most  int  // that contains has to hold for; most -1: any number
	containsTold bool // are those evaluated, for unevaluatedItems?
	unevaluated  *jsonNode
}

type objectRules struct {
	min, max    int // -1: any number
	properties  map[string]*jsonProperty
	required    []string
	patterns    []jsonPattern
	additional  *jsonNode
	names       *jsonNode
	dependent   []jsonDependency
	unevaluated *jsonNode
}

// jsonProperty is a name that the schema has.
type jsonProperty struct {
	name     string
	node     *jsonNode // nil: the name is only among those required
	required int       // its place among these, or -1
}

type jsonPattern struct {
	pattern *jsonRegexp
	node    *jsonNode
}

// jsonRegexp is a regular expression.
type jsonRegexp struct {
	*regexp.Regexp
	states int // how many of its states a character may be tried for
}

// jsonDependency is what has to hold if a name is there.
type jsonDependency struct {
	name     string
	required []string
	node     *jsonNode
}

type jsonTypes uint8

const (
	typeNull jsonTypes = 1 << iota
	typeBoolean
	typeNumber
	typeInteger
	typeString
	typeArray
	typeObject
)

var jsonTypeNames = map[string]jsonTypes{
	"null": typeNull, "boolean": typeBoolean, "number": typeNumber, "integer": typeInteger,
	"string": typeString, "array": typeArray, "object": typeObject,
}

// base is where the schema is, for references in it that are relative.
const base = "registry:///"

// jsonLoader has the references by their URLs. A schema can refer to nothing else: to no
// files, and to nothing in a network.
type jsonLoader map[string]any

func (l jsonLoader) Load(url string) (any, error) {
	if doc, ok := l[url]; ok {
		return doc, nil
	}
	return nil, errors.New("it is not among the schema's references")
}

func (o *Options) compileJSONSchema(text string, refs []Reference) (Encoder, error) {
	c := &jsonCompiler{o: o, nodes: make(map[*jsonschema.Schema]*jsonNode)}
	doc, err := c.parse(text, "the JSON Schema")
	if err != nil {
		return nil, err
	}
	bases := []*url.URL{{Scheme: "registry", Path: "/"}}
	if m, ok := doc.(map[string]any); ok {
		for _, name := range []string{"$id", "id"} {
			id, _ := m[name].(string)
			if u, err := url.Parse(id); err == nil && u.IsAbs() {
				bases = append(bases, u)
			}
		}
	}
	l := make(jsonLoader)
	for _, r := range refs {
		d, err := c.parse(r.Text, "the JSON Schema "+quote(r.Name)+", to which the schema refers,")
		if err != nil {
			return nil, err
		}
		name, err := url.Parse(r.Name)
		if err != nil {
			return nil, fmt.Errorf("the name of the schema's reference %s is not a URI", quote(r.Name))
		}
		for _, b := range bases {
			l[b.ResolveReference(name).String()] = d
		}
	}
	lib := jsonschema.NewCompiler()
	lib.DefaultDraft(jsonschema.Draft7)
	lib.UseLoader(l)
	lib.UseRegexpEngine(func(s string) (jsonschema.Regexp, error) { return compilePattern(s) })
	const main = base + "schema"
	if err := lib.AddResource(main, doc); err != nil {
		return nil, schemaError("the JSON Schema", err)
	}
	s, err := lib.Compile(main)
	if err != nil {
		return nil, schemaError("the JSON Schema", err)
	}
	root := c.node(s)
	if c.err != nil {
		return nil, c.err
	}
	return &jsonEncoder{root: root, o: *o}, nil
}

// maxSchemaObjects is how many objects a schema has, with its references: the library takes a
// second for as many schemas, and the time grows with their square.
const maxSchemaObjects = 10000

// jsonCompiler makes nodes of the library's schemas, which have been checked.
type jsonCompiler struct {
	o       *Options
	nodes   map[*jsonschema.Schema]*jsonNode
	objects int
	anchors map[string]int // how often each dynamic anchor is defined
	err     error
}

// parse parses a schema's text.
func (c *jsonCompiler) parse(text, what string) (any, error) {
	var t tape
	if wrong := t.read([]byte(text), c.o.MaxDepth); wrong != "" {
		return nil, errors.New(what + " cannot be used: it " + wrong)
	}
	if c.anchors == nil {
		c.anchors = make(map[string]int)
	}
	for i := range t.values {
		v := &t.values[i]
		switch v.kind {
		case jsonObject:
			if c.objects++; c.objects > maxSchemaObjects {
				return nil, fmt.Errorf("%s cannot be used: it has more than %d objects, with its references", what, maxSchemaObjects)
			}
		case jsonNumber:
			if _, ok := parseRat(t.raw(v)); !ok {
				return nil, errors.New(what + " cannot be used: it has a number that is too long, or too far from 1")
			}
		case jsonText:
			if name := t.raw(v); bytes.HasPrefix(name, []byte("$dynamicAnchor")) || bytes.HasPrefix(name, []byte("$recursiveAnchor")) {
				if i+1 < len(t.values) {
					c.anchors[string(name)+" "+string(t.raw(&t.values[i+1]))]++
				}
			}
		}
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return nil, errors.New(what + " cannot be used: it is not JSON")
	}
	return doc, nil
}

// compilePattern compiles a regular expression of ECMA-262. What Go writes in another way is
// rewritten; look-ahead, look-behind and backreferences are errors.
func compilePattern(s string) (*regexp.Regexp, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if _, ok := hex4([]byte(s[i+1:])); s[i] == 'u' && ok {
			b.WriteString(`\x{` + s[i+1:i+5] + `}`)
			i += 4
			continue
		}
		b.WriteByte('\\')
		b.WriteByte(s[i])
	}
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, errors.New("patterns are regular expressions of Go (RE2), without look-ahead, look-behind and backreferences, and with counts up to 1000")
	}
	return re, nil
}

// newRegexp returns what compilePattern has made for the library; nil for nil.
func newRegexp(of jsonschema.Regexp) *jsonRegexp {
	re, ok := of.(*regexp.Regexp)
	if !ok {
		return nil
	}
	r := &jsonRegexp{re, 1}
	parsed, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return r // does not occur: it has been compiled
	}
	// One that begins anywhere begins at each character again, and has up to all of its states
	// at once: [a-z]{1,900}! takes 40 s for a text of 1 MiB.
	if prog, err := syntax.Compile(parsed.Simplify()); err == nil && prog.StartCond()&syntax.EmptyBeginText == 0 {
		r.states = len(prog.Inst)
	}
	return r
}

// work returns what it takes to match a text of that many bytes.
func (r *jsonRegexp) work(size int) int { return size * min(r.states, size) / 8 }

func (c *jsonCompiler) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("the JSON Schema cannot be used: "+format, args...)
	}
}

func (c *jsonCompiler) node(s *jsonschema.Schema) *jsonNode {
	if s == nil {
		return nil
	}
	if n, ok := c.nodes[s]; ok {
		return n
	}
	n := new(jsonNode)
	c.nodes[s] = n
	if s.Bool != nil {
		n.never = !*s.Bool
		return n
	}
	if n.ref = c.node(c.target(s)); n.ref != nil && s.DraftVersion < 2019 {
		return n // what stands beside a reference does not count
	}
	if s.Types != nil {
		names := s.Types.ToStrings()
		for _, name := range names {
			n.types |= jsonTypeNames[name]
		}
		n.typeNames = strings.Join(names, " or ")
	}
	if s.Const != nil {
		v := newConst(*s.Const)
		n.constant = &v
	}
	if s.Enum != nil {
		n.enumTexts = make(map[string]bool)
		for _, v := range s.Enum.Values {
			if s, ok := v.(string); ok {
				n.enumTexts[s] = true
			} else {
				n.enum = append(n.enum, newConst(v))
			}
		}
	}
	n.format = s.Format
	n.all, n.any, n.one = c.list(s.AllOf), c.list(s.AnyOf), c.list(s.OneOf)
	n.not, n.condition, n.yes, n.no = c.node(s.Not), c.node(s.If), c.node(s.Then), c.node(s.Else)
	n.numbers = c.numberRules(s)
	if s.MinLength != nil || s.MaxLength != nil || s.Pattern != nil {
		n.texts = &textRules{min: atLeast(s.MinLength), max: atMost(s.MaxLength)}
		n.texts.pattern = newRegexp(s.Pattern)
	}
	n.arrays = c.arrayRules(s)
	n.objects = c.objectRules(s)
	n.unevaluate = s.UnevaluatedItems != nil || s.UnevaluatedProperties != nil
	return n
}

// target returns the schema that s refers to, or nil. A dynamic reference is an ordinary one
// where only one schema has its anchor.
func (c *jsonCompiler) target(s *jsonschema.Schema) *jsonschema.Schema {
	var all []*jsonschema.Schema
	if s.Ref != nil {
		all = append(all, s.Ref)
	}
	if r := s.RecursiveRef; r != nil {
		if r.RecursiveAnchor && c.anchors["$recursiveAnchor true"] != 1 {
			c.fail("it has several schemas with $recursiveAnchor")
		}
		all = append(all, r)
	}
	if d := s.DynamicRef; d != nil {
		if d.Anchor != "" && d.Ref.DynamicAnchor == d.Anchor && c.anchors["$dynamicAnchor "+d.Anchor] != 1 {
			c.fail("it has several schemas with the $dynamicAnchor %s", quote(d.Anchor))
		}
		all = append(all, d.Ref)
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	c.fail("it has a schema with two kinds of references")
	return nil
}

func (c *jsonCompiler) list(all []*jsonschema.Schema) (nodes []*jsonNode) {
	for _, s := range all {
		nodes = append(nodes, c.node(s))
	}
	return nodes
}

// either returns the node of a keyword that is a schema, or false, or does not matter.
func (c *jsonCompiler) either(v any) *jsonNode {
	switch v := v.(type) {
	case *jsonschema.Schema:
		return c.node(v)
	case bool:
		return &jsonNode{never: !v}
	}
	return nil
}

func atLeast(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

func atMost(n *int) int {
	if n == nil {
		return -1
	}
	return *n
}

func (c *jsonCompiler) numberRules(s *jsonschema.Schema) *numberRules {
	r := numberRules{newBound(s.Minimum), newBound(s.Maximum), newBound(s.ExclusiveMinimum), newBound(s.ExclusiveMaximum), newBound(s.MultipleOf)}
	if r == (numberRules{}) {
		return nil
	}
	return &r
}

func newBound(r *big.Rat) *bound {
	if r == nil {
		return nil
	}
	b := &bound{rat: r}
	if r.IsInt() && r.Num().IsInt64() {
		b.i = r.Num().Int64()
		b.small = b.i > -1e18 && b.i < 1e18
	}
	return b
}

func (c *jsonCompiler) arrayRules(s *jsonschema.Schema) *arrayRules {
	r := &arrayRules{
		min: atLeast(s.MinItems), max: atMost(s.MaxItems), unique: s.UniqueItems,
		contains: c.node(s.Contains), least: 1, most: atMost(s.MaxContains), containsTold: s.DraftVersion >= 2020,
		unevaluated: c.node(s.UnevaluatedItems),
	}
	if s.MinContains != nil {
		r.least = *s.MinContains
	}
	if s.DraftVersion >= 2020 {
		r.prefix, r.items = c.list(s.PrefixItems), c.node(s.Items2020)
	} else if items, ok := s.Items.([]*jsonschema.Schema); ok {
		r.prefix, r.items = c.list(items), c.either(s.AdditionalItems)
	} else {
		r.items = c.either(s.Items)
	}
	if r.min == 0 && r.max < 0 && !r.unique && r.prefix == nil && r.items == nil && r.contains == nil && r.unevaluated == nil {
		return nil
	}
	return r
}

func (c *jsonCompiler) objectRules(s *jsonschema.Schema) *objectRules {
	r := &objectRules{
		min: atLeast(s.MinProperties), max: atMost(s.MaxProperties), additional: c.either(s.AdditionalProperties),
		names: c.node(s.PropertyNames), unevaluated: c.node(s.UnevaluatedProperties),
		properties: make(map[string]*jsonProperty),
	}
	for name, p := range s.Properties {
		r.properties[name] = &jsonProperty{name, c.node(p), -1}
	}
	for _, name := range s.Required {
		p := r.properties[name]
		if p == nil {
			p = &jsonProperty{name, nil, -1}
			r.properties[name] = p
		}
		if p.required < 0 {
			p.required = len(r.required)
			r.required = append(r.required, name)
		}
	}
	for re, p := range s.PatternProperties {
		r.patterns = append(r.patterns, jsonPattern{newRegexp(re), c.node(p)})
	}
	for name, d := range s.Dependencies {
		names, _ := d.([]string)
		node, _ := d.(*jsonschema.Schema)
		r.dependent = append(r.dependent, jsonDependency{name, names, c.node(node)})
	}
	for name, names := range s.DependentRequired {
		r.dependent = append(r.dependent, jsonDependency{name, names, nil})
	}
	for name, node := range s.DependentSchemas {
		r.dependent = append(r.dependent, jsonDependency{name, nil, c.node(node)})
	}
	// Maps have no order; errors should be the same each time.
	slices.SortFunc(r.patterns, func(a, b jsonPattern) int { return strings.Compare(a.pattern.String(), b.pattern.String()) })
	slices.SortStableFunc(r.dependent, func(a, b jsonDependency) int { return strings.Compare(a.name, b.name) })
	if r.min == 0 && r.max < 0 && len(r.properties) == 0 && r.patterns == nil && r.additional == nil && r.names == nil && r.dependent == nil && r.unevaluated == nil {
		return nil
	}
	return r
}

// jsonConst is a value of the schema that others are compared with: as in encoding/json, with
// numbers taken apart.
type jsonConst struct {
	v    any
	rat  *big.Rat             // of a number
	list []jsonConst          // of an array
	has  map[string]jsonConst // of an object
}

func newConst(v any) jsonConst {
	c := jsonConst{v: v}
	switch v := v.(type) {
	case json.Number:
		c.rat, _ = parseRat([]byte(v))
	case []any:
		for _, item := range v {
			c.list = append(c.list, newConst(item))
		}
	case map[string]any:
		c.has = make(map[string]jsonConst, len(v))
		for name, member := range v {
			c.has[name] = newConst(member)
		}
	}
	return c
}
