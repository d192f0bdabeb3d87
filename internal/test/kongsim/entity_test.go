package kongsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"

	"kafka-upstream/internal/test/testcert"
	"kafka-upstream/schema"
)

const (
	demoConfig = `config: {topic: t, bootstrap_servers: [{host: localhost, port: 9092}]}`
	demoPlugin = `{name: kafka-upstream, ` + demoConfig + `}`
)

func TestDeclarativeConfigurations(t *testing.T) {
	for _, tc := range []struct{ name, yaml, want string }{
		{"all forms", `
_format_version: "3.0"
_transform: true
services:
- name: s1
  url: http://a.b
  plugins: [` + demoPlugin + `]
  routes:
  - name: r1
    paths: [/a]
    plugins: [` + demoPlugin + `]
routes:
- {name: r2, hosts: [b.dev], service: s1}
- {name: r3, methods: [POST], service: {name: s1}}
plugins:
- ` + demoPlugin + `
- {name: kafka-upstream, route: r2, ` + demoConfig + `}
`, ""},
		{"number as version", "_format_version: 3.0\n", ""},
		{"JSON", `{"_format_version":"3.0","routes":[{"hosts":["a"]}]}`, ""},
		{"anchors", "_format_version: '3.0'\nroutes:\n- &r {hosts: [a]}\n- {<<: *r, name: two}\n", ""},
		{"no version", "routes: []", "_format_version: required field missing"},
		{"odd version", "_format_version: '9'", "_format_version: expected one of: 1.1, 2.1, 3.0"},
		{"unknown entity", "_format_version: '3.0'\nrotes: []", "rotes: unknown field"},
		{"no list", "_format_version: '3.0'\nroutes: {a: b}", "routes: expected an array"},
		{"no record", "_format_version: '3.0'\nroutes: [a]", "routes[1]: expected a record"},
		{"a text for a list", "_format_version: '3.0'\nroutes: [{hosts: kafka-upstream.dev}]", "routes[1].hosts: expected an array"},
		{"unknown plugin", "_format_version: '3.0'\nplugins: [{name: x}]", "plugins[1].name: plugin 'x' not enabled; add it to the 'plugins' configuration property"},
		{"nested, second", "_format_version: '3.0'\nroutes: [{hosts: [a]}, {hosts: [b], plugins: [{name: kafka-upstream, config: {topic: t}}]}]",
			"routes[2].plugins[1].config.bootstrap_servers: required field missing"},
		{"route of nothing", "_format_version: '3.0'\nroutes: [{name: r}]", "routes[1]: must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"},
		{"unknown service", "_format_version: '3.0'\nroutes: [{hosts: [a], service: x}]", "routes[1]: the foreign key '{id=\"x\"}' does not reference an existing 'services' entity."},
		{"same name", "_format_version: '3.0'\nroutes: [{name: a, hosts: [a]}, {name: a, hosts: [b]}]", `routes[2]: UNIQUE violation detected on '{name="a"}'`},
		{"path", "_format_version: '3.0'\nroutes: [{paths: [a]}]", "routes[1].paths[1]: should start with: / (fixed path) or ~/ (regexed path)"},
		{"regex", "_format_version: '3.0'\nroutes: [{paths: ['~/(?<a>.)/b']}]", ""},
		{"bad regex", "_format_version: '3.0'\nroutes: [{paths: [/, '~/(']}]", "routes[1].paths[2]: invalid regex: '/(' ("},
		{"regex without slash", "_format_version: '3.0'\nroutes: [{paths: ['~a']}]", "routes[1].paths[1]: should start with: / (fixed path) or ~/ (regexed path)"},
		{"certificate", "_format_version: '3.0'\ncertificates: [{cert: a, key: b}]", "certificates[1]: invalid certificate or key: "},
		{"empty", "", "no YAML"},
		{"a list", "- a", "no YAML mapping"},
		{"bad YAML", "a: [", "no YAML"},
		{"cycle", "a: &x {b: *x}", "no YAML"},
		{"deep", strings.Repeat("[", 20_000), "no YAML"},
		{"number as key", "1: 2", "no YAML"},
		{"infinity", "a: .inf", "no YAML"},
		{"two documents", "a: b\n---\nc: d", "no YAML"},
		{"bytes", "\xff\xfe\x00", "no YAML"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ours(t).parseDeclarative([]byte(tc.yaml))
			if got := fmt.Sprint(err); (tc.want == "") != (err == nil) || !strings.Contains(got, tc.want) || strings.Contains(got, "\n") {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestTheConfigurationForUsersIsAccepted(t *testing.T) {
	doc, err := os.ReadFile("../../../testdata/kong.yml")
	if err != nil {
		t.Fatal(err)
	}
	e, err := ours(t).parseDeclarative(doc)
	if err != nil {
		t.Fatal(err)
	}
	if c := e.all["plugins"][0]["config"].(map[string]any); c["topic"] != "kong-upstream" || fmt.Sprint(c["bootstrap_servers"]) != "[map[host:kafka port:9092]]" {
		t.Errorf("configuration %v", c)
	}
}

// routed returns where requests go in a configuration.
func routed(t *testing.T, doc string) (*snapshot, func(method, host, path string) (route, plugin string)) {
	t.Helper()
	e, err := ours(t).parseDeclarative([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	snap, err := e.compile(1)
	if err != nil {
		t.Fatal(err)
	}
	return snap, func(method, host, path string) (route, plugin string) {
		r := snap.match(method, host, path)
		if r == nil {
			return "", ""
		}
		var m map[string]any
		if r.plugin != nil && json.Unmarshal(r.plugin.Config, &m) != nil {
			t.Errorf("the configuration is %s", r.plugin.Config)
		}
		return r.name, str(m["plugin_instance_name"])
	}
}

func TestTheMostSpecificPluginRuns(t *testing.T) {
	_, where := routed(t, `
_format_version: "3.0"
services:
- {name: s, url: http://s}
routes:
- {name: plain, hosts: [plain]}
- {name: served, hosts: [served], service: s}
- {name: own, hosts: [own], service: s}
- {name: both, hosts: [both], service: s}
plugins:
- {name: kafka-upstream, instance_name: global, `+demoConfig+`}
- {name: kafka-upstream, instance_name: service, service: s, `+demoConfig+`}
- {name: kafka-upstream, instance_name: route, route: own, `+demoConfig+`}
- {name: kafka-upstream, instance_name: both, route: both, service: s, `+demoConfig+`}
- {name: kafka-upstream, instance_name: off, route: both, enabled: false, `+demoConfig+`}
`)
	for host, want := range map[string]string{"plain": "global", "served": "service", "own": "route", "both": "both"} {
		if _, plugin := where("GET", host, "/"); plugin != want {
			t.Errorf("%s: %s", host, plugin)
		}
	}
}

func TestRouting(t *testing.T) {
	_, where := routed(t, `
_format_version: "3.0"
routes:
- {name: any-post, methods: [POST]}
- {name: host, hosts: [a.dev]}
- {name: host-path, hosts: [a.dev], paths: [/api]}
- {name: longer, hosts: [a.dev], paths: [/api/v1]}
- {name: regex, hosts: [a.dev], paths: ['~/api/[a-z]+$', /other]}
- {name: left, hosts: ['*.wild.dev']}
- {name: right, hosts: ['wild.*']}
- {name: whole, hosts: [x.wild.dev]}
- {name: port, hosts: ['p.dev:8443']}
- {name: second-any-post, methods: [POST]}
`)
	for _, tc := range [][4]string{
		{"POST", "z.dev", "/", "any-post"},
		{"GET", "z.dev", "/", ""},
		{"GET", "a.dev", "/", "host"},
		{"POST", "a.dev", "/x", "host"},
		{"GET", "a.dev:8000", "/api", "host-path"},
		{"GET", "a.dev", "/api/v1/x", "longer"},
		{"GET", "a.dev", "/api/vx", "regex"},
		{"GET", "a.dev", "/other/x", "regex"},
		{"GET", "a.dev", "/x/api/vx", "host"},
		{"GET", "y.wild.dev", "/", "left"},
		{"GET", "wild.dev", "/", "right"},
		{"GET", "x.wild.dev", "/", "whole"},
		{"GET", "p.dev:8443", "/", "port"},
		{"GET", "p.dev", "/", ""},
	} {
		if got, _ := where(tc[0], tc[1], tc[2]); got != tc[3] {
			t.Errorf("%v went to %q", tc, got)
		}
	}
}

func TestForms(t *testing.T) {
	for body, want := range map[string]string{
		"":                    `{}`,
		"a=1&b=x+y%21":        `{"a":"1","b":"x y!"}`,
		"hosts=a&hosts=b":     `{"hosts":["a","b"]}`,
		"hosts[]=a&hosts[]=b": `{"hosts":["a","b"]}`,
		"hosts%5B%5D=a":       `{"hosts":["a"]}`,
		"c.s[1].host=h&c.s[1].port=1&c.s[2].host=i": `{"c":{"s":[{"host":"h","port":"1"},{"host":"i"}]}}`,
		"a[2]=x&a[1]=y": `{"a":["y","x"]}`,
		"a=b=c":         `{"a":"b=c"}`,
		"&&a=1&":        `{"a":"1"}`,
		"a=1&a.b=2":     "as a value and as a record",
		"a.b=1&a=2":     "as a value and as a record",
		"a=%zz":         "cannot be decoded",
		"%zz=a":         "cannot be decoded",
		"=a":            "not named as",
		"a.=b":          "not named as",
		"a[=b":          "not named as",
		"a[1]b=c":       "not named as",
		"a[x]=b":        "not named as",
		"a[0]=b":        "between 1 and",
		"a[9999]=b":     "between 1 and",
	} {
		v, err := parseForm(body)
		got, _ := json.Marshal(v)
		if err != nil {
			got = []byte(err.Error())
		}
		if err == nil && string(got) != want || !strings.Contains(string(got), want) {
			t.Errorf("%.60q: %s", body, got)
		}
	}
}

func TestFormsGetTheTypesOfTheSchema(t *testing.T) {
	form, err := parseForm("name=kafka-upstream&config.topic=12&config.timeout=5000&config.producer_async=false&config.forward_uri=maybe&" +
		"config.bootstrap_servers[1].host=localhost&config.bootstrap_servers[1].port=9092&tags=a&config.cluster_name=&route.name=r")
	if err != nil {
		t.Fatal(err)
	}
	got := infer(ours(t).schemas["plugins"], form)
	want := map[string]any{
		"name": "kafka-upstream", "tags": []any{"a"}, "route": map[string]any{"name": "r"},
		"config": map[string]any{"topic": "12", "timeout": 5000.0, "producer_async": false, "forward_uri": "maybe", "cluster_name": nil,
			"bootstrap_servers": []any{map[string]any{"host": "localhost", "port": 9092.0}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

// admin sends a request to the Admin API: a form as curl does, or JSON if the
// body begins with a brace.
func admin(t testing.TB, s *Sim, method, path, body string) (status int, m map[string]any) {
	t.Helper()
	req, err := http.NewRequest(method, s.AdminURL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&m); err != nil && res.StatusCode != http.StatusNoContent {
		t.Fatal(err)
	}
	if res.Header.Get("Server") != "kongsim" {
		t.Errorf("the Admin API does not say who it is: %v", res.Header)
	}
	return res.StatusCode, m
}

func startAdminSim(t testing.TB) (*Sim, *fakePlugin) {
	p := startFake(t, ok)
	dump := strings.Replace(string(testDump("x")), testSchema, string(schema.JSON()), 1)
	return startSim(t, Options{Socket: p.socket, Dump: []byte(dump), Workers: 1}), p
}

func TestTheCurlCommandsOfTheDocumentation(t *testing.T) {
	s, p := startAdminSim(t)
	status, m := admin(t, s, "POST", "/routes", "name=kafka-upstream&hosts[]=kafka-upstream.dev")
	if status != 201 || m["strip_path"] != true || m["service"] != nil || fmt.Sprint(m["hosts"]) != "[kafka-upstream.dev]" {
		t.Fatal(status, m)
	}
	status, m = admin(t, s, "POST", "/routes/kafka-upstream/plugins", "name=kafka-upstream&config.bootstrap_servers[1].host=localhost&config.bootstrap_servers[1].port=9092&"+
		"config.topic=kong-upstream&config.timeout=10000&config.keepalive=60000&config.forward_method=false&config.forward_uri=false&config.forward_headers=false&config.forward_body=true")
	if status != 201 || m["id"] == nil || m["config"].(map[string]any)["producer_async_flush_timeout"] != 1000.0 {
		t.Fatal(status, m)
	}
	if res, body := do(t, s, "POST", "/", testHost, strings.NewReader("foo=bar")); res.StatusCode != 200 {
		t.Error(res.Status, body)
	}
	id := str(m["id"])
	if status, m = admin(t, s, "GET", "/routes/kafka-upstream/plugins", ""); status != 200 || len(m["data"].([]any)) != 1 {
		t.Error(status, m)
	}
	if status, m = admin(t, s, "GET", "/plugins/"+id, ""); status != 200 || m["id"] != id {
		t.Error(status, m)
	}
	if status, _ = admin(t, s, "DELETE", "/routes/kafka-upstream", ""); status != 204 {
		t.Error(status)
	}
	if status, _ = admin(t, s, "GET", "/plugins/"+id, ""); status != 404 {
		t.Errorf("the plugin of a deleted route: %d", status)
	}
	if res, _ := do(t, s, "GET", "/", testHost, nil); res.StatusCode != 404 {
		t.Error(res.Status)
	}
	if got := strings.Join(p.commands(), ","); got != "START 1 kafka-upstream,EVENT 1" {
		t.Error(got)
	}
}

func TestTheAdminAPIRefusesAsKongDoes(t *testing.T) {
	s, _ := startAdminSim(t)
	admin(t, s, "POST", "/routes", `{"name":"r","hosts":["a"]}`)
	admin(t, s, "POST", "/routes/r/plugins", `{"name":"kafka-upstream","config":{`+goodServers+`}}`)
	for _, tc := range []struct {
		method, path, body string
		status             int
		code               any
		message            string
	}{
		{"POST", "/routes/r/plugins", "name=x", 400, 2.0, "schema violation (name: plugin 'x' not enabled; add it to the 'plugins' configuration property)"},
		{"POST", "/plugins", `{"name":"kafka-upstream","config":{"topic":"t"}}`, 400, 2.0, "schema violation (config.bootstrap_servers: required field missing)"},
		{"POST", "/plugins", `{"name":"kafka-upstream","config.topic":"t","config":{` + goodServers + `}}`, 400, 2.0, "schema violation (config.topic: unknown field)"},
		{"POST", "/routes/r/plugins", `{"name":"kafka-upstream","config":{` + goodServers + `}}`, 409, 5.0, `UNIQUE violation detected on '{name="kafka-upstream"}'`},
		{"POST", "/plugins", `{"name":"kafka-upstream","route":{"id":"x"},"config":{` + goodServers + `}}`, 400, 4.0, "the foreign key '{id=\"x\"}' does not reference an existing 'routes' entity."},
		{"POST", "/routes", `{"name":"r","hosts":["b"]}`, 409, 5.0, `UNIQUE violation detected on '{name="r"}'`},
		{"POST", "/routes", `{"name":"q"}`, 400, 2.0, "schema violation (must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https')"},
		{"POST", "/routes", `{`, 400, nil, "Cannot parse JSON body"},
		{"POST", "/routes/none/plugins", `{}`, 404, nil, "Not found"},
		{"POST", "/plugins/r/routes", `{}`, 404, nil, "Not found"},
		{"GET", "/routes/none", "", 404, nil, "Not found"},
		{"GET", "/nothing", "", 404, nil, "Not found"},
		{"PATCH", "/routes/none", "hosts[]=b", 404, nil, "Not found"},
		{"PATCH", "/routes/r", "hosts[]=a b", 400, 2.0, "schema violation (hosts[1]: invalid hostname)"},
		{"PUT", "/routes/r", "", 405, nil, "Method not allowed: this stand-in for Kong knows GET, PATCH, DELETE, and POST to a list"},
	} {
		status, m := admin(t, s, tc.method, tc.path, tc.body)
		if status != tc.status || m["code"] != tc.code || m["message"] != tc.message || tc.code != nil && (m["fields"] == nil || m["name"] == nil) {
			t.Errorf("%s %s %s: got %d %v", tc.method, tc.path, tc.body, status, m)
		}
	}
}

func TestPatchChangesTheGivenFieldsAlone(t *testing.T) {
	s, p := startAdminSim(t)
	admin(t, s, "POST", "/routes", `{"name":"r","hosts":["a"]}`)
	_, made := admin(t, s, "POST", "/routes/r/plugins", `{"name":"kafka-upstream","config":{"topic":"t",`+goodServers+`}}`)
	for _, body := range []string{"config.topic=new", `{"config":{"topic":"newer"},"enabled":true}`} {
		do(t, s, "GET", "/", "a", nil)
		status, m := admin(t, s, "PATCH", "/plugins/"+made["id"].(string), body)
		before, after := made["config"].(map[string]any), m["config"].(map[string]any)
		if !strings.HasPrefix(after["topic"].(string), "new") {
			t.Errorf("%s: %v", body, after["topic"])
		}
		after["topic"] = before["topic"]
		if m["updated_at"] = made["updated_at"]; status != 200 || !reflect.DeepEqual(m, made) {
			t.Errorf("%s: got %d %v, want all else as in %v", body, status, m, made)
		}
	}
	do(t, s, "GET", "/", "a", nil)
	if got := strings.Count(strings.Join(p.commands(), ","), "START"); got != 3 {
		t.Errorf("%d instances were started, want one for each configuration", got)
	}
	if _, m := admin(t, s, "PATCH", "/routes/r", "hosts[]=b"); m["name"] != "r" || !reflect.DeepEqual(m["hosts"], []any{"b"}) {
		t.Error(m)
	}
}

func TestCertificatesAreServedAsTheyAre(t *testing.T) {
	s, _ := startAdminSim(t)
	pair, other := testcert.New("a CA").Client("kong"), testcert.New("a CA").Client("kong")
	form := func(cert, key []byte) string {
		return "cert=" + url.QueryEscape(string(cert)) + "&key=" + url.QueryEscape(string(key))
	}
	status, m := admin(t, s, "POST", "/certificates", form(pair.Cert, pair.Key))
	if status != 201 {
		t.Fatal(status, m)
	}
	status, m = admin(t, s, "GET", "/certificates/"+m["id"].(string), "")
	if status != 200 || m["cert"] != string(pair.Cert) || m["key"] != string(pair.Key) || m["cert_alt"] != nil {
		t.Error(status, m)
	}
	if status, m = admin(t, s, "POST", "/certificates", `{"cert":"{vault://env/c}","key":"{vault://env/k}"}`); status != 201 || m["cert"] != "{vault://env/c}" {
		t.Error(status, m)
	}
	if status, m = admin(t, s, "POST", "/certificates", form(pair.Cert, other.Key)); status != 400 || !strings.Contains(str(m["message"]), "private key does not match") {
		t.Error(status, m)
	}
}

func FuzzForm(f *testing.F) {
	f.Add("name=kafka-upstream&config.bootstrap_servers[1].host=localhost&hosts[]=a&hosts=b&tags=%zz")
	f.Fuzz(func(t *testing.T, body string) {
		for _, kind := range kinds {
			if v, err := parseForm(body); err == nil {
				e := ours(t)
				e.insert(kind, infer(e.schemas[kind], v).(map[string]any))
			}
		}
	})
}

func FuzzDeclarative(f *testing.F) {
	f.Add([]byte("_format_version: '3.0'\nservices: [{name: s, url: 'http://a', routes: [{hosts: [a], plugins: [" + demoPlugin + "]}]}]"))
	f.Add([]byte(recordedConfig))
	f.Add([]byte("_format_version: '3.0'\nplugins: [{name: kafka-upstream, route: x, config: {topic: [a]}}]"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		e, err := ours(t).parseDeclarative(doc)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one sentence: %v", err)
			}
			return
		}
		snap, err := e.compile(1)
		if err != nil {
			t.Fatal(err)
		}
		snap.match("GET", "a", "/")
	})
}
