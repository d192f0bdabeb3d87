package kongsim

import (
	"encoding/json"
	"strings"
	"testing"

	"kafka-upstream/internal/kongschema"
	"kafka-upstream/schema"
)

// ours returns entities of the plugin with its real schema.
func ours(t testing.TB) *entities {
	t.Helper()
	s, err := kongschema.Parse(schema.JSON())
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEntities("kafka-upstream", s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func jsonMap(t testing.TB, raw string) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(raw), &m); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return m
}

// verdict returns what Kong says against a plugin's configuration, "" for nothing.
func verdict(e *entities, v map[string]any) string {
	if _, err := e.empty().insert("plugins", v); err != nil {
		return err.message
	}
	return ""
}

const goodServers = `"bootstrap_servers":[{"host":"localhost","port":9092}],"topic":"kong-upstream"`

func TestTheSchemaJudgesAsKongDoes(t *testing.T) {
	e := ours(t)
	for _, tc := range []struct {
		name, config string
		want         string // the Admin API's message, "" for a good one
	}{
		{"least", `{` + goodServers + `}`, ""},
		{"all forwards", `{` + goodServers + `,"forward_method":true,"forward_uri":true,"forward_headers":true,"forward_body":false}`, ""},
		{"two servers", `{"bootstrap_servers":[{"host":"a.b-c_d","port":0},{"host":"[::1]","port":65535}],"topic":"t"}`, ""},
		{"no topic", `{"bootstrap_servers":[{"host":"a","port":1}]}`, "schema violation (config.topic: required field missing)"},
		{"null topic", `{"bootstrap_servers":[{"host":"a","port":1}],"topic":null}`, "schema violation (config.topic: required field missing)"},
		{"empty topic", `{"bootstrap_servers":[{"host":"a","port":1}],"topic":""}`, "schema violation (config.topic: length must be at least 1)"},
		{"long topic", `{"bootstrap_servers":[{"host":"a","port":1}],"topic":"` + strings.Repeat("a", 250) + `"}`, "schema violation (config.topic: length must be at most 249)"},
		{"topic of another type", `{"bootstrap_servers":[{"host":"a","port":1}],"topic":1}`, "schema violation (config.topic: expected a string)"},
		{"nothing", `{}`, "2 schema violations (config.bootstrap_servers: required field missing; config.topic: required field missing)"},
		{"no servers", `{"topic":"t","bootstrap_servers":[]}`, "schema violation (config.bootstrap_servers: length must be at least 1)"},
		{"servers no set", `{"topic":"t","bootstrap_servers":"localhost:9092"}`, "schema violation (config.bootstrap_servers: expected a set)"},
		{"no port", `{"topic":"t","bootstrap_servers":[{"host":"a"}]}`, "schema violation (config.bootstrap_servers[1].port: required field missing)"},
		{"port too large", `{"topic":"t","bootstrap_servers":[{"host":"a","port":1},{"host":"a","port":65536}]}`, "schema violation (config.bootstrap_servers[2].port: value should be between 0 and 65535)"},
		{"port no integer", `{"topic":"t","bootstrap_servers":[{"host":"a","port":9092.5}]}`, "schema violation (config.bootstrap_servers[1].port: expected an integer)"},
		{"host with a blank", `{"topic":"t","bootstrap_servers":[{"host":"a b","port":1}]}`, "schema violation (config.bootstrap_servers[1].host: invalid value: must be a hostname or an IP)"},
		{"unknown field", `{` + goodServers + `,"topics":"x"}`, "schema violation (config.topics: unknown field)"},
		{"unknown nested field", `{` + goodServers + `,"security":{"tls":true}}`, "schema violation (config.security.tls: unknown field)"},
		{"acks", `{` + goodServers + `,"producer_request_acks":2}`, "schema violation (config.producer_request_acks: expected one of: -1, 0, 1)"},
		{"boolean", `{` + goodServers + `,"producer_async":"yes"}`, "schema violation (config.producer_async: expected a boolean)"},
		{"integer", `{` + goodServers + `,"timeout":"10"}`, "schema violation (config.timeout: expected an integer)"},
		{"record", `{` + goodServers + `,"authentication":"PLAIN"}`, "schema violation (config.authentication: expected a record)"},
		{"mechanism", `{` + goodServers + `,"authentication":{"strategy":"sasl","mechanism":"GSSAPI","user":"u","password":"p"}}`, "schema violation (config.authentication.mechanism: expected one of: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM)"},
		{"certificate id", `{` + goodServers + `,"security":{"ssl":true,"certificate_id":"x"}}`, "schema violation (config.security.certificate_id: expected a valid UUID)"},
		{"certificate without ssl", `{` + goodServers + `,"security":{"certificate_id":"0c526b08-ede8-5178-bef7-1e59d3503ae8"}}`,
			"schema violation (config.security.ssl: ssl must be true when certificate_id is set)"},
		{"sasl without mechanism", `{` + goodServers + `,"authentication":{"strategy":"sasl"}}`,
			"schema violation (config.authentication.mechanism: mechanism is required when strategy is sasl)"},
		{"sasl", `{` + goodServers + `,"authentication":{"strategy":"sasl","mechanism":"PLAIN","user":"u","password":"{vault://env/p}"}}`, ""},
		{"tokenauth without scram", `{` + goodServers + `,"authentication":{"strategy":"sasl","mechanism":"PLAIN","user":"u","password":"p","tokenauth":true}}`,
			"schema violation (config.authentication.mechanism: tokenauth is only valid with a SCRAM mechanism)"},
		{"tokenauth with scram", `{` + goodServers + `,"authentication":{"strategy":"sasl","mechanism":"SCRAM-SHA-512","user":"u","password":"p","tokenauth":true}}`, ""},
		{"oauthbearer", `{` + goodServers + `,"authentication":{"mechanism":"OAUTHBEARER","oauthbearer":{"token_endpoint_url":"https://i/t","client_id":"c","client_secret":"{vault://env/s}"}}}`, ""},
		{"oauthbearer with a file", `{` + goodServers + `,"authentication":{"mechanism":"OAUTHBEARER","user":null,"oauthbearer":{"token_file":"/t"}}}`, ""},
		{"oauthbearer without a token", `{` + goodServers + `,"authentication":{"mechanism":"OAUTHBEARER","user":"u","password":"p","oauthbearer":null}}`,
			"schema violation (config.@entity: must set one of 'authentication.oauthbearer.token_endpoint_url', 'authentication.oauthbearer.token_file' when authentication.mechanism is OAUTHBEARER)"},
		{"oauthbearer without a secret", `{` + goodServers + `,"authentication":{"mechanism":"OAUTHBEARER","oauthbearer":{"token_endpoint_url":"https://i/t","client_id":"c"}}}`,
			"schema violation (config.@entity: must set one of 'authentication.oauthbearer.client_secret', 'authentication.oauthbearer.token_file' when authentication.mechanism is OAUTHBEARER)"},
		{"extension that is no word", `{` + goodServers + `,"authentication":{"oauthbearer":{"token_file":"/t","extensions":{"logical_cluster":"l"}}}}`,
			"schema violation (config.authentication.oauthbearer.extensions: must consist of letters)"},
		{"extension with the token's name", `{` + goodServers + `,"authentication":{"oauthbearer":{"token_file":"/t","extensions":{"auth":"l"}}}}`,
			"schema violation (config.authentication.oauthbearer.extensions: must not be auth, which is the token's own name)"},
		{"extension that SASL cannot send", `{` + goodServers + `,"authentication":{"oauthbearer":{"token_file":"/t","extensions":{"a":"l\u0001auth=x"}}}}`,
			"schema violation (config.authentication.oauthbearer.extensions: must consist of printable ASCII characters)"},
		{"extensions", `{` + goodServers + `,"authentication":{"oauthbearer":{"token_file":"/t","extensions":{"logicalCluster":"lkc-1 ~","identityPoolId":"!"}}}}`, ""},
		{"oauthbearer with two sources", `{` + goodServers + `,"authentication":{"oauthbearer":{"token_endpoint_url":"https://i/t","token_file":"/t"}}}`,
			"schema violation (config.authentication.oauthbearer.@entity: only one or none of these fields must be set: 'token_endpoint_url', 'token_file')"},
		{"oauthbearer with another mechanism", `{` + goodServers + `,"authentication":{"mechanism":"PLAIN","user":"u","password":"p","oauthbearer":{"client_id":"c"}}}`, ""},
		{"no password", `{` + goodServers + `,"authentication":{"mechanism":"SCRAM-SHA-256","user":"u"}}`,
			"schema violation (config.authentication.password: password is required when mechanism is PLAIN or SCRAM)"},
		{"schema registry", `{` + goodServers + `,"schema_registry":{"confluent":{"url":"http://r:8081","value_schema":{"subject_name":"s","schema_version":"3"}}}}`, ""},
		{"schema registry without a subject", `{` + goodServers + `,"schema_registry":{"confluent":{"url":"http://r:8081","key_schema":null}}}`,
			"schema violation (config.schema_registry.confluent.@entity: at least one of these fields must be non-empty: 'value_schema.subject_name', 'key_schema.subject_name')"},
		{"schema registry without a scheme", `{` + goodServers + `,"schema_registry":{"confluent":{"url":"r:8081","key_schema":{"subject_name":"s"}}}}`,
			"schema violation (config.schema_registry.confluent.url: must begin with http:// or https://, and name a host)"},
		{"schema registry with a user", `{` + goodServers + `,"schema_registry":{"confluent":{"url":"http://a:b@r","key_schema":{"subject_name":"s"}}}}`,
			"schema violation (config.schema_registry.confluent.url: must not contain a user: use authentication.basic)"},
		{"schema version", `{` + goodServers + `,"schema_registry":{"confluent":{"url":"http://r","key_schema":{"subject_name":"s","schema_version":"newest"}}}}`,
			"schema violation (config.schema_registry.confluent.key_schema.schema_version: must be the number of a version, or latest)"},
		{"schema registry without credentials", `{` + goodServers + `,"schema_registry":{"confluent":{"url":"http://r","key_schema":{"subject_name":"s"},"authentication":{"mode":"basic"}}}}`,
			"schema violation (config.schema_registry.confluent.authentication.basic.username: basic is required when mode is basic)"},
		{"schema registry without a token endpoint", `{` + goodServers + `,"schema_registry":{"confluent":{"url":"http://r","key_schema":{"subject_name":"s"},"authentication":{"mode":"oauth2","oauth2_client":{}}}}}`,
			"schema violation (config.schema_registry.confluent.authentication.oauth2.token_endpoint: oauth2 is required when mode is oauth2)"},
		{"schema registry with a certificate", `{` + goodServers + `,"schema_registry":{"confluent":{"url":"http://r","key_schema":{"subject_name":"s"},"certificate_id":"0c526b08-ede8-5178-bef7-1e59d3503ae8"}}}`,
			"schema violation (config.schema_registry.confluent.url: url must begin with https:// when certificate_id is set)"},
		{"schema registry and cloudevents", `{` + goodServers + `,"cloudevents":"binary","schema_registry":{"confluent":{"url":"http://r","key_schema":{"subject_name":"s"}}}}`,
			"schema violation (config.schema_registry.confluent.url: schema_registry cannot be used with cloudevents)"},
		{"records that are null", `{` + goodServers + `,"authentication":null,"security":null,"headers":null,"record_key":null,"response":null,"error_handling":null,"schema_registry":null}`, ""},
		{"key from two places", `{` + goodServers + `,"key_query_arg":"k","record_key":{"parts":[{"from":"header","name":"h"}]}}`,
			"schema violation (config.@entity: only one or none of these fields must be set: 'key_query_arg', 'record_key.parts')"},
		{"key from nowhere", `{` + goodServers + `,"record_key":{"parts":[{"from":"cookie","name":"h"},{"from":"body"}]}}`,
			"2 schema violations (config.record_key.parts[1].from: expected one of: query_arg, header, body, consumer, uri_capture, constant; config.record_key.parts[2].name: required field missing)"},
		{"key from a consumer", `{` + goodServers + `,"record_key":{"parts":[{"from":"consumer","name":"email"}]}}`,
			"schema violation (config.record_key.parts[1].name: name must be id, username or custom_id when from is consumer)"},
		{"key without separator", `{` + goodServers + `,"record_key":{"parts":[{"from":"consumer","name":"id"}],"separator":""}}`, ""},
		{"topic with placeholders", `{"bootstrap_servers":[{"host":"a","port":1}],"topic":"a.{header.x y}.{body./a}","allowed_topics":["a.b.c"]}`, ""},
		{"placeholders without topics", `{"bootstrap_servers":[{"host":"a","port":1}],"topic":"a.{header.x}"}`,
			"schema violation (config.allowed_topics: allowed_topics must name the topics that the placeholders of topic may lead to)"},
		{"placeholder that is not closed", `{"bootstrap_servers":[{"host":"a","port":1}],"topic":"a.{header.x","allowed_topics":["a"]}`, "schema violation (config.topic: invalid value: braces do not match)"},
		{"placeholder without a name", `{"bootstrap_servers":[{"host":"a","port":1}],"topic":"a.{header}","allowed_topics":["a"]}`,
			"schema violation (config.topic: invalid value: a placeholder is {SOURCE.NAME}, such as {uri_capture.region})"},
		{"blank after a placeholder", `{"bootstrap_servers":[{"host":"a","port":1}],"topic":"{header.a} b","allowed_topics":["a"]}`,
			"schema violation (config.topic: invalid value: a topic name consists of letters, digits, '.', '_' and '-')"},
		{"allowed topic", `{` + goodServers + `,"allowed_topics":["a","b c"]}`, "schema violation (config.allowed_topics[2]: invalid value: a topic name consists of letters, digits, '.', '_' and '-')"},
		{"functions with a body", `{` + goodServers + `,"value_format":"body","message_by_lua_functions":["return 1"]}`,
			"schema violation (config.message_by_lua_functions: message_by_lua_functions cannot be used with value_format body)"},
		{"tombstones of messages", `{` + goodServers + `,"tombstones":true}`, "schema violation (config.value_format: value_format must be body when tombstones is true)"},
		{"metadata without waiting", `{` + goodServers + `,"response":{"metadata":true}}`, "schema violation (config.response.metadata: producer_async must be false when response.metadata is true)"},
		{"metadata", `{` + goodServers + `,"response":{"metadata":true,"status":201},"producer_async":false}`, ""},
		{"metadata without a body", `{` + goodServers + `,"response":{"metadata":true,"status":204},"producer_async":false}`,
			"schema violation (config.response.status: response.metadata cannot be used with response.status 204, which has no body)"},
		{"gating without a buffer", `{` + goodServers + `,"producer_async_health_gating":true,"producer_async":false}`,
			"schema violation (config.producer_async_health_gating: producer_async must be true when producer_async_health_gating is true)"},
		{"name that is no text", `{` + goodServers + `,"headers":{"name_mappings":{"a":1}}}`, "schema violation (config.headers.name_mappings: expected a string)"},
		{"status", `{` + goodServers + `,"response":{"status":404}}`, "schema violation (config.response.status: expected one of: 200, 201, 202, 204)"},
		{"empty table for a list", `{"topic":"t","bootstrap_servers":{}}`, "schema violation (config.bootstrap_servers: length must be at least 1)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := verdict(e, jsonMap(t, `{"name":"kafka-upstream","config":`+tc.config+`}`)); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	v, err := ours(t).insert("plugins", jsonMap(t, `{"name":"kafka-upstream","config":{`+goodServers+`,"producer_async":false}}`))
	if err != nil {
		t.Fatal(err)
	}
	c := v["config"].(map[string]any)
	for k, want := range map[string]any{"timeout": 10000.0, "forward_body": true, "forward_method": false, "producer_request_acks": 1.0, "producer_async": false} {
		if c[k] != want {
			t.Errorf("%s is %v, want %v", k, c[k], want)
		}
	}
	if len(c["cluster_name"].(string)) != 32 {
		t.Errorf("cluster_name is %v", c["cluster_name"])
	}
	auth := c["authentication"].(map[string]any)
	if user, ok := auth["user"]; user != nil || !ok || c["security"].(map[string]any)["ssl"] != false {
		t.Errorf("nested records: %v, %v", auth, c["security"])
	}
	if len(v["protocols"].([]any)) != 4 || v["enabled"] != true || len(v["id"].(string)) != 36 {
		t.Errorf("plugin %v", v)
	}
}

func TestPluginsThatAreNotEnabledAreRefused(t *testing.T) {
	e := ours(t)
	for raw, want := range map[string]string{
		`{"name":"x"}`:                     "schema violation (name: plugin 'x' not enabled; add it to the 'plugins' configuration property)",
		`{}`:                               "3 schema violations (config.bootstrap_servers: required field missing; config.topic: required field missing; name: required field missing)",
		`{"name":"kafka-upstream"}`:        "2 schema violations (config.bootstrap_servers: required field missing; config.topic: required field missing)",
		`{"name":"kafka-upstream","on":1}`: "3 schema violations (config.bootstrap_servers: required field missing; config.topic: required field missing; on: unknown field)",
	} {
		if got := verdict(e, jsonMap(t, raw)); got != want {
			t.Errorf("%s: %s", raw, got)
		}
	}
}
