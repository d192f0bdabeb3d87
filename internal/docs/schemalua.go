package docs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// SchemaFile is the companion handler's schema, from the repository's root.
const SchemaFile = "internal/companion/lua/schema.lua"

// schemaHead and schemaTail stand around the schema. The checks between them say what the
// schema cannot say in JSON.
const (
	schemaHead = `-- Written by "kafka-upstream -companion" of release @RELEASE@, which overwrites it.
--
-- The schema of kafka-upstream. "make docs" writes it from schema/kafka-upstream.json, with what
-- that cannot say.

local function has_message(config)
  local forwarded = config.forward_method == true or config.forward_uri == true
    or config.forward_headers == true or config.forward_body == true
  if forwarded or config.value_format == "body" or config.cloudevents == "binary" or config.cloudevents == "structured" then
    return true
  end
  return nil, "at least one of forward_method, forward_uri, forward_headers and forward_body must be true"
end

-- compiles refuses what cannot be a function. It does not run it.
local function compiles(chunk)
  local ok, err = load(chunk, "=function", "t", {})
  if ok then
    return true
  end
  return nil, "Error parsing function: " .. err
end

`
	hasMessageCheck = `{ custom_entity_check = { field_sources = { "forward_method", "forward_uri", "forward_headers", "forward_body", "value_format", "cloudevents" }, fn = has_message } }`
)

// Schema returns the companion handler's schema, in Lua, from the schema in JSON.
func Schema(raw []byte) ([]byte, error) {
	w := luaWriter{d: json.NewDecoder(bytes.NewReader(raw))}
	w.d.UseNumber()
	w.b.WriteString(schemaHead)
	w.b.WriteString("return ")
	if err := w.value("", ""); err != nil {
		return nil, err
	}
	w.b.WriteString("\n")
	if w.checks != 1 || w.chunks != 1 {
		return nil, fmt.Errorf("the schema has %d lists of entity checks of config, and %d lists of functions", w.checks, w.chunks)
	}
	return w.b.Bytes(), nil
}

// luaWriter writes JSON as Lua, with the members in their order.
type luaWriter struct {
	d              *json.Decoder
	b              bytes.Buffer
	checks, chunks int // how often has_message and compiles were put in
}

// value writes the next value, which stands at path.
func (w *luaWriter) value(path, indent string) error {
	token, err := w.d.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case nil:
		w.b.WriteString("ngx.null")
	case string:
		w.b.WriteString(luaString(v))
	case json.Delim:
		return w.table(path, indent, v == '{')
	default:
		fmt.Fprint(&w.b, v)
	}
	return nil
}

// table writes the rest of an object or an array.
func (w *luaWriter) table(path, indent string, object bool) error {
	if !w.d.More() {
		w.b.WriteString("{}")
		_, err := w.d.Token()
		return err
	}
	w.b.WriteString("{\n")
	inner := indent + "  "
	for w.d.More() {
		w.b.WriteString(inner)
		at := path + "[]"
		if object {
			name, err := w.d.Token()
			if err != nil {
				return err
			}
			at = path + "." + name.(string)
			fmt.Fprintf(&w.b, "%s = ", name)
		}
		if err := w.value(at, inner); err != nil {
			return err
		}
		w.b.WriteString(",\n")
	}
	switch path {
	case ".fields[].config.entity_checks":
		w.checks++
		w.b.WriteString(inner + hasMessageCheck + ",\n")
	case ".fields[].config.fields[].message_by_lua_functions.elements":
		w.chunks++
		w.b.WriteString(inner + "custom_validator = compiles,\n")
	}
	w.b.WriteString(indent + "}")
	_, err := w.d.Token()
	return err
}

// luaString quotes a string that has no control characters.
func luaString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
