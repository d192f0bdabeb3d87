package declarative

import (
	"fmt"
	"strings"
	"testing"
)

const servers = "bootstrap_servers: [{host: a, port: 1}]"

// check returns the problems and the warnings in a file, a line each.
func check(t testing.TB, file string) string {
	t.Helper()
	found, err := Check([]byte(file), "kafka-upstream", func(functions []string) (all []error) {
		all = make([]error, len(functions))
		for i, f := range functions {
			if strings.Contains(f, "wrong") {
				all[i] = fmt.Errorf("function %d, line 2: it is wrong", i+1)
			}
		}
		return all
	})
	if err != nil {
		t.Fatalf("%v in\n%s", err, file)
	}
	var all []string
	for _, p := range found.Problems {
		all = append(all, p.String())
	}
	for _, p := range found.Warnings {
		all = append(all, "warning "+p.String())
	}
	return fmt.Sprintf("%d\n%s", found.Plugins, strings.Join(all, "\n"))
}

func TestPluginsAreFoundAtAllLevels(t *testing.T) {
	got := check(t, `_format_version: "3.0"
_info: {plugins: [{name: kafka-upstream}]}
plugins:
- {name: key-auth}
- {name: kafka-upstream, config: {`+servers+`}}
- name: kafka-upstream
  instance_name: second
  route: r
services:
- name: s
  plugins: [{name: kafka-upstream, config: {`+servers+`, topic: t}}]
  routes:
  - name: r
    plugins:
    - name: kafka-upstream
      config:
        `+servers+`
        topic: a b
  - plugins: [{name: kafka-upstream, config: {topic: t}}]
routes:
- {name: alone, plugins: [{name: kafka-upstream, config: {topic: t}}]}
consumers:
- username: c
  plugins: [{name: kafka-upstream, config: []}]
`)
	want := `7
5: plugin 2: config.topic: required field missing
6: plugin second: config.bootstrap_servers: required field missing
6: plugin second: config.topic: required field missing
18: service s, route r, plugin 1: config.topic: invalid value: a topic name consists of letters, digits, '.', '_' and '-'
19: service s, route 2, plugin 1: config.bootstrap_servers: required field missing
21: route alone, plugin 1: config.bootstrap_servers: required field missing
24: consumer c, plugin 1: config: expected a record`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestProblemsHaveFieldAndLine(t *testing.T) {
	for name, tc := range map[string]struct{ config, want string }{
		"none":          {"topic: t", ""},
		"off":           {"topic: t\ncloudevents: off", "7: plugin 1: config.cloudevents: expected a string"},
		"quoted off":    {"topic: t\ncloudevents: \"off\"", ""},
		"yes":           {"topic: 2026-11-28\ntombstones: no\nforward_uri: yes\ntrace_headers: Off", ""},
		"unknown field": {"topic: t\ntopics: u", "7: plugin 1: config.topics: unknown field"},
		"list":          {"topic: t\nallowed_topics:\n- a\n- b c", "9: plugin 1: config.allowed_topics[2]: invalid value: a topic name consists of letters, digits, '.', '_' and '-'"},
		"number":        {"topic: t\nresponse:\n  status: 404", "8: plugin 1: config.response.status: expected one of: 200, 201, 202, 204"},
		"two fields":    {"topic: t\nkey_query_arg: k\nrecord_key: {parts: [{from: header, name: h}]}", "4: plugin 1: config: only one or none of these fields must be set: 'key_query_arg', 'record_key.parts'"},
		"no field":      {"topic: t\nforward_body: false", "4: plugin 1: at least one of forward_method, forward_uri, forward_headers and forward_body must be true"},
		"function":      {"topic: t\nmessage_by_lua_functions:\n- wrong\n- right\n- wrong", "8: plugin 1: config.message_by_lua_functions[1]: function 1, line 2: it is wrong\n10: plugin 1: config.message_by_lua_functions[3]: function 3, line 2: it is wrong"},
		"and a field":   {"topic: t\nmessage_by_lua_functions: [wrong]\nsplit: x", "8: plugin 1: config.split: expected one of: none, json_array, ndjson\n7: plugin 1: config.message_by_lua_functions[1]: function 1, line 2: it is wrong"},
		"placeholder":   {"topic: orders-${{ env \"DECK_TOPIC\" }}\ntimeout: ${{env \"DECK_T\" | toInt }}\ncluster_name: ${{ env \"DECK_NAME\" }}", "7: plugin 1: config.timeout: a placeholder of decK cannot be checked: check what \"deck file render --populate-env-vars\" makes of the file\n6: plugin 1: config.topic: a placeholder of decK cannot"},
		"warning":       {"topic: t\ntopics_query_arg: u", "warning 4: plugin 1: topics_query_arg has no effect without allowed_topics: add the topics that requests may name to it"},
		"vault":         {"topic: t\nauthentication: {strategy: sasl, mechanism: PLAIN, user: '{vault://env/u}', password: '{vault://env/p}'}", ""},
		"vault, tokens": {"topic: t\nauthentication: {strategy: sasl, mechanism: OAUTHBEARER, oauthbearer: {token_endpoint_url: '{vault://env/u}', client_id: '{vault://env/c}', client_secret: '{vault://env/s}'}}", ""},
		"no token":      {"topic: t\nauthentication: {strategy: sasl, mechanism: OAUTHBEARER}", "4: plugin 1: config: must set one of 'authentication.oauthbearer.token_endpoint_url', 'authentication.oauthbearer.token_file' when authentication.mechanism is OAUTHBEARER"},
		"token URL":     {"topic: t\nauthentication: {strategy: sasl, mechanism: OAUTHBEARER, oauthbearer: {token_endpoint_url: x, client_id: c, client_secret: s}}", "4: plugin 1: authentication.oauthbearer.token_endpoint_url must be a URL such as https://host/path"},
		"schemas":       {"topic: t\nschema_registry: {confluent: {url: 'https://r', value_schema: {subject_name: s}, authentication: {mode: oauth2, oauth2: {token_endpoint: 'https://t', client_id: c, client_secret: '{vault://env/s}'}}}}", ""},
		"no subject":    {"topic: t\nschema_registry:\n  confluent:\n    url: http://r", "8: plugin 1: config.schema_registry.confluent: at least one of these fields must be non-empty: 'value_schema.subject_name', 'key_schema.subject_name'"},
		"a bad URL":     {"topic: t\nschema_registry:\n  confluent:\n    url: http://u:hush@r\n    key_schema: {subject_name: s}", "9: plugin 1: config.schema_registry.confluent.url: must not contain a user: use authentication.basic"},
		"no secret":     {"topic: t\nschema_registry: {confluent: {url: 'https://r', value_schema: {subject_name: s}, authentication: {mode: oauth2, oauth2: {token_endpoint: 'https://t', client_id: c}}}}", "4: plugin 1: schema_registry.confluent.authentication.oauth2.client_secret"},
		"secret":        {"topic: t\nauthentication: {mechanism: PLAIN, user: u, password: [hush]}", "7: plugin 1: config.authentication.password: expected a string"},
		"twice":         {"topic: t\ntopic: u", "4: plugin 1: config: line 7: mapping key"},
		"an alias":      {"topic: &t a b\nallowed_topics: [*t]", "6: plugin 1: config.allowed_topics[1]: invalid value: a topic name consists of letters, digits, '.', '_' and '-'\n6: plugin 1: config.topic"},
		"infinite":      {"topic: t\ntimeout: .inf", "4: plugin 1: config: it has a value that JSON does not have"},
	} {
		t.Run(name, func(t *testing.T) {
			file := "_format_version: '3.0'\nplugins:\n- name: kafka-upstream\n  config:\n    " + servers + "\n    " + strings.ReplaceAll(tc.config, "\n", "\n    ") + "\n"
			got := strings.TrimPrefix(check(t, file), "1\n")
			if !strings.HasPrefix(got, tc.want) || (got == "") != (tc.want == "") || strings.Contains(got, "hush") {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestMembersMayBeMerged(t *testing.T) {
	got := check(t, `_format_version: "3.0"
x-plugin: &plugin
  name: kafka-upstream
  config: &config
    `+servers+`
    topic: a b
x-entity: &entity
  plugins: [*plugin]
  self: {<<: *entity}
plugins:
- <<: *plugin
- <<: [{config: {<<: *config, topic: t}}, *plugin]
  instance_name: second
  config: {<<: *config, topic: t, split: x}
services:
- <<: *entity
  name: s
`)
	want := `3
6: plugin 1: config.topic: invalid value: a topic name consists of letters, digits, '.', '_' and '-'
14: plugin second: config.split: expected one of: none, json_array, ndjson
6: service s, plugin 1: config.topic: invalid value: a topic name consists of letters, digits, '.', '_' and '-'`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFilesThatCannotBeReadAreExplained(t *testing.T) {
	for file, want := range map[string]string{
		"":                                      "no documents",
		"a: 1\n---\na: 1":                       "expected single document",
		"a: {b: ${{ env \"DECK_B\" }}}":         "render --populate-env-vars",
		"[]":                                    "no _format_version",
		"plugins: []":                           "no _format_version",
		"_format_version: '3.0'\n\tplugins: []": "line 2",
		"a: [":                                  "line 2: did not",
	} {
		_, err := Check([]byte(file), "x", nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n<") || strings.Contains(err.Error(), "yaml:") {
			t.Errorf("%q: %v, want %s", file, err, want)
		}
	}
}

func TestPluginsOfDecKMayShareAConfiguration(t *testing.T) {
	got := check(t, `_format_version: "3.0"
_plugin_configs:
  shared: {`+servers+`, topic: t, split: x}
plugins:
- {name: kafka-upstream, _config: shared, config: {split: none}}
- {name: kafka-upstream, _config: shared}
- {name: kafka-upstream, _config: other}
`)
	want := `3
6: plugin 2: config.split: expected one of: none, json_array, ndjson
7: plugin 3: config: _plugin_configs has no other, which _config names`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte("_format_version: '3.0'\nplugins: &p\n- &a {name: kafka-upstream, plugins: *p, config: {topic: t, message_by_lua_functions: [wrong]}}\n- *a"))
	f.Add([]byte(`{"_format_version":"3.0","services":[{"name":"s","routes":[{"plugins":[{"name":"kafka-upstream","config":{"a":{"b":[1]}}}]}]}]}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		found, err := Check(file, "kafka-upstream", func([]string) []error { return nil })
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n<") || strings.Contains(err.Error(), "yaml:") {
				t.Errorf("several lines: %v", err)
			}
			return
		}
		for _, p := range found.Problems {
			if p.Line < 1 || strings.Contains(p.String(), "\n") {
				t.Errorf("%+v", p)
			}
		}
	})
}
