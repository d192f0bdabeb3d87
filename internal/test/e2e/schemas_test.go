package e2e

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// schemaRegistry is a registry with the schemas of the tests, under a path and behind Basic
// authentication.
type schemaRegistry struct {
	url string
}

func startRegistry(t *testing.T) *schemaRegistry {
	t.Helper()
	fake := srfake.NewRegistry(srfake.WithAuth("Basic " + base64.StdEncoding.EncodeToString([]byte("kong:registry-password"))))
	avro := func(subject string, version, id int, text string) {
		fake.SeedSchema(subject, version, id, sr.Schema{Schema: text})
	}
	avro("user", 1, 1, `{"type":"record","name":"User","fields":[{"name":"name","type":"string"},{"name":"age","type":["null","int"],"default":null}]}`)
	avro("user", 2, 258, `{"type":"record","name":"User","fields":[{"name":"name","type":"string"},{"name":"age","type":"long"}]}`)
	avro("message", 1, 3, `{"type":"record","name":"Message","fields":[{"name":"method","type":"string"},{"name":"body","type":"string"}]}`)
	avro("id", 1, 4, `"long"`)
	fake.SeedSchema("user-json", 1, 5, sr.Schema{Type: sr.TypeJSON, Schema: `{"type":"object","required":["name"],"properties":{"name":{"type":"string","minLength":3}}}`})
	avro("broken", 1, 6, `{"type":"no such type"}`)
	s := httptest.NewServer(http.StripPrefix("/apis/ccompat/v7", fake.Handler()))
	t.Cleanup(s.Close)
	return &schemaRegistry{url: s.URL + "/apis/ccompat/v7"}
}

// config returns the fields of a plugin whose values are bodies with the schema of that subject.
func (r *schemaRegistry) config(subject string, more map[string]any) map[string]any {
	confluent := map[string]any{
		"url":            r.url,
		"value_schema":   map[string]any{"subject_name": subject},
		"authentication": map[string]any{"mode": "basic", "basic": map[string]any{"username": "kong", "password": "registry-password"}},
	}
	maps.Copy(confluent, more)
	return map[string]any{"value_format": "body", "schema_registry": map[string]any{"confluent": confluent}}
}

func (r *schemaRegistry) message(subject string, more map[string]any) map[string]any {
	config := r.config(subject, more)
	delete(config, "value_format")
	return config
}

func also(config map[string]any, more map[string]any) map[string]any {
	maps.Copy(config, more)
	return config
}

func misfit(what, subject string, version int) string {
	return fmt.Sprintf(`{"message":"Bad Request","error":"%s does not fit schema %s version %d: …`, what, subject, version)
}

func TestValuesAndKeysAreEncodedBySchemas(t *testing.T) {
	r := startRegistry(t)
	fixed := map[string]any{"value_schema": map[string]any{"subject_name": "user", "schema_version": "1", "payload_encoding": "simple_json"}}
	text := []string{"content-type: text/plain"}
	const anna = `{"name":"Anna","age":30}`
	const encoded = `"\x00\x00\x00\x01\x02\bAnna<"`
	runFeatures(t, []feature{
		{name: "schema-latest", config: r.config("user", nil), sent: []sent{{target: "/", body: anna}, {target: "/", body: strings.Repeat(" ", 60000) + anna}}, want: []string{"null " + encoded, "null " + encoded}},
		{name: "schema-fixed", config: r.config("user", fixed), sent: []sent{
			{target: "/", body: `{"age":30,"name":"Anna"}`},
			{target: "/", body: `{"age":{"int":30},"name":"Anna"}`},
			{target: "/", body: `{"age":30}`, status: 400, answer: misfit("message", "user", 1)},
		}, want: []string{`null "\x00\x00\x00\x00\x01\bAnna\x02<"`, `null "\x00\x00\x00\x00\x01\bAnna\x02<"`}},
		{name: "schema-json", config: r.config("user-json", nil), sent: []sent{{target: "/", body: ` {"name": "Anna"}`}}, want: []string{`null "\x00\x00\x00\x00\x05 {\"name\": \"Anna\"}"`}},
		{name: "schema-message", config: also(r.message("message", nil), map[string]any{"forward_method": true}), sent: []sent{{target: "/", headers: text, body: "x"}}, want: []string{`null "\x00\x00\x00\x00\x03\bPOST\x02x"`}},
		{name: "schema-function", config: also(r.message("user", nil), map[string]any{"message_by_lua_functions": []string{"return function(m) return m.body end"}}),
			sent: []sent{{target: "/", headers: text, body: anna}}, want: []string{"null " + encoded}},
		{name: "schema-function-table", config: also(r.message("user", nil), map[string]any{"message_by_lua_functions": []string{"return function(m) return {name = m.body, age = 30} end"}}),
			sent: []sent{{target: "/", headers: text, body: "Anna"}}, want: []string{"null " + encoded}},
		{name: "schema-key", config: also(r.config("user", map[string]any{"key_schema": map[string]any{"subject_name": "id"}}), map[string]any{"key_query_arg": "id"}), sent: []sent{
			{target: "/?id=5", body: anna}, {target: "/", body: anna}, {target: "/?id=x", body: anna, status: 400, answer: misfit("key", "id", 1)},
		}, want: []string{`"\x00\x00\x00\x00\x04\n" ` + encoded, "null " + encoded}},
		{name: "schema-key-alone", config: also(r.message("", map[string]any{"value_schema": nil, "key_schema": map[string]any{"subject_name": "id"}}), map[string]any{"key_query_arg": "id"}),
			sent: []sent{{target: "/?id=5", headers: text, body: "x"}}, want: []string{`"\x00\x00\x00\x00\x04\n" {"body":"x","body_args":{}}`}},
		{name: "schema-split", config: also(r.config("user", nil), map[string]any{"split": "json_array"}), sent: []sent{
			{target: "/", body: "[" + anna + ", " + anna + "]"},
			{target: "/", body: "[" + anna + ", {}]", status: 400, answer: misfit("record 2: message", "user", 2)},
		}, want: []string{"null " + encoded, "null " + encoded}},
		{name: "schema-tombstone", config: also(r.config("user", nil), map[string]any{"tombstones": true}), sent: []sent{{target: "/"}}, want: []string{"null null"}},
		{name: "schema-empty", config: r.config("user", nil), sent: []sent{{target: "/", status: 400, answer: misfit("message", "user", 2)}}},
	})
}
