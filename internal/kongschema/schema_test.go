package kongschema

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestSchemasThatKongWouldRefuseAreRefused(t *testing.T) {
	for raw, want := range map[string]string{
		`[]`:                       "cannot be used",
		`{"fields":[]}`:            "no name",
		`{"name":"x","fields":{}}`: "cannot be used",
		`{"name":"x","fields":[{"a":{"type":"string","colour":"red"}}]}`:                                   "unknown field",
		`{"name":"x","fields":[{"a":{"type":"text"}}]}`:                                                    "not known here",
		`{"name":"x","fields":[{"a":{}}]}`:                                                                 "not known here",
		`{"name":"x","fields":[{"a":{"type":"string"},"b":{"type":"string"}}]}`:                            "one key",
		`{"name":"x","fields":[{"a":{"type":"set"}}]}`:                                                     "no elements",
		`{"name":"x","fields":[{"a":{"type":"string","match_none":[{"pattern":"(a)"}]}}]}`:                 "not known",
		`{"name":"x","fields":[{"a":{"type":"integer","between":[1]}}]}`:                                   "1 values",
		`{"name":"x","fields":[{"a":{"type":"record","entity_checks":[{"mutually_magic":["a"]}]}}]}`:       "unknown field",
		`{"name":"x","fields":[{"a":{"type":"map","keys":{"type":"string"}}}]}`:                            "no values",
		`{"name":"x","fields":[{"a":{"type":"map","keys":{"type":"string"},"values":{}}}]}`:                "not known here",
		`{"name":"x","fields":[{"a":{"type":"string","description":"short"}}]}`:                            "10 to 500",
		`{"name":"x","fields":[{"a":{"type":"record","entity_checks":[{"mutually_exclusive":["b.c"]}]}}]}`: `names "b.c", which is no field`,
		`{"name":"x","fields":[{"a":{"type":"record","fields":[{"b":{"type":"record","fields":[]}},{"c":{"type":"string"}}],"entity_checks":[{"conditional":{"if_field":"c","if_match":{"eq":"d"},"then_field":"b","then_match":{"ne":null},"then_err":"no"}}]}}]}`: `compares "b", a record`,
		`{"name":"x","fields":[{"a":{"type":"record","default":{},"fields":[{"b":{"type":"string"}}],"entity_checks":[{"conditional_at_least_one_of":{"if_field":"b","if_match":{"eq":"c"},"then_at_least_one_of":["b"]}}]}}]}`:                                     `"a" has a default and conditional_at_least_one_of`,
	} {
		if _, err := Parse([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestLuaPatterns(t *testing.T) {
	for _, tc := range []struct {
		lua, yes, no string
	}{
		{"[^%w%.%-_:%[%]]", "a b", "a.b-c_d:[0]"},
		{"^[^:]*:%d*$", "kafka:9092", "::1"},
		{"^%[.*%]:%d*$", "[::1]:1", "[::1]"},
		{"^%.%.?$", "..", "..."},
		{"^%u+$", "POST", "Post"},
		{"a.c", "a\nc", "ac"},
		{"%%", "100%", "100"},
	} {
		re, err := compile(tc.lua)
		if err != nil {
			t.Errorf("%s: %v", tc.lua, err)
		} else if !re.MatchString(tc.yes) || re.MatchString(tc.no) {
			t.Errorf("%s became %s", tc.lua, re)
		}
	}
	for _, lua := range []string{"(", "[a", "a%", "%b()", "%f[a]", "%1", "[%S]", "[z-a]", "a-b"} {
		if re, err := compile(lua); err == nil {
			t.Errorf("%s became %s", lua, re)
		}
	}
}

const language = `{"name":"x","fields":[
	{"s":{"type":"string","len_max":3}}, {"free":{"type":"string","len_min":0}}, {"mode":{"type":"string","default":"off","one_of":["off","on"]}},
	{"list":{"type":"array","len_max":2,"elements":{"type":"record","fields":[{"from":{"type":"string","required":true}},{"to":{"type":"string"}}],
		"entity_checks":[{"conditional":{"if_field":"from","if_match":{"eq":"a"},"then_field":"to","then_match":{"one_of":["b"]},"then_err":"to must be b"}}]}}},
	{"map":{"type":"map","len_max":2,"keys":{"type":"string"},"values":{"type":"string","len_max":3}}},
	{"must":{"type":"record","fields":[{"n":{"type":"number","between":[0,1]}},{"on":{"type":"boolean","default":true}}]}},
	{"may":{"type":"record","required":false,"fields":[{"needed":{"type":"string","required":true}}]}},
	{"given":{"type":"record","required":false,"default":{},"fields":[{"n":{"type":"integer","default":3}},{"set":{"type":"array","elements":{"type":"string"}}}]}},
	{"url":{"type":"string","match_none":[{"pattern":"@","err":"no user"}],"match_all":[{"pattern":"^https?://","err":"no scheme"},{"pattern":"//.","err":"no host"}]}},
	{"version":{"type":"string","match_any":{"patterns":["^latest$","^%d+$"],"err":"no version"}}},
	{"secret":{"type":"string","referenceable":true,"one_of":["x"]}}],
	"entity_checks":[%s]}`

// parse returns the schema, as a plugin has it: its checks are those of a record.
func parse(t testing.TB, checks string) *Field {
	t.Helper()
	inner := strings.TrimPrefix(strings.Replace(language, "%s", checks, 1), `{"name":"x",`)
	f, err := Parse([]byte(`{"name":"x","fields":[{"config":{"type":"record",` + inner + `}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return f.Field("config")
}

func value(t testing.TB, raw string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

func TestFillGivesDefaultsToWhatIsAbsentAndNotToNull(t *testing.T) {
	f := parse(t, "")
	for raw, want := range map[string]string{
		`{}`: `{"mode":"off","must":{"on":true,"n":null},"given":{"n":3,"set":null},"may":null,"s":null,"free":null,"list":null,"map":null,"url":null,"version":null,"secret":null}`,
		`{"mode":null,"must":{"on":null},"given":null,"may":{},"list":{},"map":[]}`: `{"mode":null,"must":{"on":null,"n":null},"given":null,"may":{"needed":null},"s":null,"free":null,"list":[],"map":{},"url":null,"version":null,"secret":null}`,
		`{"must":[],"list":[{"from":"a"}],"given":{"n":4,"x":1}}`:                   `{"mode":"off","must":{"on":true,"n":null},"given":{"n":4,"set":null,"x":1},"may":null,"s":null,"free":null,"list":[{"from":"a","to":null}],"map":null,"url":null,"version":null,"secret":null}`,
	} {
		if got := f.Fill(value(t, raw)); !reflect.DeepEqual(got, value(t, want)) {
			b, _ := json.Marshal(got)
			t.Errorf("%s becomes %s, want %s", raw, b, want)
		}
	}
}

func TestValuesAreJudgedInKongsWords(t *testing.T) {
	f := parse(t, "")
	for raw, want := range map[string]string{
		`{}`:                      "",
		`{"s":"","free":""}`:      "s: length must be at least 1",
		`{"s":"abcd"}`:            "s: length must be at most 3",
		`{"mode":"up"}`:           "mode: expected one of: off, on",
		`{"must":null}`:           "must: required field missing",
		`{"must":{"n":1.5}}`:      "must.n: value should be between 0 and 1",
		`{"must":{"n":0.5}}`:      "",
		`{"may":{}}`:              "may.needed: required field missing",
		`{"may":null}`:            "",
		`{"given":{"n":1.5}}`:     "given.n: expected an integer",
		`{"given":3}`:             "given: expected a record",
		`{"list":"a"}`:            "list: expected an array",
		`{"list":[null]}`:         "list[1]: required field missing",
		`{"list":[{"from":"a"}]}`: "",
		`{"list":[{"from":"b","to":"c"},{"from":"a","to":"c"}]}`: "list[2].to: to must be b",
		`{"list":[{"from":"b"},{"from":"b"},{"from":"b"}]}`:      "list: length must be at most 2",
		`{"map":{"a":"b"}}`:                      "",
		`{"map":"a"}`:                            "map: expected a map",
		`{"map":{"a":1}}`:                        "map: expected a string",
		`{"map":{"":"a"}}`:                       "map: length must be at least 1",
		`{"map":{"a":null}}`:                     "map: required field missing",
		`{"map":{"a":"abcd"}}`:                   "map: length must be at most 3",
		`{"map":{"a":"1","b":"2","c":"3"}}`:      "map: length must be at most 2",
		`{"secret":"{vault://env/x}"}`:           "",
		`{"secret":"y"}`:                         "secret: expected one of: x",
		`{"url":"https://a","version":"latest"}`: "",
		`{"url":"http://","version":"12"}`:       "url: no host",
		`{"url":"ftp://"}`:                       "url: no scheme",
		`{"url":"ftp://a@b"}`:                    "url: no user",
		`{"version":"v1"}`:                       "version: no version",
		`{"other":null,"s":1}`:                   "other: unknown field; s: expected a string",
	} {
		p := Problems{}
		f.Validate("", f.Fill(value(t, raw)), p)
		if got := p.String(); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

func TestEntityChecks(t *testing.T) {
	conditional := func(ifField, ifMatch, thenField, thenMatch string) string {
		return `{"conditional":{"if_field":"` + ifField + `","if_match":` + ifMatch + `,"then_field":"` + thenField + `","then_match":` + thenMatch + `,"then_err":"no"}}`
	}
	const atLeastOne = `{"conditional_at_least_one_of":{"if_field":"mode","if_match":{"eq":"on"},"then_at_least_one_of":["list","given.set"],"then_err":"needs %s"}}`
	for _, tc := range []struct{ check, good, bad, problem string }{
		{`{"mutually_exclusive":["s","given.set"]}`, `{"s":"a","given":{"set":[]}}`, `{"s":"a","given":{"set":["b"]}}`, "@entity: only one or none of these fields must be set: 's', 'given.set'"},
		{`{"conditional_at_least_one_of":{"if_field":"s","if_match":{"ne":null},"then_at_least_one_of":["may.needed","list"]}}`, `{"s":"a","may":{"needed":"b"}}`,
			`{"s":"a","may":null,"list":[]}`, "@entity: at least one of these fields must be non-empty: 'may.needed', 'list'"},
		{`{"conditional_at_least_one_of":{"if_field":"s","if_match":{"eq":"a"},"then_at_least_one_of":["list"]}}`, `{"s":"b"}`, `{"s":"a"}`, "@entity: at least one of these fields must be non-empty: 'list'"},
		{conditional("s", `{"match":"%{"}`, "list", `{"ne":null,"len_min":1}`), `{"s":"a"}`, `{"s":"{a","list":[]}`, "list: no"},
		{conditional("s", `{"match":"%{"}`, "list", `{"ne":null,"len_min":1}`), `{"s":"{a","list":[{"from":"b"}]}`, `{"s":"{a"}`, "list: no"},
		{conditional("mode", `{"eq":"on"}`, "list", `{"len_max":0}`), `{"mode":"on","list":[]}`, `{"mode":"on","list":[{"from":"b"}]}`, "list: no"},
		{conditional("mode", `{"eq":"on"}`, "list", `{"len_max":0}`), `{"mode":"on"}`, `{"mode":"on","list":[{"from":"b"}]}`, "list: no"},
		{conditional("mode", `{"ne":"on"}`, "must.on", `{"ne":true}`), `{"mode":null,"must":{"on":false}}`, `{"mode":null}`, "must.on: no"},
		{conditional("mode", `{"ne":"on"}`, "given.n", `{"ne":3}`), `{"given":null}`, `{}`, "given.n: no"},
		{atLeastOne, `{"mode":"on","list":[{"from":"b"}]}`, `{"mode":"on","list":[],"given":{"set":[]}}`, "@entity: needs 'list', 'given.set'"},
		{atLeastOne, `{}`, `{"mode":"on","given":null}`, "@entity: needs 'list', 'given.set'"},
		{conditional("secret", `{"eq":"x"}`, "s", `{"eq":"a"}`), `{"secret":"x","s":"a"}`, `{"secret":"x"}`, "s: no"},
	} {
		f := parse(t, tc.check)
		for raw, want := range map[string]string{tc.good: "", tc.bad: tc.problem} {
			p := Problems{}
			f.Validate("", f.Fill(value(t, raw)), p)
			if got := p.String(); got != want {
				t.Errorf("%s of %s: %q, want %q", tc.check, raw, got, want)
			}
		}
	}
}

// Nothing that a schema is given makes it panic.
func FuzzValidate(f *testing.F) {
	f.Add([]byte(`{"list":[{"from":"a","to":"c"}],"map":{"a":null},"given":[],"may":{"needed":1e9}}`))
	s := parse(f, `{"mutually_exclusive":["s","given.set"]}`)
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if json.Unmarshal(b, &v) != nil {
			return
		}
		p := Problems{}
		filled := s.Fill(v)
		s.Validate("", filled, p)
		if _, record := filled.(map[string]any); len(p) == 0 && !record {
			t.Errorf("%s passes", b)
		}
	})
}
