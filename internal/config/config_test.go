package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/registry"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/security/oauth"
	"kafka-upstream/schema"
)

const minimal = `{"bootstrap_servers":[{"host":"localhost","port":9092}],"topic":"t"}`

func parse(t *testing.T, s string) *Config {
	t.Helper()
	c, err := Parse([]byte(s))
	if err != nil {
		t.Fatalf("Parse(%s): %v", s, err)
	}
	return c
}

func TestAbsentFieldsTakeTheDefaultsOfKongsDocumentation(t *testing.T) {
	want := &Config{
		BootstrapServers: []Server{{"localhost", 9092}}, Topic: "t",
		Authentication: Authentication{OAuthBearer: OAuthBearer{TLSVerify: true}}, Security: Security{SSLVerify: true},
		Timeout: 10000, Keepalive: 60000, ForwardBody: true,
		Acks: 1, RequestTimeout: 2000, MessagesPerRequest: 200, BytesPerRequest: 1048576, MaxAttempts: 10, Backoff: 100,
		Async: true, FlushTimeout: 1000, BufferedMessages: 50000, BufferedBytes: 268435456,
		RecordKey: RecordKey{Separator: "|"}, Partitioner: "crc32", ValueFormat: "message", Split: "none", SplitLimit: 1000,
		Headers: Headers{Forward: true, Include: []string{}, Exclude: []string{}, Names: map[string]string{}, Repeated: "retain_duplicates"},
		SchemaRegistry: SchemaRegistry{Confluent{
			SSLVerify: true, ValueSchema: RegistrySchema{PayloadEncoding: "avro_json"}, KeySchema: RegistrySchema{PayloadEncoding: "avro_json"},
			Authentication: RegistryAuth{
				Mode: "none", OAuth2: OAuth2{GrantType: "client_credentials", Scopes: []string{"openid"}, Audience: []string{}},
				OAuth2Client: OAuth2Client{AuthMethod: "client_secret_post", ClientSecretJWTAlg: "HS512", HTTPVersion: 1.1, KeepAlive: true, SSLVerify: true, Timeout: 10000},
			},
		}},
		CloudEvents: "off", Response: Response{Status: 200}, Compression: "none",
		HealthFailures: 3, HealthProbe: 5000, HealthRecoveries: 1,
	}
	for _, s := range []string{
		minimal,
		strings.Replace(minimal, `"topic"`, `"authentication":{},"security":{},"topic"`, 1),
		strings.Replace(minimal, `"topic"`, `"authentication":[],"security":[],"topic"`, 1),
		strings.Replace(minimal, `"topic"`, `"authentication":null,"timeout":null,"topic"`, 1),
	} {
		if c := parse(t, s); !reflect.DeepEqual(c, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", s, c, want)
		}
	}
	if got := want.Timeout.Duration(); got != 10*time.Second {
		t.Errorf("timeout is %v", got)
	}
}

func TestKeysThatKongAddsArePassedOver(t *testing.T) {
	s := strings.Replace(minimal, `"topic"`, `"__seq__":3,"__plugin_id":"x","__key__":"k","__ws_id":"w","route_id":"r","service_id":null,
		"consumer_id":"c","plugin_instance_name":"n","$refs":{"a":"{vault://env/a}"},
		"authentication":{"$refs":{"user":"{vault://env/u}"},"user":"me"},"topic"`, 1)
	if c := parse(t, s); c.Authentication.User != "me" || c.Topic != "t" || c.PluginID != "x" {
		t.Errorf("got %+v", c)
	}
}

func TestEmptyTableMayArriveAsObjectWhereAListIsMeant(t *testing.T) {
	c := parse(t, `{"bootstrap_servers": { },"topic":"t"}`)
	if len(c.BootstrapServers) != 0 {
		t.Errorf("got %v", c.BootstrapServers)
	}
	if c := parse(t, `[]`); c.Topic != "" || c.MaxAttempts != 10 {
		t.Errorf("got %+v", c)
	}
	c = parse(t, `{"topic":"t","record_key":{"parts":[{"from":"constant","name":"k"},[]]},"headers":{"include_headers":{},"name_mappings":[]},"response":[]}`)
	if len(c.RecordKey.Parts) != 2 || c.RecordKey.Parts[0].Name != "k" || len(c.Headers.Include) != 0 || c.Response.Status != 200 {
		t.Errorf("got %+v", c)
	}
}

// unset returns what a field that is unset or empty may arrive as.
func unset(f schema.Field) []string {
	switch f.Type {
	case "record", "map", "array", "set":
		return []string{"null", "{}", "[]", " [ ] "}
	case "integer":
		if f.Default != nil {
			return []string{"null", fmt.Sprint(f.Default) + ".0", fmt.Sprint(f.Default) + "e0"}
		}
	}
	return []string{"null"}
}

// each calls do for all fields and those of records, with a configuration that sets the
// field to "%s".
func each(path string, fields []schema.Field, do func(f schema.Field, format string)) {
	for _, f := range fields {
		format := strings.Replace(path, "%s", `{"`+f.Name+`":%s}`, 1)
		do(f, format)
		if f.Type == "record" {
			each(format, f.Fields, do)
		}
	}
}

func TestEveryFieldMayBeNullOrEmptyOrAFloat(t *testing.T) {
	want := parse(t, "{}")
	want.violations = nil
	n := 0
	each("%s", schema.Config(), func(f schema.Field, format string) {
		for _, v := range unset(f) {
			n++
			c := parse(t, fmt.Sprintf(format, v))
			c.violations = nil
			if f.Type == "array" || f.Type == "set" || f.Type == "map" { // nil is as good as empty
				if got, want := fmt.Sprintf("%+v", c), fmt.Sprintf("%+v", want); got != want {
					t.Errorf("%s: %s: %s, want %s", format, v, got, want)
				}
			} else if !reflect.DeepEqual(c, want) {
				t.Errorf("%s: %s: %+v", format, v, c)
			}
		}
	})
	if n < 150 {
		t.Errorf("only %d", n)
	}
}

func TestRecordsAreMadeOfWhatIsConfigured(t *testing.T) {
	c := parse(t, `{"topic":"orders.{uri_capture.region}","topics_query_arg":"to","allowed_topics":["a","b"],
		"record_key":{"parts":[{"from":"header","name":"X-Id"},{"from":"body","name":"/id"}],"separator":"","required":true},
		"forward_uri":true,"exclude_headers":["cookie"],"value_format":"body","tombstones":true,"split":"ndjson","split_limit":7,
		"headers":{"forward_all_by_default":true,"include_headers":["i"],"exclude_headers":["e"],"name_mappings":{"a":"b"},"repeated_headers_behavior":"take_first"},
		"trace_headers":true,"timestamp_header":"x-time","cloudevents":"binary","cloudevents_source":"s","cloudevents_type":"t","producer_request_limits_bytes_per_request":2048}`)
	const limit = 2048 - producer.Overhead
	want := record.Options{
		Topic: "orders.{uri_capture.region}", TopicsQueryArg: "to", AllowedTopics: []string{"a", "b"},
		Key:            record.KeyOptions{Parts: []record.KeyPart{{From: record.FromHeader, Name: "X-Id"}, {From: record.FromBody, Name: "/id"}}, Required: true},
		Forward:        request.Fields{URI: true, Body: true, MaxBody: limit},
		ExcludeHeaders: []string{"cookie"},
		Headers:        record.HeaderOptions{Forward: true, All: true, Include: []string{"i"}, Exclude: []string{"e"}, Names: map[string]string{"a": "b"}, Repeated: "take_first"},
		BodyValue:      true, Tombstones: true, Split: record.SplitNDJSON, SplitLimit: 7,
		TraceHeaders: true, TimestampHeader: "x-time", CloudEvents: record.CloudEventsBinary, CloudEventsSource: "s", CloudEventsType: "t",
		MaxValue: limit,
	}
	if got := c.Record(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	key := parse(t, `{"key_query_arg":"id"}`).Record().Key
	if !reflect.DeepEqual(key, record.KeyOptions{Parts: []record.KeyPart{{From: record.FromQuery, Name: "id"}}}) {
		t.Errorf("key_query_arg is %+v", key)
	}
}

func TestWarningsNameWhatIsProbablyNotMeant(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                       "",
		`{"forward_headers":true}`: "messages may contain the headers authorization, cookie, proxy-authorization, apikey, which",
		`{"forward_headers":true,"exclude_headers":["Authorization","COOKIE","Proxy-Authorization"]}`:                             "messages may contain the headers apikey, which",
		`{"forward_headers":true,"exclude_headers":["authorization","cookie","proxy-authorization","apikey"]}`:                    "",
		`{"forward_headers":true,"value_format":"body"}`:                                                                          "",
		`{"headers":{"forward_all_by_default":true}}`:                                                                             "records may have the headers authorization, cookie, proxy-authorization, apikey, which",
		`{"headers":{"forward_all_by_default":true,"exclude_headers":["authorization","cookie","proxy-authorization","apikey"]}}`: "",
		`{"headers":{"forward_all_by_default":true,"forward_http_headers_as_record_headers":false}}`:                              "",
		`{"headers":{"include_headers":["authorization"]}}`:                                                                       "",
		`{"topics_query_arg":"t"}`:                                   "topics_query_arg has no effect",
		`{"authentication":{"mechanism":"OAUTHBEARER"}}`:             "authentication.mechanism is used although authentication.strategy is not set",
		`{"authentication":{"mechanism":"PLAIN","strategy":"sasl"}}`: "",
		`{"topics_query_arg":"t","allowed_topics":["a"]}`:            "",
	} {
		got := strings.Join(parse(t, config).Warnings(), "\n")
		if !strings.HasPrefix(got, want) || (got == "") != (want == "") || strings.Contains(got, "\n") {
			t.Errorf("%s: %q, want %q", config, got, want)
		}
	}
}

func TestParseNamesTheFieldAndShowsNoValue(t *testing.T) {
	for s, want := range map[string]string{
		`{"topic":5}`:                                "topic has the wrong type: expected a string",
		`{"timeout":"secret"}`:                       "timeout has the wrong type: expected an integer",
		`{"timeout":1.5}`:                            "timeout has the wrong type: expected an integer",
		`{"forward_body":"secret"}`:                  "forward_body has the wrong type: expected true or false",
		`{"authentication":{"password":["secret"]}}`: "authentication.password has the wrong type: expected a string",
		`{"authentication":"secret"}`:                "authentication has the wrong type: expected an object",
		`{"bootstrap_servers":{"host":"secret"}}`:    "bootstrap_servers has the wrong type: expected an array",
		`{"topic":"secret"`:                          "the configuration is not JSON",
		`"secret"`:                                   "the configuration is not a JSON object",
	} {
		_, err := Parse([]byte(s))
		if err == nil || err.Error() != want {
			t.Errorf("%s: error is %v, want %s", s, err, want)
		}
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	with := func(s string) string { return strings.TrimSuffix(minimal, "}") + "," + s + "}" }
	for s, want := range map[string]string{
		minimal:                                                                                                      "",
		`{"topic":"t"}`:                                                                                              "bootstrap_servers is empty",
		strings.Replace(minimal, `"t"`, `""`, 1):                                                                     "topic is empty",
		strings.Replace(minimal, `9092`, `0`, 1):                                                                     "port 0",
		strings.Replace(minimal, `"localhost"`, `""`, 1):                                                             "without a host",
		with(`"forward_body":false`):                                                                                 "at least one of forward_method, forward_uri, forward_headers and forward_body must be true",
		with(`"forward_body":false,"forward_uri":true`):                                                              "",
		with(`"authentication":{"strategy":"sasl"}`):                                                                 "mechanism is required",
		with(`"authentication":{"strategy":"kerberos"}`):                                                             "strategy must be sasl",
		with(`"authentication":{"mechanism":"GSSAPI"}`):                                                              "mechanism must be PLAIN",
		with(`"authentication":{"mechanism":"PLAIN"}`):                                                               "user is empty",
		with(`"authentication":{"mechanism":"PLAIN","user":"u","password":""}`):                                      "password is empty",
		with(`"authentication":{"mechanism":"PLAIN","user":"u","password":"p"}`):                                     "",
		with(`"authentication":{"mechanism":"PLAIN","user":"u","password":"p","tokenauth":true}`):                    "tokenauth is only valid with a SCRAM mechanism",
		with(`"authentication":{"tokenauth":true}`):                                                                  "tokenauth is only valid with a SCRAM mechanism",
		with(`"authentication":{"mechanism":"SCRAM-SHA-512","user":"u","password":"p","tokenauth":true}`):            "",
		with(`"security":{"certificate_id":"7c8b3ba3-9d3c-4b3f-8b6d-0f3c6a5f1c11"}`):                                 "ssl must be true",
		with(`"security":{"ssl":true,"certificate_id":"../../etc/passwd"}`):                                          "not a UUID",
		with(`"security":{"ssl":true,"certificate_id":"7c8b3ba3-9d3c-4b3f-8b6d-0f3c6a5f1c11"}`):                      "",
		with(`"producer_request_acks":2`):                                                                            "producer_request_acks: expected one of: -1, 0, 1",
		with(`"producer_request_acks":-1`):                                                                           "",
		with(`"timeout":0`):                                                                                          "timeout: value should be between 1 and 86400000",
		with(`"producer_request_limits_messages_per_request":0`):                                                     "between 1 and",
		with(`"producer_async_buffering_limits_messages_in_memory":-1`):                                              "between 1 and",
		with(`"value_format":"body","forward_body":false`):                                                           "",
		with(`"value_format":"raw"`):                                                                                 "value_format: expected one of: message, body",
		with(`"cloudevents":"binary","forward_body":false`):                                                          "",
		with(`"cloudevents":"binary","message_by_lua_functions":["return 1"]`):                                       "message_by_lua_functions cannot be used with cloudevents",
		with(`"tombstones":true`):                                                                                    "value_format must be body when tombstones is true",
		with(`"value_format":"body","message_by_lua_functions":["return 1"]`):                                        "message_by_lua_functions cannot be used with value_format body",
		with(`"key_query_arg":"k","record_key":{"parts":[{"from":"header","name":"h"}]}`):                            "only one or none of these fields must be set: 'key_query_arg', 'record_key.parts'",
		with(`"record_key":{"parts":[{"from":"consumer","name":"email"}]}`):                                          "record_key.parts[1].name: name must be id, username or custom_id when from is consumer",
		with(`"response":{"metadata":true}`):                                                                         "producer_async must be false when response.metadata is true",
		with(`"response":{"metadata":true},"producer_async":false`):                                                  "",
		with(`"producer_async_health_gating":true,"producer_async":false`):                                           "producer_async must be true when producer_async_health_gating is true",
		with(`"producer_async_durable":true,"producer_async":false`):                                                 "producer_async must be true when producer_async_durable is true",
		with(`"producer_async_durable":true`):                                                                        "",
		with(`"producer_idempotent":true`):                                                                           "producer_request_acks must be -1 when producer_idempotent is true",
		with(`"producer_idempotent":true,"producer_request_acks":-1`):                                                "",
		with(`"producer_idempotent":false`):                                                                          "",
		with(`"producer_async_health_failure_threshold":101`):                                                        "producer_async_health_failure_threshold: value should be between 1 and 100",
		with(`"schema_registry":{"confluent":{"url":"http://r"}}`):                                                   "value_schema.subject_name is empty, and so is that of key_schema",
		with(confluent(`"url":"http://r"`)):                                                                          "",
		with(confluent(`"url":"r:8081"`)):                                                                            "url must be a URL such as",
		with(confluent(`"url":"http://me:secret@r"`)):                                                                "schema_registry.confluent.url contains a user: set authentication.basic instead",
		with(confluent(`"url":"http://r?x"`)):                                                                        "url contains a query or a fragment",
		with(confluent(`"url":"http://r","key_schema":{"subject_name":".."}`)):                                       "key_schema.subject_name is not a valid name",
		with(confluent(`"url":"http://r","key_schema":{"schema_version":"newest"}`)):                                 "key_schema.schema_version must be the number",
		with(confluent(`"url":"http://r","certificate_id":"7c8b3ba3-9d3c-4b3f-8b6d-0f3c6a5f1c11"`)):                  "certificate_id needs a url that begins with https://",
		with(confluent(`"url":"https://r","certificate_id":"../x"`)):                                                 "certificate_id is not a UUID",
		with(confluent(`"url":"http://r","authentication":{"mode":"basic"}`)):                                        "basic needs a username and a password",
		with(confluent(`"url":"http://r","authentication":{"mode":"none","basic":{"username":"u","password":"p"}}`)): "",
		with(confluent(`"url":"http://r","authentication":{"mode":"oauth2"}`)):                                       "oauth2.token_endpoint is empty",
		with(confluent(`"url":"http://r","authentication":{"mode":"oauth2","oauth2":{"token_endpoint":"http://t","client_id":"c","client_secret":"s"}}`)):  "", // oauth2_client may be absent
		with(confluent(`"url":"http://r","authentication":{"mode":"oauth2","oauth2":{"token_endpoint":"http://t","client_id":"c"},"oauth2_client":null}`)): "oauth2.client_secret",
		with(confluent(`"url":"http://r","authentication":{"identity_pool_id":"a\nb"}`)):                                                                   "identity_pool_id has characters",
		with(confluent(`"url":"http://r"`) + `,"cloudevents":"binary"`):                                                                                    "schema_registry cannot be used with cloudevents",
		with(`"schema_registry":{"confluent":{"ttl":0.5}}`):                                                                                                "",
		with(`"unknown":1,"response":{"$refs":1}`):                                                                                                         "",
		with(`"allowed_topics":["a b"]`):                                                                                                                   "allowed_topics[1]: invalid value: a topic name consists of",
		with(`"authentication":{"mechanism":"OAUTHBEARER","oauthbearer":{"token_endpoint_url":"https://i/t","client_id":"c","client_secret":"s","scopes":["a"],"extensions":{"logicalCluster":"l"}}}`): "",
		with(`"authentication":{"mechanism":"OAUTHBEARER","oauthbearer":{"token_endpoint_url":"https://i/t","client_id":"c","client_secret":""}}`):                                                     "authentication.oauthbearer.client_secret is empty (a vault reference",
		with(`"authentication":{"mechanism":"OAUTHBEARER","oauthbearer":{"token_endpoint_url":"i","client_id":"c","client_secret":"s"}}`):                                                              "authentication.oauthbearer.token_endpoint_url must be a URL",
		with(`"authentication":{"mechanism":"OAUTHBEARER","oauthbearer":{"token_file":"/t"}}`):                                                                                                         "",
		with(`"authentication":{"mechanism":"OAUTHBEARER","oauthbearer":{"token_file":"/t","token_endpoint_url":"https://i/t"}}`):                                                                      "both token_file and token_endpoint_url",
		with(`"authentication":{"mechanism":"OAUTHBEARER","oauthbearer":{"token_file":"/t","extensions":{"auth":"x"}}}`):                                                                               "extensions contains auth",
		with(`"authentication":{"mechanism":"OAUTHBEARER","oauthbearer":{"token_file":"/` + strings.Repeat("t", 4096) + `"}}`):                                                                         "authentication.oauthbearer.token_file has 4097 bytes: it may have 4096",
		with(`"authentication":{"mechanism":"OAUTHBEARER","oauthbearer":{"token_file":"/t","scopes":["a"` + strings.Repeat(`,"a"`, 100) + `]}}`):                                                       "more than 100 scopes",
		with(`"authentication":{"mechanism":"PLAIN","user":"u","password":"p","oauthbearer":{"client_id":"c"}}`):                                                                                       "",
	} {
		err := parse(t, s).Validate()
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", s, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error is %v, want %s", s, err, want)
		}
	}
}

// confluent returns settings of a registry with a subject.
func confluent(settings string) string {
	return `"schema_registry":{"confluent":{"value_schema":{"subject_name":"s"},` + settings + `}}`
}

func TestSchemasAreThoseThatAreConfigured(t *testing.T) {
	if _, ok := parse(t, minimal).Schemas(); ok {
		t.Error("there are schemas without a registry")
	}
	with := func(s string) registry.Options {
		o, ok := parse(t, strings.TrimSuffix(minimal, "}")+","+confluent(s)+"}").Schemas()
		if !ok {
			t.Errorf("%s: no schemas", s)
		}
		return o
	}
	for s, want := range map[string]time.Duration{`"ttl":null`: 5 * time.Minute, `"ttl":0`: 0, `"ttl":0.5`: time.Second / 2, `"ttl":3600`: time.Hour} {
		if got := with(`"url":"http://r",` + s).TTL; got != want {
			t.Errorf("%s is %v", s, got)
		}
	}
	got := with(`"url":"https://r/x","ssl_verify":false,"certificate_id":"i","key_schema":{"subject_name":"k","schema_version":"7"},"authentication":{
		"mode":"oauth2","basic":{"username":"u","password":"p"},"logical_cluster_id":"lsrc","identity_pool_id":"pool",
		"oauth2":{"token_endpoint":"https://t","grant_type":"password","client_id":"c","client_secret":"cs","username":"ou","password":"op","scopes":["s"],"audience":["a"],"token_headers":{"h":"1"},"token_post_args":{"f":"2"}},
		"oauth2_client":{"auth_method":"client_secret_jwt","client_secret_jwt_alg":"HS256","http_proxy":"http://p","http_proxy_authorization":"pa","https_proxy":"http://q","https_proxy_authorization":"qa","no_proxy":"n","http_version":1.0,"keep_alive":false,"ssl_verify":false,"timeout":7}}`)
	want := registry.Options{
		URL: "https://r/x", TTL: registry.DefaultTTL, SkipVerify: true, CertificateID: "i", MaxValue: 2 << 20,
		Value: registry.Subject{Name: "s"}, Key: registry.Subject{Name: "k", Version: "7"},
		Auth: registry.Auth{Mode: "oauth2", User: "u", Password: "p", ClusterID: "lsrc", IdentityPoolID: "pool", OAuth: oauth.Options{
			TokenURL: "https://t", GrantType: "password", ClientID: "c", ClientSecret: "cs", Username: "ou", Password: "op",
			Scopes: []string{"s"}, Audience: []string{"a"}, Headers: map[string]string{"h": "1"}, Form: map[string]string{"f": "2"},
			AuthMethod: "client_secret_jwt", JWTAlgorithm: "HS256", HTTPProxy: "http://p", HTTPProxyAuthorization: "pa", HTTPSProxy: "http://q", HTTPSProxyAuthorization: "qa",
			NoProxy: "n", HTTP10: true, NoKeepAlive: true, SkipVerify: true, Timeout: 7 * time.Millisecond,
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("the options are not those of the configuration") // they print without what differs
	}
}

func TestKeyOfAProducerTellsApartWhatMattersToKafkaAlone(t *testing.T) {
	base := parse(t, minimal).Producer().Key()
	with := func(s string) producer.Key {
		return parse(t, strings.TrimSuffix(minimal, "}")+","+s+"}").Producer().Key()
	}
	for _, s := range []string{
		`"cluster_name":"x"`, `"producer_idempotent":false`, `"forward_body":false`, `"forward_uri":true`, `"forward_headers":true`, `"forward_method":true`,
		`"compression_type":"none"`, `"producer_async_health_failure_threshold":7`, `"record_key":{"required":true}`, `"response":{"status":201}`, `"message_by_lua_functions":["x"]`,
		`"__plugin_id":"x"`, `"timeout":10000`, `"topic":"u"`, `"keepalive":1`, `"bootstrap_servers":[{"host":"localhost","port":9092}]`,
	} {
		if with(s) != base {
			t.Errorf("%s makes another producer", s)
		}
	}
	seen := map[producer.Key]string{base: "base"}
	for _, s := range []string{
		`"bootstrap_servers":[{"host":"localhost","port":9093}]`, `"timeout":1`, `"keepalive_enabled":true`,
		`"authentication":{"password":"a"}`, `"authentication":{"password":"b"}`, `"authentication":{"user":"a"}`, `"authentication":{"mechanism":"PLAIN"}`,
		`"authentication":{"tokenauth":true}`, `"authentication":{"oauthbearer":{"token_endpoint_url":"a"}}`, `"authentication":{"oauthbearer":{"client_id":"a"}}`,
		`"authentication":{"oauthbearer":{"client_secret":"a"}}`, `"authentication":{"oauthbearer":{"client_secret":"b"}}`, `"authentication":{"oauthbearer":{"scopes":["a"]}}`,
		`"authentication":{"oauthbearer":{"scopes":["b"]}}`, `"authentication":{"oauthbearer":{"extensions":{"a":"b"}}}`, `"authentication":{"oauthbearer":{"extensions":{"a":"c"}}}`,
		`"authentication":{"oauthbearer":{"token_file":"a"}}`, `"authentication":{"oauthbearer":{"token_file":"b"}}`, `"authentication":{"oauthbearer":{"token_endpoint_tls_verify":false}}`,
		`"security":{"ssl":true}`, `"security":{"ssl_verify":false}`, `"security":{"certificate_id":"x"}`,
		`"producer_request_acks":0`, `"producer_request_acks":-1`, `"producer_request_acks":-1,"producer_idempotent":false`, `"producer_request_timeout":1`, `"producer_request_limits_messages_per_request":1`,
		`"producer_request_limits_bytes_per_request":2048`, `"producer_request_retries_max_attempts":1`, `"producer_request_retries_backoff_timeout":1`,
		`"producer_async":false`, `"producer_async_flush_timeout":1`, `"producer_async_buffering_limits_messages_in_memory":1`,
		`"producer_async_buffering_limits_bytes_in_memory":2048`, `"compression_type":"lz4"`, `"partitioner":"murmur2"`, `"partitioner":"sticky"`, `"compression_type":"zstd"`, `"producer_async_health_gating":true`,
		`"producer_async_health_gating":true,"producer_async_health_failure_threshold":7`, `"producer_async_health_gating":true,"producer_async_health_probe_interval":700`,
		`"producer_async_health_gating":true,"producer_async_health_recovery_threshold":7`, `"producer_async_durable":true`,
	} {
		d := with(s)
		if other, ok := seen[d]; ok {
			t.Errorf("%s shares a producer with %s", s, other)
		}
		seen[d] = s
	}
	a := parse(t, `{"topic":"t","bootstrap_servers":[{"host":"a","port":1},{"host":"b","port":2}]}`)
	b := parse(t, `{"topic":"t","bootstrap_servers":[{"host":"b","port":2},{"host":"a","port":1}]}`)
	if a.Producer().Key() != b.Producer().Key() {
		t.Error("the order of the bootstrap servers, a set, makes another producer")
	}
}

func TestProducerIsIdempotentWithAllAcksUnlessThatIsTurnedOff(t *testing.T) {
	for settings, want := range map[string]bool{
		`"producer_request_acks":-1`: true, `"producer_request_acks":-1,"producer_idempotent":null`: true, `"producer_request_acks":-1,"producer_idempotent":true`: true,
		`"producer_request_acks":-1,"producer_idempotent":false`: false, `"producer_request_acks":1`: false, `"producer_request_acks":0`: false,
	} {
		if got := parse(t, strings.TrimSuffix(minimal, "}")+","+settings+"}").Producer().Idempotent; got != want {
			t.Errorf("%s: %v", settings, got)
		}
	}
}

func TestConfigPrintsWithoutItsSecrets(t *testing.T) {
	c := parse(t, strings.TrimSuffix(minimal, "}")+`,"authentication":{"mechanism":"PLAIN","user":"hush-user","password":"hush-password",
		"oauthbearer":{"client_secret":"hush-secret","extensions":{"a":"hush"}}},`+
		confluent(`"url":"http://r","authentication":{"basic":{"username":"hush","password":"hush"},"oauth2":{"token_endpoint":"http://t","client_secret":"hush"},"oauth2_client":{"http_proxy_authorization":"hush"}}`)+`}`)
	o, _ := c.Schemas()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, v := range []any{c, *c, c.Authentication, &c.Authentication, c.Authentication.OAuthBearer, &c.Authentication.OAuthBearer,
			c.SchemaRegistry, &c.SchemaRegistry.Confluent.Authentication, o, &o, o.Auth} {
			if s := fmt.Sprintf(format, v); strings.Contains(s, "hush") {
				t.Errorf("%s shows %s", format, s)
			}
		}
	}
	if s := c.Authentication.LogValue().String(); strings.Contains(s, "hush") || !strings.Contains(s, "PLAIN") {
		t.Errorf("the log shows %s", s)
	}
}

func TestAddressBracketsIPv6(t *testing.T) {
	for s, want := range map[Server]string{
		{"h", 1}: "h:1", {"::1", 2}: "[::1]:2", {"[::1]", 3}: "[::1]:3", {"10.0.0.1", 4}: "10.0.0.1:4",
	} {
		if got := s.Address(); got != want {
			t.Errorf("%v: %s, want %s", s, got, want)
		}
	}
}

// Every field of the schema has a place in Config, and the other way round.
func TestSchemaAndConfigHaveTheSameFields(t *testing.T) {
	check("", reflect.TypeFor[Config](), schema.Config(), t)
}

func check(path string, typ reflect.Type, fields []schema.Field, t *testing.T) {
	tags := make(map[string]reflect.StructField)
	for i := range typ.NumField() {
		f := typ.Field(i)
		if !f.IsExported() || f.Name == "PluginID" {
			continue
		}
		tags[f.Tag.Get("json")] = f
	}
	for _, f := range fields {
		sf, ok := tags[f.Name]
		if !ok {
			t.Errorf("Config lacks %s%s", path, f.Name)
			continue
		}
		delete(tags, f.Name)
		if f.Description == "" {
			t.Errorf("%s%s has no description", path, f.Name)
		}
		inner := sf.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			check(path+f.Name+".", inner, f.Fields, t)
		}
	}
	for name := range tags {
		t.Errorf("the schema lacks %s%s", path, name)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(`{"authentication":[],"bootstrap_servers":{}}`))
	f.Add([]byte(`{"authentication":{"mechanism":"OAUTHBEARER","oauthbearer":{"token_endpoint_url":"https://i/t","client_id":"c","scopes":{},"extensions":[]}}}`))
	f.Add([]byte(`[{}]`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"topic":"a.{header.x}.b","allowed_topics":["a"],"record_key":{"parts":[{"from":"body","name":"/a"},null]},"headers":{"name_mappings":{"a":1}}}`))
	f.Add([]byte(`{"timeout":1e3,"split_limit":1.0,"schema_registry":{"confluent":{"ttl":1e400}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			return
		}
		_ = c.Validate()
		_, _ = c.Record(), c.Warnings()
		if first, second := c.Producer().Key(), c.Producer().Key(); first != second {
			t.Error("the key differs from call to call")
		}
	})
}
