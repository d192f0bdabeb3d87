package schemafmt

import (
	"strings"

	"github.com/twmb/avro"
)

// avroNode is a type of an Avro schema, as far as values need it.
type avroNode struct {
	kind     avroKind
	name     string // the full name, or the type's
	logical  string
	fields   []avroField
	byName   map[string]int // fields or symbols
	size     int            // of a fixed
	item     *avroNode      // of an array's or map's values
	branches []*avroNode
	tags     map[string]int // branches by what tags may call them
	null     int            // which branch is null, or -1

	precision, scale int // of a decimal
}

type avroField struct {
	name    string
	node    *avroNode
	missing []byte // what is written without a value
	must    bool   // is there nothing to write without one?
}

type avroKind byte

const (
	avroNull avroKind = iota
	avroBoolean
	avroInt
	avroLong
	avroFloat
	avroDouble
	avroString
	avroBytes
	avroEnum
	avroFixed
	avroArray
	avroMap
	avroRecord
	avroUnion
)

var avroKinds = map[string]avroKind{
	"null": avroNull, "boolean": avroBoolean, "int": avroInt, "long": avroLong, "float": avroFloat,
	"double": avroDouble, "string": avroString, "bytes": avroBytes, "enum": avroEnum, "fixed": avroFixed,
	"array": avroArray, "map": avroMap, "record": avroRecord, "error": avroRecord, "union": avroUnion,
}

func (o *Options) compileAvro(text string, refs []Reference) (Encoder, error) {
	var cache avro.SchemaCache
	texts := []string{text}
	for _, r := range refs {
		texts = append(texts, r.Text)
	}
	if err := checkDefaults(o.MaxSchema, texts...); err != nil {
		return nil, schemaError("the Avro schema", err)
	}
	for _, r := range refs {
		if _, err := cache.Parse(r.Text); err != nil {
			return nil, schemaError("the Avro schema "+quote(r.Name)+", to which the schema refers,", err)
		}
	}
	s, err := cache.Parse(text)
	if err != nil {
		return nil, schemaError("the Avro schema", err)
	}
	// The tree is the library's, with references to be resolved; what is checked of a schema
	// has been checked.
	c := &avroCompiler{named: make(map[string]*avroNode)}
	root := s.Root()
	c.collect(root, "")
	n := c.node(root, "")
	if err := c.defaults(o.MaxSchema); err != nil {
		return nil, schemaError("the Avro schema", err)
	}
	return &avroEncoder{root: n, o: *o}, nil
}

// avroCompiler makes nodes of the library's tree.
type avroCompiler struct {
	named   map[string]*avroNode // by full name; made before they are filled: types refer to themselves, and forwards
	pending []pendingDefault
}

// pendingDefault is encoded when all types are known.
type pendingDefault struct {
	field *avroField
	value any
}

// fullName returns the full name of a type that n defines, and the namespace of what is in it.
func fullName(n *avro.SchemaNode) (name, namespace string) {
	name = n.Name
	if !strings.Contains(name, ".") && n.Namespace != "" {
		name = n.Namespace + "." + name
	}
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name, name[:i]
	}
	return name, ""
}

// defines reports whether n is the definition of a type with a name.
func defines(n *avro.SchemaNode) bool {
	switch n.Type {
	case "record", "error", "enum", "fixed":
		return true
	}
	return false
}

// collect makes an empty node for each type that has a name.
func (c *avroCompiler) collect(n *avro.SchemaNode, namespace string) {
	if defines(n) {
		name, _ := fullName(n)
		if c.named[name] == nil {
			c.named[name] = &avroNode{name: name}
		}
	}
	switch n.Type {
	case "record", "error":
		for i := range n.Fields {
			c.collect(&n.Fields[i].Type, namespace)
		}
	case "array":
		c.collect(n.Items, namespace)
	case "map":
		c.collect(n.Values, namespace)
	case "union":
		for i := range n.Branches {
			c.collect(&n.Branches[i], namespace)
		}
	}
}

func (c *avroCompiler) node(n *avro.SchemaNode, namespace string) *avroNode {
	kind, known := avroKinds[n.Type]
	if !known { // a reference
		if namespace != "" && !strings.Contains(n.Type, ".") {
			if node := c.named[namespace+"."+n.Type]; node != nil {
				return node
			}
		}
		return c.named[n.Type]
	}
	node := &avroNode{name: n.Type}
	if defines(n) {
		var name string
		name, namespace = fullName(n)
		node = c.named[name]
	}
	node.kind, node.logical, node.size, node.precision, node.scale = kind, n.LogicalType, n.Size, n.Precision, n.Scale
	switch kind {
	case avroRecord:
		node.fields = make([]avroField, len(n.Fields))
		node.byName = make(map[string]int, len(n.Fields))
		for i := range n.Fields {
			from, f := &n.Fields[i], &node.fields[i]
			f.name, f.node = from.Name, c.node(&from.Type, namespace)
			node.byName[f.name] = i
			switch {
			case from.HasDefault:
				c.pending = append(c.pending, pendingDefault{f, from.Default})
			case f.node.kind == avroUnion && f.node.null == 0:
				f.missing = []byte{0}
			default:
				f.must = true
			}
		}
	case avroEnum:
		node.byName = make(map[string]int, len(n.Symbols))
		for i, s := range n.Symbols {
			node.byName[s] = i
		}
	case avroArray:
		node.item = c.node(n.Items, namespace)
	case avroMap:
		node.item = c.node(n.Values, namespace)
	case avroUnion:
		node.null = -1
		for i := range n.Branches {
			b := c.node(&n.Branches[i], namespace)
			if node.branches = append(node.branches, b); b.kind == avroNull {
				node.null = i
			}
		}
		node.name = node.describe()
		node.tags = node.allTags()
	}
	return node
}

// describe returns a union's branches by name.
func (n *avroNode) describe() string {
	var b strings.Builder
	for i, branch := range n.branches {
		if i > 0 {
			b.WriteString(", ")
		}
		if b.Len() > maxQuoted {
			b.WriteString("…")
			break
		}
		b.WriteString(branch.name)
	}
	return b.String()
}

// allTags returns what a tag may call each branch: by its full name, and, where only one
// branch can be meant, by type and logical type, as in "long.timestamp-millis", or by the name
// without a namespace.
func (n *avroNode) allTags() map[string]int {
	tags := make(map[string]int)
	for i, b := range n.branches {
		tags[b.name] = i
	}
	for _, also := range []func(*avroNode) string{
		func(b *avroNode) string {
			if b.logical == "" {
				return ""
			}
			return b.name + "." + b.logical
		},
		func(b *avroNode) string { return b.name[strings.LastIndexByte(b.name, '.')+1:] },
	} {
		count := make(map[string]int)
		for _, b := range n.branches {
			count[also(b)]++
		}
		for i, b := range n.branches {
			name := also(b)
			if _, taken := tags[name]; name != "" && count[name] == 1 && !taken {
				tags[name] = i
			}
		}
	}
	return tags
}
