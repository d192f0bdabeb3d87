package kongsim

import (
	"encoding/json"
	"strings"
	"testing"

	"kafka-upstream/schema"
)

// ours returns entities of the plugin with its real schema.
func ours(t testing.TB) *entities {
	t.Helper()
	s, err := parseSchema(schema.JSON())
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
		{"no port", `{"topic":"t","bootstrap_servers":[{"host":"a"}]}`, "schema violation (config.bootstrap_servers: {\n  {\n    port = \"required field missing\"\n  }\n})"},
		{"port too large", `{"topic":"t","bootstrap_servers":[{"host":"a","port":1},{"host":"a","port":65536}]}`, "schema violation (config.bootstrap_servers: {\n  [2] = {\n    port = \"value should be between 0 and 65535\"\n  }\n})"},
		{"port no integer", `{"topic":"t","bootstrap_servers":[{"host":"a","port":9092.5}]}`, "schema violation (config.bootstrap_servers: {\n  {\n    port = \"expected an integer\"\n  }\n})"},
		{"host with a blank", `{"topic":"t","bootstrap_servers":[{"host":"a b","port":1}]}`, "schema violation (config.bootstrap_servers: {\n  {\n    host = \"invalid value: must be a hostname or an IP\"\n  }\n})"},
		{"unknown field", `{` + goodServers + `,"topics":"x"}`, "schema violation (config.topics: unknown field)"},
		{"unknown nested field", `{` + goodServers + `,"security":{"tls":true}}`, "schema violation (config.security: {\n  tls = \"unknown field\"\n})"},
		{"acks", `{` + goodServers + `,"producer_request_acks":2}`, "schema violation (config.producer_request_acks: expected one of: -1, 0, 1)"},
		{"boolean", `{` + goodServers + `,"producer_async":"yes"}`, "schema violation (config.producer_async: expected a boolean)"},
		{"integer", `{` + goodServers + `,"timeout":"10"}`, "schema violation (config.timeout: expected an integer)"},
		{"record", `{` + goodServers + `,"authentication":"PLAIN"}`, "schema violation (config.authentication: expected a record)"},
		{"mechanism", `{` + goodServers + `,"authentication":{"strategy":"sasl","mechanism":"GSSAPI","user":"u","password":"p"}}`, "schema violation (config.authentication: {\n  mechanism = \"expected one of: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512\"\n})"},
		{"certificate id", `{` + goodServers + `,"security":{"ssl":true,"certificate_id":"x"}}`, "schema violation (config.security: {\n  certificate_id = \"expected a valid UUID\"\n})"},
		{"certificate without ssl", `{` + goodServers + `,"security":{"certificate_id":"0c526b08-ede8-5178-bef7-1e59d3503ae8"}}`,
			"schema violation (config.security: {\n  [\"@entity\"] = {\n    \"ssl must be true when certificate_id is set\"\n  },\n  ssl = \"value must be true\"\n})"},
		{"sasl without mechanism", `{` + goodServers + `,"authentication":{"strategy":"sasl"}}`,
			"schema violation (config.authentication: {\n  [\"@entity\"] = {\n    \"mechanism is required when strategy is sasl\"\n  },\n  mechanism = \"value must not be null\"\n})"},
		{"sasl", `{` + goodServers + `,"authentication":{"strategy":"sasl","mechanism":"PLAIN","user":"u","password":"{vault://env/p}"}}`, ""},
		{"tokenauth without scram", `{` + goodServers + `,"authentication":{"strategy":"sasl","mechanism":"PLAIN","user":"u","password":"p","tokenauth":true}}`,
			"schema violation (config.authentication: {\n  [\"@entity\"] = {\n    \"tokenauth is only valid with a SCRAM mechanism\"\n  },\n  mechanism = \"expected one of: SCRAM-SHA-256, SCRAM-SHA-512\"\n})"},
		{"tokenauth with scram", `{` + goodServers + `,"authentication":{"strategy":"sasl","mechanism":"SCRAM-SHA-512","user":"u","password":"p","tokenauth":true}}`, ""},
		{"empty table for a list", `{"topic":"t","bootstrap_servers":{}}`, "schema violation (config.bootstrap_servers: length must be at least 1)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, errs := e.check("plugins", jsonMap(t, `{"name":"kafka-upstream","config":`+tc.config+`}`))
			got := ""
			if errs != nil {
				got = violation(errs)
			}
			if got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			if _, err := json.Marshal(jsonErrors(errs)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	v, errs := ours(t).check("plugins", jsonMap(t, `{"name":"kafka-upstream","config":{`+goodServers+`,"producer_async":false}}`))
	if errs != nil {
		t.Fatal(violation(errs))
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
	if len(v["protocols"].([]any)) != 4 || v["enabled"] != true || !uuidForm.MatchString(v["id"].(string)) {
		t.Errorf("plugin %v", v)
	}
}

func TestPluginsThatAreNotEnabledAreRefused(t *testing.T) {
	e := ours(t)
	for raw, want := range map[string]string{
		`{"name":"x"}`:                     "schema violation (name: plugin 'x' not enabled; add it to the 'plugins' configuration property)",
		`{}`:                               "schema violation (name: required field missing)",
		`{"name":"kafka-upstream"}`:        "2 schema violations (config.bootstrap_servers: required field missing; config.topic: required field missing)",
		`{"name":"kafka-upstream","on":1}`: "3 schema violations (config.bootstrap_servers: required field missing; config.topic: required field missing; on: unknown field)",
	} {
		_, errs := e.check("plugins", jsonMap(t, raw))
		if got := violation(errs); got != want {
			t.Errorf("%s: %s", raw, got)
		}
	}
}

func TestSchemasThatKongWouldRefuseAreRefused(t *testing.T) {
	for raw, want := range map[string]string{
		`[]`:                       "no JSON object",
		`{"fields":[]}`:            "no name",
		`{"name":"x","fields":{}}`: "cannot be used",
		`{"name":"x","fields":[{"a":{"type":"string","colour":"red"}}]}`:                             "none that this stand-in",
		`{"name":"x","fields":[{"a":{"type":"text"}}]}`:                                              "cannot be used",
		`{"name":"x","fields":[{"a":{}}]}`:                                                           "no type",
		`{"name":"x","fields":[{"a":{"type":"set"}}]}`:                                               "no elements",
		`{"name":"x","fields":[{"a":{"type":"string","match":"(a)"}}]}`:                              "capture",
		`{"name":"x","fields":[{"a":{"type":"integer","between":[1]}}]}`:                             "cannot be used",
		`{"name":"x","fields":[{"a":{"type":"record","entity_checks":[{"mutually_magic":["a"]}]}}]}`: "none that this stand-in",
	} {
		_, err := parseSchema([]byte(raw))
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "not a JSON", "no JSON"), want) {
			t.Errorf("%s: %v", raw, err)
		}
	}
	s, err := parseSchema([]byte(`{"name":"x","fields":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newEntities("x", s); err == nil {
		t.Error("a schema without config was taken")
	}
}

func TestLuaPatterns(t *testing.T) {
	for _, tc := range []struct {
		lua, yes, no string
	}{
		{"[^%w%.%-_:%[%]]", "a b", "a.b-c_d:[0]"},
		{"[^%w%._%-]", "a/b", "a.b_c-d"},
		{"^%.%.?$", "..", "..."},
		{"^%u+$", "POST", "Post"},
		{"^a-b$", "aaab", "aac"},
		{"%D", "1a", "12"},
		{"^[a-c%d]*$", "abc12", "abd-"},
		{"[]]", "]", "["},
		{"a.c", "a\nc", "ac"},
		{"%%", "100%", "100"},
		{"[%a-]", "-", "1"},
		{"a^b", "a^b", "ab"},
		{"^x?y", "y", "ay"},
	} {
		re, err := luaPattern(tc.lua)
		if err != nil {
			t.Errorf("%s: %v", tc.lua, err)
			continue
		}
		if !re.MatchString(tc.yes) || re.MatchString(tc.no) {
			t.Errorf("%s became %s", tc.lua, re)
		}
	}
	for _, lua := range []string{"(", "[a", "a%", "%b()", "%f[a]", "%1", "[%S]", "[z-a]"} {
		if re, err := luaPattern(lua); err == nil {
			t.Errorf("%s became %s", lua, re)
		}
	}
}

func FuzzLuaPattern(f *testing.F) {
	f.Add("[^%w%.%-_:%[%]]", "a b")
	f.Fuzz(func(t *testing.T, lua, s string) {
		if re, err := luaPattern(lua); err == nil {
			re.MatchString(s)
		}
	})
}

func FuzzSchema(f *testing.F) {
	// Small seeds: the fuzzer spends its time on making large ones smaller.
	f.Add([]byte(`{"name":"x","fields":[{"a":{"type":"set","elements":{"type":"string","match":"^%w$"}}}]}`), []byte(`{"a":["b"]}`))
	f.Add([]byte(`{"name":"x","fields":[{"a":{"type":"record","fields":[{"b":{"type":"integer","between":[0,9]}}]}}],"entity_checks":[{"conditional":{"if_field":"a","if_match":{"ne":null},"then_field":"a","then_match":{"eq":null}}}]}`), []byte(`{"a":{"b":1}}`))
	f.Fuzz(func(t *testing.T, raw, config []byte) {
		s, err := parseSchema(raw)
		if err != nil {
			return
		}
		var v any
		if json.Unmarshal(config, &v) != nil {
			return
		}
		filled := s.fill(v)
		if errs, ok := s.validate(filled).(map[string]any); ok {
			violation(errs)
			if _, err := json.Marshal(jsonErrors(errs)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
