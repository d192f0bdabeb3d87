package schemafmt

import (
	"encoding/json"
	"errors"
	"strings"
)

// checkDefaults returns an error if the library would encode more than that many values for the
// defaults of a schema and its references. It expands them without a bound, and a record whose
// default leaves out two fields that are records in turn, and so on, doubles with each level.
func checkDefaults(limit int, texts ...string) error {
	c := &defaultCosts{limit: limit, records: make(map[string][]defaultUse), costs: make(map[string]int)}
	for _, text := range texts {
		var doc any
		if json.Unmarshal([]byte(text), &doc) != nil {
			return nil // the library says what is wrong
		}
		c.collect(doc)
	}
	total := 0
	for name := range c.records {
		if total += c.cost(name); total > limit {
			return errDefaultsLarge
		}
	}
	return nil
}

var errDefaultsLarge = errors.New("the defaults of its fields are too large")

type defaultCosts struct {
	limit   int
	records map[string][]defaultUse // by names without namespaces: those of one name count together
	costs   map[string]int
}

// defaultUse is a field with a default that has objects.
type defaultUse struct {
	objects int
	types   []string // the records that these can be
}

func (c *defaultCosts) collect(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			c.collect(item)
		}
	case map[string]any:
		fields, _ := v["fields"].([]any)
		name := lastName(v["name"])
		for _, f := range fields {
			f, _ := f.(map[string]any)
			if n := objects(f["default"]); n > 0 {
				c.records[name] = append(c.records[name], defaultUse{n, typeNames(nil, f["type"])})
			}
		}
		for _, member := range v {
			c.collect(member)
		}
	}
}

// cost returns how many values the defaults of a record have, up to more than the limit.
func (c *defaultCosts) cost(name string) int {
	if cost, ok := c.costs[name]; ok {
		return cost
	}
	c.costs[name] = 1 // a record in itself: the library refuses such defaults
	total := 1
	for _, use := range c.records[name] {
		for _, t := range use.types {
			total = min(total+min(use.objects, c.limit)*c.cost(t), c.limit+1)
		}
	}
	c.costs[name] = total
	return total
}

// objects counts the objects in a default.
func objects(v any) (n int) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			n += objects(item)
		}
	case map[string]any:
		n = 1
		for _, member := range v {
			n += objects(member)
		}
	}
	return n
}

// typeNames appends the names of all types that a type names or defines on its outside.
func typeNames(names []string, v any) []string {
	switch v := v.(type) {
	case string:
		if _, primitive := avroKinds[v]; !primitive {
			names = append(names, lastName(v))
		}
	case []any:
		for _, branch := range v {
			names = typeNames(names, branch)
		}
	case map[string]any:
		if v["fields"] != nil {
			return append(names, lastName(v["name"]))
		}
		for _, inner := range []string{"type", "items", "values"} {
			names = typeNames(names, v[inner])
		}
	}
	return names
}

func lastName(v any) string {
	name, _ := v.(string)
	return name[strings.LastIndexByte(name, '.')+1:]
}
