// Package schema holds the plugin's schema in Kong's schema language: the one place that
// states the name, type, default, limits and description of each configuration field.
package schema

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
)

//go:embed kafka-upstream.json
var raw []byte

// JSON returns the schema as -dump prints it. The caller must not change it.
func JSON() []byte { return raw }

// Field is a field of the plugin's configuration.
type Field struct {
	Name          string        `json:"-"`
	Type          string        `json:"type"` // string, integer, number, boolean, array, set, map or record
	Required      bool          `json:"required"`
	Default       any           `json:"default"` // nil for none; a number is a json.Number
	OneOf         []any         `json:"one_of"`
	Between       []json.Number `json:"between"` // lower and upper bound, inclusive; empty for none
	LenMax        int           `json:"len_max"` // of a string in bytes, of others in elements; 0 for no limit
	UUID          bool          `json:"uuid"`
	Auto          bool          `json:"auto"`          // Kong generates a value if none is given
	Referenceable bool          `json:"referenceable"` // may be a {vault://…} reference
	Description   string        `json:"description"`
	Fields        []Field       `json:"-"` // of a record, or of the records in an array or a set
}

type node struct {
	Field
	Fields   []map[string]*node `json:"fields"`
	Elements *node              `json:"elements"`
}

func (n *node) field(name string) Field {
	f := n.Field
	f.Name = name
	of := n.Fields
	if n.Elements != nil {
		of = n.Elements.Fields
	}
	for _, entry := range of {
		for name, child := range entry {
			f.Fields = append(f.Fields, child.field(name))
		}
	}
	return f
}

// Config returns the fields of the plugin's configuration, in the schema's order. It panics if
// the embedded schema is broken, which a test rules out.
func Config() []Field {
	var root node
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&root); err != nil {
		panic(fmt.Sprintf("schema/kafka-upstream.json: %v", err))
	}
	for _, f := range root.field("").Fields {
		if f.Name == "config" {
			return f.Fields
		}
	}
	panic(`schema/kafka-upstream.json: no field "config"`)
}

// Defaults returns the configuration with all defaults of the schema, as JSON. It contains
// nested records, but no field without a default.
func Defaults() []byte {
	b, err := json.Marshal(defaults(Config()))
	if err != nil {
		panic(fmt.Sprintf("schema/kafka-upstream.json: %v", err))
	}
	return b
}

func defaults(fields []Field) map[string]any {
	m := make(map[string]any)
	for _, f := range fields {
		switch {
		case f.Type == "record":
			m[f.Name] = defaults(f.Fields)
		case f.Default != nil:
			m[f.Name] = f.Default
		}
	}
	return m
}
