package kongsim

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"

	"kafka-upstream/schema"
)

const demoPlugin = `{name: kafka-upstream, config: {topic: t, bootstrap_servers: [{host: localhost, port: 9092}]}}`

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
- {name: kafka-upstream, route: r2, config: {topic: t, bootstrap_servers: [{host: localhost, port: 9092}]}}
`, ""},
		{"number as version", "_format_version: 3.0\n", ""},
		{"JSON", `{"_format_version":"3.0","routes":[{"hosts":["a"]}]}`, ""},
		{"anchors", "_format_version: '3.0'\nroutes:\n- &r {hosts: [a]}\n- {<<: *r, name: two}\n", ""},
		{"no version", "routes: []", `{_format_version="required field missing"}`},
		{"odd version", "_format_version: '9'", `{_format_version="expected one of: 1.1, 2.1, 3.0"}`},
		{"unknown entity", "_format_version: '3.0'\nrotes: []", `{rotes="unknown field"}`},
		{"no list", "_format_version: '3.0'\nroutes: {a: b}", `{routes="expected an array"}`},
		{"no record", "_format_version: '3.0'\nroutes: [a]", `{routes={"expected a record"}}`},
		{"unknown plugin", "_format_version: '3.0'\nplugins: [{name: x}]", `{plugins={{name="plugin 'x' not enabled; add it to the 'plugins' configuration property"}}}`},
		{"nested, second", "_format_version: '3.0'\nroutes: [{hosts: [a]}, {hosts: [b], plugins: [{name: kafka-upstream, config: {topic: t}}]}]",
			`{routes={[2]={plugins={{config={bootstrap_servers="required field missing"}}}}}}`},
		{"route of nothing", "_format_version: '3.0'\nroutes: [{name: r}]", `{routes={{["@entity"]={"must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"}}}}`},
		{"unknown service", "_format_version: '3.0'\nroutes: [{hosts: [a], service: x}]", `{routes={{["@entity"]={"the foreign key '{id=\"x\"}' does not reference an existing 'services' entity."}}}}`},
		{"same name", "_format_version: '3.0'\nroutes: [{name: a, hosts: [a]}, {name: a, hosts: [b]}]", `{routes={[2]={["@entity"]={"primary key violation on key '{id=\"` + stableUUID("routes:a") + `\"}'"}}}}`},
		{"path", "_format_version: '3.0'\nroutes: [{paths: [a]}]", `{routes={{paths={"should start with: / (fixed path) or ~/ (regexed path)"}}}}`},
		{"regex", "_format_version: '3.0'\nroutes: [{paths: ['~/(']}]", `{routes={{paths={"invalid regex: '/('"}}}}`},
		{"certificate", "_format_version: '3.0'\ncertificates: [{cert: a, key: b}]", `{certificates={{cert="invalid certificate: it is no PEM certificate",key="invalid key: it is no PEM private key"}}}`},
		{"empty", "", "no YAML"},
		{"a list", "- a", "no YAML mapping"},
		{"bad YAML", "a: [", "no YAML"},
		{"bomb", bomb(), "no YAML"},
		{"cycle", "a: &x {b: *x}", "no YAML"},
		{"deep", strings.Repeat("[", 20_000), "no YAML"},
		{"rather deep", "a: " + strings.Repeat("[", 50) + strings.Repeat("]", 50), "nested more than"},
		{"number as key", "1: 2", "put it in quotes"},
		{"infinity", "a: .inf", "no number"},
		{"two documents", "a: b\n---\nc: d", "no YAML"},
		{"bytes", "\xff\xfe\x00", "no YAML"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ours(t).parseDeclarative([]byte(tc.yaml))
			got := fmt.Sprint(err)
			if tc.want == "" && err != nil || !strings.Contains(got, tc.want) || strings.Contains(got, "\n") {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			var aerr *apiError
			if errors.As(err, &aerr) && (aerr.code != 14 || aerr.message != "declarative config is invalid: "+tc.want) {
				t.Errorf("got %+v", aerr)
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

func bomb() string {
	b := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 12; i++ {
		b += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.Join(strings.Split(strings.Repeat(fmt.Sprintf("*a%d ", i-1), 10), " ")[:10], ","))
	}
	return b
}

func TestEntitiesOfADeclarativeConfigurationKeepTheirIds(t *testing.T) {
	ids := func() string {
		e, err := ours(t).parseDeclarative([]byte("_format_version: '3.0'\nroutes: [{name: r, hosts: [a], plugins: [" + demoPlugin + "]}]"))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(e.all["routes"][0]["id"], e.all["plugins"][0]["id"])
	}
	if a, b := ids(), ids(); a != b {
		t.Errorf("%s and %s", a, b)
	}
}

func TestTheMostSpecificPluginRuns(t *testing.T) {
	e, err := ours(t).parseDeclarative([]byte(`
_format_version: "3.0"
services:
- {name: s, url: http://s}
routes:
- {name: plain, hosts: [plain]}
- {name: served, hosts: [served], service: s}
- {name: own, hosts: [own], service: s}
- {name: both, hosts: [both], service: s}
plugins:
- {name: kafka-upstream, instance_name: global, config: {topic: t, bootstrap_servers: [{host: h, port: 1}]}}
- {name: kafka-upstream, instance_name: service, service: s, config: {topic: t, bootstrap_servers: [{host: h, port: 1}]}}
- {name: kafka-upstream, instance_name: route, route: own, config: {topic: t, bootstrap_servers: [{host: h, port: 1}]}}
- {name: kafka-upstream, instance_name: both, route: both, service: s, config: {topic: t, bootstrap_servers: [{host: h, port: 1}]}}
- {name: kafka-upstream, instance_name: off, route: both, enabled: false, config: {topic: t, bootstrap_servers: [{host: h, port: 1}]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	snap, err := e.compile(1, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"plain": "global", "served": "service", "own": "route", "both": "both"} {
		var m map[string]any
		json.Unmarshal(snap.match("GET", host, "/").plugin.Config, &m)
		if m["plugin_instance_name"] != want {
			t.Errorf("%s: %v", host, m["plugin_instance_name"])
		}
	}
}

func TestRouting(t *testing.T) {
	e, err := ours(t).parseDeclarative([]byte(`
_format_version: "3.0"
routes:
- {name: any-post, methods: [POST]}
- {name: host, hosts: [a.dev]}
- {name: host-path, hosts: [a.dev], paths: [/api]}
- {name: longer, hosts: [a.dev], paths: [/api/v1]}
- {name: regex, hosts: [a.dev], paths: ['~/api/\d+$']}
- {name: left, hosts: ['*.wild.dev']}
- {name: right, hosts: ['wild.*']}
- {name: whole, hosts: [x.wild.dev]}
- {name: port, hosts: ['p.dev:8443']}
- {name: second-any-post, methods: [POST]}
`))
	if err != nil {
		t.Fatal(err)
	}
	snap, err := e.compile(1, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range [][4]string{
		{"POST", "z.dev", "/", "any-post"},
		{"GET", "z.dev", "/", ""},
		{"GET", "a.dev", "/", "host"},
		{"POST", "a.dev", "/x", "host"},
		{"GET", "a.dev:8000", "/api", "host-path"},
		{"GET", "a.dev", "/api/v1/x", "longer"},
		{"GET", "a.dev", "/api/17", "regex"},
		{"GET", "a.dev", "/api/17/x", "host-path"},
		{"GET", "y.wild.dev", "/", "left"},
		{"GET", "wild.dev", "/", "right"},
		{"GET", "x.wild.dev", "/", "whole"},
		{"GET", "p.dev:8443", "/", "port"},
		{"GET", "p.dev", "/", ""},
	} {
		got := ""
		if r := snap.match(tc[0], tc[1], tc[2]); r != nil {
			got = fmt.Sprint(e.all["routes"][r.order]["name"])
		}
		if got != tc[3] {
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
		"a[2]=x&a[1]=y":                        `{"a":["y","x"]}`,
		"a[1][1]=x":                            `{"a":[["x"]]}`,
		"a":                                    `{"a":""}`,
		"a=b=c":                                `{"a":"b=c"}`,
		"&&a=1&":                               `{"a":"1"}`,
		"a=1&a.b=2":                            "two forms",
		"a=%zz":                                "cannot be decoded",
		"%zz=a":                                "cannot be decoded",
		"=a":                                   "not named as",
		"a.=b":                                 "not named as",
		"a[=b":                                 "not named as",
		"a[1]b=c":                              "not named as",
		"a[0]=b":                               "between 1 and",
		"a[9999]=b":                            "between 1 and",
		"a[x]=b":                               "between 1 and",
		"a" + strings.Repeat("[1]", 40) + "=b": "too deeply",
		strings.Repeat("a=1&", 1001):           "more than 1000",
	} {
		v, err := parseForm(body)
		got, _ := json.Marshal(v)
		if err != nil {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%.60q: %v", body, err)
			}
		} else if string(got) != want {
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
	got := ours(t).schemas["plugins"].infer(form)
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
func admin(t testing.TB, s *Sim, method, path, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequest(method, s.AdminURL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	} else if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	var m map[string]any
	if len(bytes.TrimSpace(b)) > 0 {
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
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
	s, _ := startAdminSim(t)
	status, m := admin(t, s, "POST", "/routes", "name=kafka-upstream&hosts[]=kafka-upstream.dev")
	if status != 201 || m["strip_path"] != true || m["service"] != nil || fmt.Sprint(m["hosts"]) != "[kafka-upstream.dev]" {
		t.Fatal(status, m)
	}
	status, m = admin(t, s, "POST", "/routes/kafka-upstream/plugins", "name=kafka-upstream&config.bootstrap_servers[1].host=localhost&config.bootstrap_servers[1].port=9092&"+
		"config.topic=kong-upstream&config.timeout=10000&config.keepalive=60000&config.forward_method=false&config.forward_uri=false&config.forward_headers=false&config.forward_body=true")
	if status != 201 || m["id"] == nil || m["consumer"] != nil || m["config"].(map[string]any)["producer_async_flush_timeout"] != 1000.0 {
		t.Fatal(status, m)
	}
	if res, body := do(t, s, "POST", "/", testHost, strings.NewReader("foo=bar")); res.StatusCode != 200 {
		t.Error(res.Status, body)
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
		{"POST", "/routes/r/plugins", `{"name":"kafka-upstream","config":{` + goodServers + `}}`, 409, 5.0, ""},
		{"POST", "/plugins", `{"name":"kafka-upstream","route":{"id":"x"},"config":{` + goodServers + `}}`, 400, 4.0, "the foreign key '{id=\"x\"}' does not reference an existing 'routes' entity."},
		{"POST", "/routes", `{"name":"r","hosts":["b"]}`, 409, 5.0, `UNIQUE violation detected on '{name="r"}'`},
		{"POST", "/routes", `{"name":"q"}`, 400, 2.0, "schema violation (must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https')"},
		{"POST", "/services", `{"name":"s"}`, 400, 2.0, "schema violation (host: required field missing)"},
		{"POST", "/routes", `{`, 400, nil, "Cannot parse JSON body"},
		{"POST", "/routes/none/plugins", `{}`, 404, nil, "Not found"},
		{"GET", "/routes/none", "", 404, nil, "Not found"},
		{"GET", "/nothing", "", 404, nil, "Not found"},
		{"PUT", "/routes", "", 405, nil, "Method not allowed"},
		{"PATCH", "/plugins/none", `{}`, 404, nil, "Not found"},
		{"POST", "/config", "config=a", 400, nil, "the declarative configuration is no YAML mapping: it must hold _format_version and lists of entities"},
		{"POST", "/config", "config=" + url.QueryEscape("_format_version: '3.0'\nplugins: [{name: x}]"), 400, 14.0, ""},
	} {
		status, m := admin(t, s, tc.method, tc.path, tc.body)
		if status != tc.status || m["code"] != tc.code || tc.message != "" && m["message"] != tc.message {
			t.Errorf("%s %s %s: got %d %v", tc.method, tc.path, tc.body, status, m)
		}
		if tc.code != nil && (m["fields"] == nil || m["name"] == nil) {
			t.Errorf("%s %s: fields or name missing in %v", tc.method, tc.path, m)
		}
	}
}

func TestPluginsCanBeChangedAndDeleted(t *testing.T) {
	s, p := startAdminSim(t)
	admin(t, s, "POST", "/services", "name=svc&url=http://a.dev/x")
	status, m := admin(t, s, "POST", "/services/svc/routes", "name=r&hosts=a&hosts=kafka-upstream.dev")
	if status != 201 || foreignID(m, "service") == nil {
		t.Fatal(status, m)
	}
	_, m = admin(t, s, "POST", "/routes/r/plugins", `{"name":"kafka-upstream","config":{`+goodServers+`}}`)
	id := m["id"].(string)
	cluster := m["config"].(map[string]any)["cluster_name"]
	do(t, s, "GET", "/", testHost, nil)
	status, m = admin(t, s, "PATCH", "/plugins/"+id, "config.forward_method=true&config.authentication.mechanism=PLAIN&config.authentication.user=u&config.authentication.password=p")
	c, _ := m["config"].(map[string]any)
	if status != 200 || c["forward_method"] != true || c["topic"] != "kong-upstream" || c["cluster_name"] != cluster || c["authentication"].(map[string]any)["user"] != "u" {
		t.Fatal(status, m)
	}
	do(t, s, "GET", "/", testHost, nil)
	if got := strings.Join(p.commands(), ","); got != "START 1 kafka-upstream,EVENT 1,START 2 kafka-upstream,CLOSE 1,EVENT 2" {
		t.Error(got)
	}
	if status, _ = admin(t, s, "PATCH", "/plugins/"+id, "config.topic=a b"); status != 400 {
		t.Error(status)
	}
	if status, m = admin(t, s, "GET", "/routes/r/plugins", ""); status != 200 || len(m["data"].([]any)) != 1 {
		t.Error(status, m)
	}
	if status, _ = admin(t, s, "DELETE", "/services/svc", ""); status != 400 {
		t.Errorf("a service with routes was deleted: %d", status)
	}
	if status, _ = admin(t, s, "DELETE", "/plugins/"+id, ""); status != 204 {
		t.Error(status)
	}
	if res, _ := do(t, s, "GET", "/", testHost, nil); res.StatusCode != 503 {
		t.Error(res.Status)
	}
	if status, _ = admin(t, s, "DELETE", "/routes/r", ""); status != 204 {
		t.Error(status)
	}
	if n := s.Stats().Closes; n != 1 {
		t.Errorf("%d instances were closed; those of deleted plugins never are", n)
	}
}

func TestCertificatesAreServedAsTheyAre(t *testing.T) {
	s, _ := startAdminSim(t)
	cert, key := testCertificate(t)
	status, m := admin(t, s, "POST", "/certificates", "cert="+url.QueryEscape(cert)+"&key="+url.QueryEscape(key))
	if status != 201 {
		t.Fatal(status, m)
	}
	status, m = admin(t, s, "GET", "/certificates/"+m["id"].(string), "")
	if status != 200 || m["cert"] != cert || m["key"] != key || m["cert_alt"] != nil {
		t.Error(status, m)
	}
	if status, m = admin(t, s, "POST", "/certificates", `{"cert":"{vault://env/c}","key":"{vault://env/k}"}`); status != 201 || m["cert"] != "{vault://env/c}" {
		t.Error(status, m)
	}
	_, other := testCertificate(t)
	if status, m = admin(t, s, "POST", "/certificates", "cert="+url.QueryEscape(cert)+"&key="+url.QueryEscape(other)); status != 400 || m["message"] != "schema violation (certificate does not match key)" {
		t.Error(status, m)
	}
}

func FuzzForm(f *testing.F) {
	f.Add("name=kafka-upstream&config.bootstrap_servers[1].host=localhost&hosts[]=a&hosts=b&tags=%zz")
	f.Fuzz(func(t *testing.T, body string) {
		v, err := parseForm(body)
		if err != nil {
			return
		}
		for _, kind := range kinds {
			e := ours(t)
			e.insert(kind, e.schemas[kind].infer(v).(map[string]any))
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
		snap, err := e.compile(1, func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		snap.match("GET", "a", "/")
	})
}

func testCertificate(t testing.TB) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder}))
}
